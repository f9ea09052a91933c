package store

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

// cutLog is a log on the real disk, whose files somebody else is going to cut.
func cutLog(t *testing.T) (*Store, map[int64]string) {
	t.Helper()
	s, want := manySegments(t, t.TempDir(), 12)
	waitFor(t, "all segments to be sealed", s.sealedUpTo)
	return s, want
}

// sealedFiles are the segments that have an index file.
func (s *Store) sealedFiles() (list []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if g.sealed {
			list = append(list, g)
		}
	}
	return list
}

// readWanted reads all messages, each alone. It returns how many gave an error; none may give something else.
func readWanted(t *testing.T, s *Store, want map[int64]string, hot bool) (failed int) {
	t.Helper()
	q := s.Queue([]byte("t"), 0)
	for offset, text := range want {
		b, err := q.Read(nil, offset, 20+len(text), 1<<20, hot)
		switch {
		case err != nil:
			failed++
		case string(b[20:]) != text:
			t.Fatalf("at %d: %q, want %q", offset, b, text)
		}
	}
	return failed
}

func truncate(t *testing.T, name string, size func(int64) int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size(info.Size())); err != nil {
		t.Fatal(err)
	}
}

// What is gone of a file within the page where it ends now reads as zeros, what lies in later pages faults.
var cutsOfIndex = map[string]func(int64) int64{
	"to nothing":           func(int64) int64 { return 0 },
	"to a part of it":      func(size int64) int64 { return size / 2 },
	"to its header":        func(int64) int64 { return indexHeader },
	"by half of an entry":  func(size int64) int64 { return size - entrySize/2 },
	"by the end of a size": func(size int64) int64 { return size - 8 },
}

func TestCutIndex_IsMadeAgain(t *testing.T) {
	for name, size := range cutsOfIndex {
		t.Run(name, func(t *testing.T) {
			s, want := cutLog(t)
			if n := readWanted(t, s, want, false); n > 0 {
				t.Fatalf("%d messages cannot be read", n)
			}
			begin, err := s.Queue([]byte("t"), 0).SeekTime(1)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range s.sealedFiles() {
				truncate(t, indexName(g.name), size)
			}
			if got, err := s.Queue([]byte("t"), 0).SeekTime(1); got != begin || err != nil {
				t.Errorf("a search by time gives %d, %v; it was %d", got, err, begin)
			}
			if n := readWanted(t, s, want, false); n > 0 {
				t.Errorf("%d messages cannot be read", n)
			}
		})
	}
}

// An index that reads as zeros names nothing that is alive; that must not cost the segment.
func TestCutIndex_RetentionKeepsTheSegment(t *testing.T) {
	for name, size := range cutsOfIndex {
		t.Run(name, func(t *testing.T) {
			s, _ := cutLog(t)
			for _, g := range s.sealedFiles() {
				truncate(t, indexName(g.name), size)
				if live, err := s.live(g, make([]int64, 3)); !live || err != nil {
					t.Errorf("%s is taken for dead: %v", g.name, err)
				}
				if trims, ok, err := s.trimsFor(g); ok || err != nil {
					t.Errorf("%s would be removed early, with %d moves: %v", g.name, len(trims), err)
				}
			}
		})
	}
}

func TestCutSegment_GivesErrorsOnly(t *testing.T) {
	for _, hot := range []bool{false, true} {
		for _, to := range []int64{0, 1000, 2900} {
			s, want := cutLog(t)
			if hot {
				s.mu.Lock()
				s.options.HotBytes = 1 << 30
				s.mu.Unlock()
				if n := readWanted(t, s, want, true); n > 0 {
					t.Fatalf("%d messages are not in memory", n)
				}
			}
			sealed := s.sealedFiles()
			truncate(t, sealed[2].name, func(int64) int64 { return to })
			if n := readWanted(t, s, want, hot); n == 0 || n > len(want)/4 {
				t.Errorf("cut to %d, hot %v: %d messages of %d cannot be read", to, hot, n, len(want))
			}
		}
	}
}

