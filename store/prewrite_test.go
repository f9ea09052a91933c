package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

// prewriting is a store with segments of 1 MiB that are prewritten.
func prewriting(t *testing.T) (*Store, *vfs.Mem, *Queue) {
	t.Helper()
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	o.LogSegmentSize, o.Prewrite = 1<<20, true
	s := mustOpen(t, o)
	return s, fsys, mustQueue(t, s, "t", 0)
}

// zeroed is the number of bytes that were written to segments before they had a name, and the syncs of those.
func zeroed(fsys *vfs.Mem) (bytes int64, syncs int) {
	for _, op := range fsys.Calls() {
		switch {
		case !strings.HasSuffix(op.Name, preparedSuffix):
		case op.Kind == vfs.OpWriteAt && op.Length == prewriteChunk:
			bytes += op.Length
		case op.Kind == vfs.OpSync:
			syncs++
		}
	}
	return bytes, syncs
}

func TestPrewrite_TheNextSegmentIsWrittenAndThenUsed(t *testing.T) {
	s, fsys, q := prewriting(t)
	put(t, s, q, "little")
	if n, _ := zeroed(fsys); n > 0 {
		t.Errorf("%d bytes were prewritten for a broker that has next to nothing to write", n)
	}
	put(t, s, q, strings.Repeat("x", 1<<20/prewriteAfter))
	waitFor(t, "the next segment to be prewritten", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.next != nil && s.next.prewritten
	})
	if n, syncs := zeroed(fsys); n != 1<<20 || syncs == 0 {
		t.Errorf("%d bytes of 1 MiB were written, with %d syncs", n, syncs)
	}
	before := s.Stats().Segments
	put(t, s, q, "goes to the prewritten segment at once")
	if n := s.Stats().Segments; n != before+1 {
		t.Errorf("%d segments, want %d: the first one was not prewritten and is to be left", n, before+1)
	}
	put(t, s, q, "stays in it")
	if n := s.Stats().Segments; n != before+1 {
		t.Errorf("%d segments, want %d", n, before+1)
	}
}

func TestPrewrite_NothingIsOverwritten(t *testing.T) {
	s, fsys, q := prewriting(t)
	const count, size = 600, 20 << 10 // 12 segments, some of them taken while they are being prewritten
	body := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%05d,", i), size/6) }
	for i := range count {
		put(t, s, q, string(body(i)))
	}
	check := func(q *Queue) {
		t.Helper()
		got := bodies(t, q, 0)
		if len(got) != count {
			t.Fatalf("%d messages, want %d", len(got), count)
		}
		for i, b := range got {
			if b != string(body(i)) {
				t.Fatalf("message %d is %.20q", i, b)
			}
		}
	}
	check(q)
	o := testOptions(killed(fsys), groupCommit)
	o.LogSegmentSize, o.Prewrite = 1<<20, true
	again := mustOpen(t, o)
	check(mustQueue(t, again, "t", 0))
}

func TestPrewrite_AFailureCostsNoMessage(t *testing.T) {
	for _, kind := range []vfs.Kind{vfs.OpWriteAt, vfs.OpSync} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			s, fsys, q := prewriting(t)
			failed := make(chan struct{}, 1000)
			fsys.Inject(func(op vfs.Op) error {
				if op.Kind == kind && strings.HasSuffix(op.Name, preparedSuffix) && !renamed(fsys, op.Name) {
					failed <- struct{}{}
					return syscall.EIO
				}
				return nil
			})
			put(t, s, q, strings.Repeat("x", 1<<20/prewriteAfter))
			<-failed
			waitFor(t, "the segment to be thrown away", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.next == nil || !s.next.prewritten
			})
			for range 40 { // beyond the end of the open segment
				put(t, s, q, strings.Repeat("y", 60<<10))
			}
			if got := len(bodies(t, q, 0)); got != 41 {
				t.Errorf("%d messages, want 41", got)
			}
		})
	}
}

// renamed says that a file has another name now: it is a segment of the log.
func renamed(fsys *vfs.Mem, name string) bool {
	for _, op := range fsys.Calls() {
		if op.Kind == vfs.OpRename && op.Name == name {
			return true
		}
	}
	return false
}

// The kernel tells of a write that has failed once a file. When the sync of prewriting is told, of a segment that puts go to already, their
// flush at the same time is told nothing: it must not acknowledge them.
func TestPrewrite_ItsFailedSyncIsNotHiddenFromAFlush(t *testing.T) {
	s, fsys, q := prewriting(t)
	var name string
	waitFor(t, "the next segment", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.next != nil {
			name = s.next.name
		}
		return name != ""
	})
	began, hold, flushed := make(chan struct{}), make(chan struct{}), make(chan struct{}, 100)
	var syncs atomic.Int64
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind != vfs.OpSync || op.Name != name {
			return nil
		}
		if syncs.Add(1) == 1 {
			close(began)
			<-hold
			return syscall.EIO
		}
		flushed <- struct{}{}
		return nil
	})
	put(t, s, q, strings.Repeat("x", 1<<20/prewriteAfter))
	<-began
	var last Position
	for segments := s.Stats().Segments; s.Stats().Segments == segments; {
		last = appendOne(t, s, q, strings.Repeat("x", 100<<10)) // until one goes to the segment that is being synced
	}
	<-flushed
	close(hold)
	if err := s.wait(last); !errors.Is(err, ErrPoisoned) {
		t.Fatalf("a put to a segment whose sync has failed elsewhere: %v, want ErrPoisoned", err)
	}
}
