package store

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// After a power cut with more queues than a segment has room for their gaps, snapshots of full segments are taken while other queues still
// jump; the race detector sees whether both have the lock. The checkpoints that come of it are those of all queues.
func TestOpen_GapsOverManySegments(t *testing.T) {
	const queues = 5000
	fsys := vfs.NewMem()
	o := testOptions(fsys, Rules{FlushMessages: 1000, FlushInterval: time.Hour})
	s := mustOpen(t, o)
	for p := range int32(queues) {
		mustQueue(t, s, "t", p)
	}
	if err := s.wait(Position(s.end())); err != nil {
		t.Fatal(err)
	}
	o.FS, o.BootID = fsys.CrashClone(rand.New(rand.NewPCG(1, 1))), "boot-2"
	s = mustOpen(t, o)
	waitFor(t, "the segments full of gaps to be sealed", s.sealedUpTo)
	for range 2 {
		for p := range int32(queues) {
			if q := s.Queue([]byte("t"), p); q == nil || q.Stat().End != o.MaxUnflushed {
				t.Fatalf("partition %d: %v", p, q)
			}
		}
		o.FS = o.FS.(*vfs.Mem).KillClone()
		s = mustOpen(t, o)
	}
}
