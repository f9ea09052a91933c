package store

import (
	"testing"
	"time"
)

// TestRewriter_GoesOnByItself: what may be rewritten is rewritten in the background, and stays readable.
func TestRewriter_GoesOnByItself(t *testing.T) {
	m := newMixed(t, 31, 12)
	m.options.RewriteRate = 1 << 30
	m.reopen(t)
	waitFor(t, "the rewrite of the segments", func() bool { st := m.store.Stats(); return st.Rewritten >= 10 && st.RewritePending == 0 })
	m.compare(t, "rewritten in the background", m.store)
	if st := m.store.Stats(); st.RewriteTime <= 0 || st.RewrittenBytes < 10*8<<10 {
		t.Fatalf("%d segments, %d bytes in %s", st.Rewritten, st.RewrittenBytes, st.RewriteTime)
	}
}

// TestPace_PutsAndGetsComeFirst: what the log grows by and what is read is taken off, and while there are puts only a part of the rest is used.
func TestPace_PutsAndGetsComeFirst(t *testing.T) {
	const rate = 1 << 20
	second := func(grown, read int64) int64 {
		s := &Store{appended: 100 << 20, quit: make(chan struct{})}
		s.answered.Store(100 << 20)
		p := &pace{store: s, rate: rate, last: time.Now().Add(-time.Second), appended: s.end() - grown, read: s.answered.Load() - read, budget: -rate * 3 / 4}
		before := p.budget
		if grown+read < rate {
			if !p.wait(0) {
				t.Fatal("closed")
			}
			return p.budget - before
		}
		close(s.quit) // it would wait
		if p.wait(0) {
			t.Fatal("rewriting goes on while puts or gets take all of the rate")
		}
		return p.budget - before
	}
	if got := second(0, 0); got < rate/2 {
		t.Fatalf("in a second without puts %d bytes, the rate is %d", got, rate)
	}
	if got := second(2*rate, 0); got > 0 {
		t.Fatalf("in a second in which puts took twice the rate %d bytes", got)
	}
	if got := second(0, 2*rate); got > 0 {
		t.Fatalf("in a second in which gets took twice the rate %d bytes", got)
	}
	began := time.Now()
	second(0, rate/2) // a quarter of a second is missing
	if waited := time.Since(began); waited < 200*time.Millisecond {
		t.Fatalf("gets took half of the rate, and the next piece waited for %s", waited)
	}
}

// TestWorth_OnlyWhatGains: a segment whose queues lie together already, or that has one queue, stays as it is.
func TestWorth_OnlyWhatGains(t *testing.T) {
	run := func(pos int64, bytes uint32) entry { return entry{pos: pos + frameHeader, bytes: bytes} }
	for what, c := range map[string]struct {
		list []queueRuns
		want bool
	}{
		"one queue": {[]queueRuns{{1, []entry{run(0, 72), run(120, 72), run(480, 72)}}}, false},
		"together":  {[]queueRuns{{1, []entry{run(0, 72), run(120, 72)}}, {2, []entry{run(240, 72), run(360, 72)}}}, false},
		"in turns":  {[]queueRuns{{1, []entry{run(0, 72), run(240, 72)}}, {2, []entry{run(120, 72), run(360, 72)}}}, true},
		"large":     {[]queueRuns{{1, []entry{run(0, 1<<20), run(3<<20, 1<<20)}}, {2, []entry{run(2<<20, 1<<19), run(5<<20, 1<<20)}}}, false},
	} {
		x, err := parseIndex("i", memory(encodeIndex(0, c.list, false, 5)), 0, 5)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.worth(); got != c.want {
			t.Errorf("%s: worth a rewrite: %v", what, got)
		}
	}
}
