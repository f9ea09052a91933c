package store

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/wait"
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 3)) }

func rulesByTopic(m map[string]Rules) func(protocol.Topic) Rules {
	return func(t protocol.Topic) Rules {
		r := m[string(t)]
		if r.SegmentSize == 0 {
			r.SegmentSize = 1 << 30
		}
		return r
	}
}

// waitFor waits for a condition, with a bound.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	wait.Until(t, time.Millisecond, 10*time.Second, what, done)
}

// sealedUpTo says whether all full segments have their index file and checkpoint.
func (s *Store) sealedUpTo() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.toSeal) == 0
}

// clock is a time that a test moves.
type clock struct{ ms atomic.Int64 }

func newClock(t time.Time) *clock {
	c := &clock{}
	c.ms.Store(t.UnixMilli())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func TestExpire_MovesTheMinimumToVirtualSegments(t *testing.T) {
	c := newClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	fsys := vfs.NewMem()
	o := testOptions(fsys, Rules{SegmentSize: 100, Retention: Policy{MaxAge: time.Hour}})
	o.Now, o.LogSegmentSize = c.now, 8<<10
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, numbered(10, 20)...) // 37 bytes each: a virtual segment begins every third message
	if got := q.SegmentStart(120); got != 111 {
		t.Fatalf("segment of offset 120 begins at %d, want 111", got)
	}
	c.advance(50 * time.Minute)
	put(t, s, q, numbered(20, 25)...)
	c.advance(20 * time.Minute)
	if err := s.Expire(c.now()); err != nil {
		t.Fatal(err)
	}
	// Records 10..18 are in segments whose newest record is 70 minutes old; 19 shares one with newer ones.
	check := func(s *Store) {
		t.Helper()
		q := s.Queue([]byte("t"), 0)
		if st := q.Stat(); st.Min != 333 || st.Messages != 6 {
			t.Fatalf("%+v, want min 333 and 6 messages", st)
		}
		_, err := q.Read(nil, 0, 100, 100, true)
		var moved *MovedError
		if !errors.As(err, &moved) || moved.Offset != 333 {
			t.Fatalf("read below the minimum: %v", err)
		}
		equal(t, "what is left", bodies(t, q, 333), numbered(19, 25))
	}
	check(s)
	o.FS = fsys.KillClone()
	s = mustOpen(t, o)
	check(s)
	// A queue that is quiet for long enough is emptied whole, so that it does not keep the log alive.
	c.advance(24 * time.Hour)
	if err := s.Expire(c.now()); err != nil {
		t.Fatal(err)
	}
	q = s.Queue([]byte("t"), 0)
	if st := q.Stat(); st.Min != st.End || st.Messages != 0 {
		t.Fatalf("%+v, want it empty", st)
	}
	put(t, s, q, "next")
	equal(t, "after the emptying", bodies(t, q, q.Stat().Min), []string{"next"})
}

func TestExpire_BySize(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), Rules{SegmentSize: 100, Retention: Policy{MaxBytes: 200}}))
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, numbered(10, 30)...)
	if err := s.Expire(s.now()); err != nil {
		t.Fatal(err)
	}
	if st := q.Stat(); st.Bytes > 200 || st.Bytes < 60 || st.End != 20*37 {
		t.Fatalf("%+v, want at most 200 bytes left", st)
	}
}