// Of an answer that meets a cut, what is sound comes, and says nothing of the rest.
func TestCutSegment_WhatIsSoundBeforeItComesFirst(t *testing.T) {
	o := testOptions(vfs.OS(), groupCommit)
	o.Dir = t.TempDir()
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	text := strings.Repeat("x", 10000)
	for range 5 {
		put(t, s, q, text)
	}
	truncate(t, s.open.name, func(int64) int64 { return 40000 })
	b, err := q.Read(nil, 0, 1<<20, 1<<20, false)
	if want := 3 * (20 + len(text)); err != nil || len(b) != want {
		t.Fatalf("%d bytes, %v; want the %d of three messages", len(b), err, want)
	}
	var corrupt *CorruptError
	if _, err := q.Read(nil, int64(len(b)), 1<<20, 1<<20, false); !errors.As(err, &corrupt) {
		t.Fatalf("behind them: %v, want a *CorruptError", err)
	}
}

func TestCutSegment_PoisonsWhenItIsWritten(t *testing.T) {
	o := testOptions(vfs.OS(), groupCommit)
	o.Dir = t.TempDir()
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	text := strings.Repeat("x", 3000)
	for range 10 {
		put(t, s, q, text)
	}
	truncate(t, s.open.name, func(int64) int64 { return 5000 })
	err := s.wait(appendOne(t, s, q, "behind a hole"))
	if !errors.Is(err, ErrPoisoned) || !errors.Is(err, ErrUncertain) || !strings.Contains(err.Error(), "was cut by somebody else") {
		t.Fatalf("a put behind the cut: %v", err)
	}
	// The write has made the file longer again: what is missing reads as zeros now, and nothing faults.
	for offset := int64(3020); offset < 10*3020; offset += 3020 {
		for _, hot := range []bool{true, false} {
			if b, err := q.Read(nil, offset, 3020, 3020, hot); err == nil {
				t.Fatalf("hot %v, at %d: %.40q is served", hot, offset, b)
			}
		}
	}
	if b, err := q.Read(nil, 0, 3020, 3020, false); err != nil || string(b[20:]) != text {
		t.Errorf("before the cut: %d bytes, %v", len(b), err)
	}
}

func TestCutSegment_PublishOfWhatIsGone(t *testing.T) {
	o := testOptions(vfs.OS(), groupCommit)
	o.Dir = t.TempDir()
	s := mustOpen(t, o)
	var b Batch
	b.Add(mustQueue(t, s, "t", 0), 0, []byte("hidden"))
	ack, err := s.AppendHidden(1, &b)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.wait(ack); err != nil {
		t.Fatal(err)
	}
	truncate(t, s.open.name, func(int64) int64 { return 0 })
	if ack, err = s.Publish(1); err == nil {
		err = s.wait(ack)
	}
	if !errors.Is(err, ErrPoisoned) {
		t.Fatalf("publish of messages whose segment was cut: %v, want ErrPoisoned", err)
	}
}

// A segment that is sealed is cut to what is in it; one that somebody else has cut does not get zeros instead.
func TestCutSegment_SealingDoesNotHideIt(t *testing.T) {
	o := testOptions(vfs.OS(), groupCommit)
	o.Dir = t.TempDir()
	s := mustOpen(t, o)
	put(t, s, mustQueue(t, s, "t", 0), strings.Repeat("x", 3000))
	name := s.open.name
	truncate(t, name, func(int64) int64 { return 1000 })
	var corrupt *CorruptError
	if err := s.Close(); !errors.As(err, &corrupt) {
		t.Errorf("closing a log whose end was cut: %v, want a *CorruptError", err)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != 1000 {
		t.Fatalf("the segment has %d bytes, %v; want the 1000 that are left", info.Size(), err)
	}
	if _, err := Open(o); !errors.As(err, &corrupt) {
		t.Errorf("the next start: %v, want a *CorruptError", err)
	}
}

// Only the append whose own write or flush has failed may be found after a restart.
func TestPoisoned_SaysWhatIsUncertain(t *testing.T) {
	fsys := vfs.NewMem()
	s := mustOpen(t, testOptions(fsys, groupCommit))
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "safe")
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && strings.Contains(op.Name, "/log/") {
			return errors.New("the disk is broken")
		}
		return nil
	})
	if err := s.wait(appendOne(t, s, q, "perhaps")); !errors.Is(err, ErrPoisoned) || !errors.Is(err, ErrUncertain) {
		t.Errorf("a put whose flush has failed: %v, want ErrPoisoned and ErrUncertain", err)
	}
	var b Batch
	b.Add(q, 0, []byte("not"))
	if _, err := s.Append(&b); !errors.Is(err, ErrPoisoned) || errors.Is(err, ErrUncertain) {
		t.Errorf("a put after that: %v, want ErrPoisoned and nothing uncertain", err)
	}
}
