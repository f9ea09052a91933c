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

// TestPace_PutsAndGetsComeFirst: what the log grows by and what is read is taken off, and while there are puts only a part of the rest is used, a
// smaller one while puts wait for their flush.
func TestPace_PutsAndGetsComeFirst(t *testing.T) {
	const rate = 1 << 20
	// second is what a second brings in which the log grew, messages were read, and so many puts waited for a flush.
	second := func(grown, read, awaited int64) int64 {
		s := &Store{appended: 100 << 20, awaited: 100, quit: make(chan struct{})}
		s.options.RewriteRate = rate
		s.answered.Store(100 << 20)
		p := newPace(s)
		p.last, p.appended, p.read, p.awaited, p.budget = p.last.Add(-time.Second), p.appended-grown, p.read-read, p.awaited-awaited, -rate*3/4
		close(s.quit) // it shall not wait
		before := p.budget
		p.wait(0)
		return p.budget - before
	}
	for _, c := range []struct {
		what                 string
		grown, read, awaited int64
		least, most          int64
	}{
		{"nothing", 0, 0, 0, rate * 3 / 4, rate}, // not all of it is kept
		{"gets", 0, rate / 2, 0, rate / 2, rate/2 + rate/100},
		{"puts", rate / 2, 0, 0, rate / 2 / busyShare, rate/2/busyShare + rate/100},
		{"puts that waited for a flush", rate / 2, 0, 1, rate / 2 / flushShare, rate/2/flushShare + rate/100},
		{"puts of twice the rate", 2 * rate, 0, 0, -rate, 0},
		{"puts of twice the rate that waited for a flush", 2 * rate, 0, 1, -rate, 0},
		{"gets of twice the rate", 0, 2 * rate, 0, -rate, 0},
	} {
		if got := second(c.grown, c.read, c.awaited); got < c.least || got > c.most {
			t.Errorf("a second of %s brings %d bytes of a rate of %d, want %d to %d", c.what, got, rate, c.least, c.most)
		}
	}
}

// TestPace_NoBurstsBesidePuts: an idle time before it is not made up for at once.
func TestPace_NoBurstsBesidePuts(t *testing.T) {
	const rate = 1 << 20
	s := &Store{appended: 100 << 20, quit: make(chan struct{})}
	s.options.RewriteRate = rate
	close(s.quit)
	burst := func(p *pace) (n int) {
		p.last = p.last.Add(-time.Second)
		for p.wait(rate / 1024) {
			n++
		}
		return n
	}
	if n := burst(newPace(s)); n < 10 {
		t.Fatalf("%d pieces at once in an idle store", n)
	}
	p := newPace(s)
	p.appended--
	if n := burst(p); n != 1 {
		t.Fatalf("%d pieces at once beside puts", n)
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
