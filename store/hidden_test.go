package store

import (
	"errors"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

func hide(t testing.TB, s *Store, group int64, q *Queue, bodies ...string) {
	t.Helper()
	var b Batch
	for _, body := range bodies {
		b.Add(q, 0, []byte(body))
	}
	ack, err := s.AppendHidden(group, &b)
	if err != nil {
		t.Fatalf("append hidden: %v", err)
	}
	if err := s.wait(ack); err != nil {
		t.Fatal(err)
	}
}

func TestHidden_UnreadableUntilPublishedOverRestarts(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	o.LogSegmentSize = 8 << 10
	s := mustOpen(t, o)
	a, b := mustQueue(t, s, "t", 0), mustQueue(t, s, "t", 1)
	put(t, s, a, "before")
	hide(t, s, 1, a, "one", "two")
	hide(t, s, 1, b, "three")
	hide(t, s, 2, a, "dropped")
	hide(t, s, 3, b, "left open")
	put(t, s, a, numbered(0, 400)...) // several segments further on
	if got := bodies(t, b, 0); len(got) != 0 {
		t.Fatalf("hidden messages can be read: %q", got)
	}

	o.FS = fsys.KillClone()
	s = mustOpen(t, o)
	ack, err := s.Publish(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.wait(ack); err != nil {
		t.Fatal(err)
	}
	if ack, err = s.Discard(2); err != nil || s.wait(ack) != nil {
		t.Fatal(err)
	}
	check := func(s *Store) {
		t.Helper()
		a, b := s.Queue([]byte("t"), 0), s.Queue([]byte("t"), 1)
		equal(t, "partition 0", bodies(t, a, 0), append(append([]string{"before"}, numbered(0, 400)...), "one", "two"))
		equal(t, "partition 1", bodies(t, b, 0), []string{"three"})
		if open := s.Hidden(); len(open) != 1 || open[0] != 3 {
			t.Errorf("open groups %v, want [3]", open)
		}
		if _, err := s.Publish(2); !errors.Is(err, ErrHidden) {
			t.Errorf("publish of a dropped group: %v", err)
		}
	}
	check(s)
	o.FS = o.FS.(*vfs.Mem).KillClone()
	s = mustOpen(t, o)
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(mustOpen(t, o))
}

// A power cut at every call of a publish leaves all of it or nothing of it.
func TestPublish_IsAtomicAcrossQueues(t *testing.T) {
	for n := 1; ; n++ {
		fsys := vfs.NewMem()
		o := testOptions(fsys, groupCommit)
		s := mustOpen(t, o)
		a, b := mustQueue(t, s, "t", 0), mustQueue(t, s, "t", 1)
		hide(t, s, 9, a, "x")
		hide(t, s, 9, b, "y")
		cut := cutPower(fsys, newRand(uint64(n)), newCrashPoints())
		cut.after(n)
		ack, err := s.Publish(9)
		if err != nil || s.wait(ack) != nil {
			t.Fatal(err)
		}
		last := !cut.done()
		o.FS = cut.disk()
		o.BootID = "boot-2"
		s.Close()
		s = mustOpen(t, o)
		x, y := bodies(t, s.Queue([]byte("t"), 0), 0), bodies(t, s.Queue([]byte("t"), 1), 0)
		if len(x) != len(y) {
			t.Fatalf("cut at call %d: one queue has %q, the other %q", n, x, y)
		}
		if len(x) == 0 && len(s.Hidden()) != 1 {
			t.Fatalf("cut at call %d: neither published nor hidden", n)
		}
		if last && len(x) != 1 {
			t.Fatal("an acknowledged publish is lost")
		}
		s.Close()
		if last {
			return
		}
	}
}

func TestRetention_KeepsTheSegmentThatAPublishedRunLiesIn(t *testing.T) {
	o := testOptions(vfs.NewMem(), groupCommit)
	o.LogSegmentSize = 8 << 10
	s := mustOpen(t, o)
	a, noise := mustQueue(t, s, "keep", 0), mustQueue(t, s, "noise", 0)
	hide(t, s, 1, a, "precious")
	put(t, s, noise, numbered(0, 600)...)
	ack, err := s.Publish(1)
	if err != nil || s.wait(ack) != nil {
		t.Fatal(err)
	}
	put(t, s, noise, numbered(0, 600)...)
	before := s.Stats().Segments
	s.SetRules(rulesByTopic(map[string]Rules{"noise": {Retention: Policy{MaxAge: 1}}}))
	waitFor(t, "the sealer", func() bool { return s.sealedUpTo() })
	if err := s.Expire(s.now().AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if after := s.Stats().Segments; after >= before {
		t.Fatalf("%d segments before, %d after: nothing was removed", before, after)
	}
	equal(t, "the published message", bodies(t, a, 0), []string{"precious"})
}
