package store

import (
	"strings"
	"sync"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

// TestCheck_ACrashBetweenTheRenamesOfACheckpoint: for a moment there is no checkpoint but the one before. That is no damage; without the new
// one beside it, it is.
func TestCheck_ACrashBetweenTheRenamesOfACheckpoint(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	o.LogSegmentSize = 8 << 10
	s := mustOpen(t, o)
	var mu sync.Mutex
	var killed, cut *vfs.Mem
	moved := false // the old checkpoint, out of the way of the new one
	fsys.Inject(func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op.Kind != vfs.OpRename:
		case strings.HasSuffix(op.To, "/"+checkpointPrev):
			moved = true
		case strings.HasSuffix(op.To, "/"+checkpointName) && moved && killed == nil:
			killed = fsys.KillClone()
		}
		return nil
	})
	q := mustQueue(t, s, "t", 0)
	want := numbered(0, 600)
	found := func() bool {
		mu.Lock()
		defer mu.Unlock()
		cut = killed
		return cut != nil
	}
	put(t, s, q, want...)
	waitFor(t, "a checkpoint to be replaced", found)
	gone := cut.KillClone()
	if err := gone.Remove(s.path(checkpointName + ".tmp")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		disk  *vfs.Mem
		sound bool
	}{{cut, true}, {gone, false}} {
		r, err := Check(CheckOptions{FS: c.disk, Dir: o.Dir, BootID: o.BootID})
		if err != nil || r.Sound() != c.sound {
			t.Fatalf("sound %v, want %v; %v: %s", r.Sound(), c.sound, err, describe(r))
		}
		o.FS = c.disk
		again := mustOpen(t, o)
		got := bodies(t, again.Queue([]byte("t"), 0), 0)
		equal(t, "after the crash", got, want[:len(got)])
		if len(got) == 0 {
			t.Fatal("no message after the crash")
		}
	}
}
