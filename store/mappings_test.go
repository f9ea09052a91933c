package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// manySegments makes a log of at least n small segments with three queues, and returns what is at which offset of queue 0.
func manySegments(t *testing.T, dir string, n int) (*Store, map[int64]string) {
	t.Helper()
	o := testOptions(vfs.OS(), Rules{FlushMessages: 1000, SegmentSize: 2000})
	o.Dir = dir
	o.LogSegmentSize = 4 << 10
	o.HotBytes = 1
	s := mustOpen(t, o)
	want := map[int64]string{}
	for i := 0; s.Stats().Segments < n; i++ {
		var b Batch
		text := fmt.Sprintf("message %d", i)
		for p := range int32(3) {
			b.Add(mustQueue(t, s, "t", p), 0, []byte(text))
		}
		if _, err := s.Append(&b); err != nil {
			t.Fatal(err)
		}
		_, offset := b.Receipt(0)
		want[offset] = text
	}
	s.flush()
	return s, want
}

func TestMappings_AreBoundedAndEverythingIsRead(t *testing.T) {
	dir := t.TempDir()
	s, want := manySegments(t, dir, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions(vfs.OS(), Rules{FlushMessages: 1000})
	o.Dir = dir
	s = mustOpen(t, o)
	if got := s.Stats().Mapped; got > 1 {
		t.Fatalf("a start has mapped %d sealed segments", got)
	}
	s.mapped.mu.Lock()
	s.mapped.max = 4
	s.mapped.mu.Unlock()
	var readers sync.WaitGroup
	for r := range 4 {
		readers.Go(func() {
			q := s.Queue([]byte("t"), 0)
			for offset, text := range want { // in another order each time
				b, err := q.Read(nil, offset, 20+len(text), 1<<20, false)
				if err != nil || string(b[20:]) != text {
					t.Errorf("reader %d at %d: %q, %v; want %q", r, offset, b, err, text)
					return
				}
				if n := s.Stats().Mapped; n > 4+2*4 {
					t.Errorf("%d segments are mapped, with 4 readers and room for 4", n)
					return
				}
			}
		})
	}
	readers.Wait()
	if got := s.Stats().Mapped; got > 4 {
		t.Fatalf("%d segments are mapped when nobody reads, want at most 4", got)
	}
}

func TestMappings_AnEventLoopDoesNotMap(t *testing.T) {
	dir := t.TempDir()
	s, _ := manySegments(t, dir, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions(vfs.OS(), groupCommit)
	o.Dir = dir
	s = mustOpen(t, o)
	q := s.Queue([]byte("t"), 0)
	if _, err := q.Read(nil, 0, 100, 100, true); !errors.Is(err, ErrCold) {
		t.Fatalf("a read on an event loop of what is not mapped: %v, want ErrCold", err)
	}
}

func TestMappings_RetentionWhileBeingRead(t *testing.T) {
	s, want := manySegments(t, t.TempDir(), 100)
	s.mapped.mu.Lock()
	s.mapped.max = 3
	s.mapped.mu.Unlock()
	q := s.Queue([]byte("t"), 0)
	done := make(chan struct{})
	var readers sync.WaitGroup
	moved := make([]int, 4)
	for r := range moved {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 0))
			var offsets []int64
			for offset := range want {
				offsets = append(offsets, offset)
			}
			for {
				offset := offsets[rng.IntN(len(offsets))]
				b, err := q.Read(nil, offset, 20+len(want[offset]), 1<<20, false)
				var to *MovedError
				switch {
				case errors.As(err, &to):
					moved[r]++
				case err != nil || string(b[20:]) != want[offset]:
					t.Errorf("at %d: %q, %v", offset, b, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	before := s.Stats().Segments
	deadline := time.Now().Add(10 * time.Second)
	for size := int64(100_000); s.Stats().Segments > before/2 && time.Now().Before(deadline); size = max(size*3/4, 2000) {
		s.SetRules(rulesOf(Rules{FlushMessages: 1000, SegmentSize: 2000, Retention: Policy{MaxBytes: size}}))
		if err := s.Expire(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	readers.Wait()
	if s.Stats().Segments > before/2 || moved[0] == 0 {
		t.Fatalf("%d of %d segments are left, and the first reader was moved %d times: nothing was tested", s.Stats().Segments, before, moved[0])
	}
}

func TestOpen_ASegmentThatTheLogDoesNotReach(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	o.LogSegmentSize = 4 << 10
	s := mustOpen(t, o)
	put(t, s, mustQueue(t, s, "t", 0), numbered(1, 10)...)
	left := killed(fsys)
	last := s.open.name
	// Somebody has named another file as if the log went on inside of the last one; the power was cut as well.
	file, err := left.Create(segmentName("data", s.open.base+1000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Fatal(err)
	}
	o.FS, o.BootID = left, "boot-2"
	again, err := Open(o)
	if err != nil {
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) {
			t.Fatalf("beside %s: %v", last, err)
		}
		return
	}
	defer again.Close()
	equal(t, "after the start", bodies(t, again.Queue([]byte("t"), 0), 0), numbered(1, 10))
}

// TestSeal_CutsBeforeItMayBeMappedAgain: a segment with an index may lose its mapping at once, and whoever maps it again takes the length of its file.
func TestSeal_CutsBeforeItMayBeMappedAgain(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	o.LogSegmentSize = 8 << 10
	s := mustOpen(t, o)
	var mu sync.Mutex
	named, cut, indexed := map[string]string{}, map[string]bool{}, 0 // named: what became of the file that was opened by a name
	fsys.Inject(func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op.Kind == vfs.OpRename && strings.HasSuffix(op.To, ".log"):
			named[op.Name] = op.To
		case op.Kind == vfs.OpTruncate:
			cut[named[op.Name]] = true
		case op.Kind == vfs.OpRename && strings.HasSuffix(op.To, ".idx"):
			if indexed++; indexed > 1 && !cut[strings.TrimSuffix(op.To, ".idx")+".log"] {
				t.Errorf("%s is there before its segment was cut to its length", op.To)
			}
		}
		return nil
	})
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, numbered(0, 500)...) // the segment that the store began with was named before
	waitFor(t, "sealed segments", func() bool { mu.Lock(); defer mu.Unlock(); return indexed >= 3 })
	fsys.Inject(nil) // the close that follows maps nothing
}

// TestSeal_AgainWithoutAMapping: a segment whose checkpoint could not be written is sealed again, and may have lost its mapping by then.
func TestSeal_AgainWithoutAMapping(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	o.LogSegmentSize = 8 << 10
	s := mustOpen(t, o)
	s.mapped.mu.Lock()
	s.mapped.max = 0
	s.mapped.mu.Unlock()
	var failed atomic.Int64
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpCreate && strings.HasSuffix(op.Name, "checkpoint.tmp") && failed.Add(1) <= 3 {
			return errors.New("the disk has failed")
		}
		return nil
	})
	q := mustQueue(t, s, "t", 0)
	for n := 0; failed.Load() <= 3; n++ {
		put(t, s, q, numbered(n, n+1)...)
	}
	waitFor(t, "all segments to be sealed", s.sealedUpTo)
	if n := len(bodies(t, q, 0)); n == 0 {
		t.Error("nothing is there")
	}
}

// TestSeal_BesideAReader: who reads from the index in memory of a segment that is sealed meanwhile gives its memory back: nobody else does.
func TestSeal_BesideAReader(t *testing.T) {
	o := testOptions(vfs.NewMem(), groupCommit)
	o.LogSegmentSize = 8 << 10
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "first")
	s.mu.Lock()
	g, index := s.open, s.open.runs
	s.mu.Unlock()
	_, err := q.Gather(nil, 0, 100, 100, true, func(v Views) {
		put(t, s, q, numbered(0, 300)...)
		waitFor(t, "the segment to be sealed", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return g.sealed })
		if index.cells.chunks == nil {
			t.Error("the memory is gone while it is read")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if index.cells.chunks != nil {
		t.Error("nobody has given the memory of the index back")
	}
}