func TestExpire_RemovesSegmentsThatNobodyNeeds(t *testing.T) {
	fsys := vfs.NewMem()
	rules := rulesByTopic(map[string]Rules{"old": {Retention: Policy{MaxAge: time.Minute}}})
	o := testOptions(fsys, groupCommit)
	o.LogSegmentSize, o.Rules = 8<<10, rules
	s := mustOpen(t, o)
	old, young := mustQueue(t, s, "old", 0), mustQueue(t, s, "young", 0)
	put(t, s, old, numbered(0, 1000)...)
	put(t, s, young, "stays")
	put(t, s, old, numbered(0, 1000)...)
	waitFor(t, "the sealer", s.sealedUpTo)
	before := s.Stats().Segments
	if err := s.Expire(s.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	after := s.Stats().Segments
	if after > 5 || after >= before {
		t.Fatalf("%d segments before, %d after", before, after)
	}
	for range 2 {
		o.FS = o.FS.(*vfs.Mem).KillClone()
		s = mustOpen(t, o)
		equal(t, "the young topic", bodies(t, s.Queue([]byte("young"), 0), 0), []string{"stays"})
		if got := bodies(t, s.Queue([]byte("old"), 0), s.Queue([]byte("old"), 0).Stat().Min); len(got) != 0 {
			t.Fatalf("%d expired messages are back", len(got))
		}
	}
}

func TestExpire_ArchivesBeforeItDeletes(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		fsys := vfs.NewMem()
		s := mustOpen(t, testOptions(fsys, Rules{SegmentSize: 100, Retention: Policy{Archive: true, Zip: zipped, MaxAge: time.Minute}}))
		q := mustQueue(t, s, "t", 3)
		put(t, s, q, numbered(10, 13)...)
		want, err := q.Read(nil, 0, 1<<20, 1<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, q, numbered(13, 16)...)
		fail := errors.New("no")
		fsys.Inject(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync && strings.Contains(op.Name, "archive") {
				return fail
			}
			return nil
		})
		if err := s.Expire(s.now().Add(time.Hour)); !errors.Is(err, fail) {
			t.Fatalf("expire with a failing archive: %v", err)
		}
		if q.Stat().Min != 0 {
			t.Fatal("deleted although the archive failed")
		}
		fsys.Inject(nil)
		if err := s.Expire(s.now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		name := "data/archive/t-3/00000000000000000000.meta.arc"
		if zipped {
			name = "data/archive/t-3/00000000000000000000.meta.zip"
		}
		got, err := fsys.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if zipped {
			r, err := zip.NewReader(bytes.NewReader(got), int64(len(got)))
			if err != nil {
				t.Fatal(err)
			}
			f, err := r.Open("00000000000000000000.meta")
			if err != nil {
				t.Fatal(err)
			}
			if got, err = io.ReadAll(f); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("archived %d bytes, want the %d of the first segment", len(got), len(want))
		}
	}
}

// Consumers that go on committing while no message becomes too old do not let the log grow.
func TestRetention_CommitsDoNotFillTheLog(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "first")
	const commits = 20_000 // more than a MiB, in segments of 64 KiB
	for i := range commits {
		pos, err := s.CommitOffset("t", "g", 0, int64(i))
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			if err := s.wait(pos); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "what nobody needs is removed", func() bool {
		if err := s.Expire(time.Now()); err != nil {
			t.Fatal(err)
		}
		return s.Stats().Segments <= 5
	})
	if offset, _, ok := s.CommittedOffset([]byte("t"), []byte("g"), 0); !ok || offset != commits-1 {
		t.Errorf("the group is at %d, %v", offset, ok)
	}
	if got := bodies(t, q, 0); len(got) != 1 {
		t.Errorf("%d messages are left, want the one that there was", len(got))
	}
}

// A message that comes while the last virtual segment is archived keeps it, and the queue counts neither as its own what is
// gone nor the other way round.
func TestExpire_MessagesThatComeMeanwhile(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, Rules{SegmentSize: 100, Retention: Policy{Archive: true, MaxAge: time.Minute}})
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, numbered(10, 15)...) // 37 bytes each: the second virtual segment begins at 111
	put(t, s, mustQueue(t, s, "t", 1), "old")
	var came atomic.Bool
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpRename && strings.Contains(op.To, "t-0/00000000000000000111") && came.CompareAndSwap(false, true) {
			put(t, s, q, numbered(15, 16)...)
		}
		return nil
	})
	if err := s.Expire(s.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	fsys.Inject(nil)
	check := func(when string, s *Store, min int64, want []string) {
		t.Helper()
		q := s.Queue([]byte("t"), 0)
		st := q.Stat()
		got := bodies(t, q, st.Min)
		if st.Min != min || st.Messages != int64(len(got)) {
			t.Errorf("%s: %+v, want %d messages from %d on", when, st, len(got), min)
		}
		equal(t, when, got, want)
	}
	check("beside a put", s, 111, numbered(13, 16))
	if got := s.Queue([]byte("t"), 1).Stat(); got.Messages != 0 {
		t.Errorf("another queue: %+v", got)
	}
	if err := s.Expire(s.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	check("the next time", s, 222, nil)
	b, err := fsys.ReadFile("data/archive/t-0/00000000000000000111.meta.arc")
	if err != nil || wholeRecords(b) != 111 {
		t.Errorf("the archive has %d bytes, %v", len(b), err)
	}
}
