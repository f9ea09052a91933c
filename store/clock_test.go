package store

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/chaos"
)

// jumpyClock is a machine's clock that is set wrong and right again, and the time that really passes.
type jumpyClock struct {
	real atomic.Int64 // milliseconds
	off  atomic.Int64
}

var jumpyStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *jumpyClock) now() time.Time {
	return jumpyStart.Add(time.Duration(c.real.Load()+c.off.Load()) * time.Millisecond)
}

func (c *jumpyClock) uptime() time.Duration { return time.Duration(c.real.Load()) * time.Millisecond }

const jumpyAge = 3 * time.Hour

// jumpyRun is a store under such a clock, and what was put into it.
type jumpyRun struct {
	clock   *jumpyClock
	options Options
	store   *Store
	queue   *Queue
	puts    []jumpyPut
	gone    int // of puts, these were removed
	lastID  int64

	jumps, restarts int
	latest          time.Duration // the oldest message that was still there
}

type jumpyPut struct {
	offset int64
	real   int64
	stamp  int64 // unix milliseconds, as a search by time sees it
}

// Clock jumps of an hour forward and back, for up to an hour, under puts, retention, searches by time and restarts: each id is larger than
// the one before, nothing is removed before its time, and a search by time finds what it should.
func TestClock_JumpsOfAnHour(t *testing.T) {
	seed := chaos.Seed(t)
	runs := chaos.Pick(20, 1500)
	messages, removed, jumps, restarts := 0, 0, 0, 0
	var latest time.Duration
	for i := range runs {
		r := &jumpyRun{clock: &jumpyClock{}}
		r.work(t, rand.New(rand.NewPCG(seed, uint64(i))))
		messages += len(r.puts)
		removed += r.gone
		jumps += r.jumps
		restarts += r.restarts
		latest = max(latest, r.latest)
	}
	if jumps < runs || removed < runs*10 {
		t.Fatalf("%d jumps and %d messages removed in %d runs: too few to show anything", jumps, removed, runs)
	}
	chaos.Figure(t, 19, "clock jumps of 1 h", "%d, in %d histories with %d restarts", jumps, runs, restarts)
	chaos.Figure(t, 19, "ids given twice or backwards", "0 of %d", messages)
	chaos.Figure(t, 19, "messages removed before their age", "0 of %d removed", removed)
	chaos.Figure(t, 19, "removed at most so long after their age", "%s", (latest - jumpyAge).Round(time.Minute))
}

func (r *jumpyRun) open(t *testing.T) {
	t.Helper()
	r.store = mustOpen(t, r.options)
	r.queue = mustQueue(t, r.store, "t", 0)
}

func (r *jumpyRun) work(t *testing.T, rng *rand.Rand) {
	t.Helper()
	fsys := vfs.NewMem()
	r.options = testOptions(fsys, Rules{FlushMessages: 100, SegmentSize: 200, Retention: Policy{MaxAge: jumpyAge}})
	r.options.Now, r.options.Uptime, r.options.LogSegmentSize = r.clock.now, r.clock.uptime, 16<<10
	r.open(t)
	right := int64(0) // when the clock is set right again
	for range 400 {
		r.clock.real.Add(rng.Int64N((5 * time.Minute).Milliseconds()))
		now := r.clock.real.Load()
		switch off := r.clock.off.Load(); {
		case off == 0 && rng.IntN(12) == 0:
			r.clock.off.Store([]int64{-1, 1}[rng.IntN(2)] * time.Hour.Milliseconds())
			right = now + rng.Int64N((50 * time.Minute).Milliseconds())
			r.jumps++
		case off != 0 && now >= right:
			r.clock.off.Store(0)
		case off == 0 && rng.IntN(40) == 0:
			// Not while the clock is wrong: a start has nothing to compare it with.
			r.restarts++
			fsys = fsys.KillClone()
			r.options.FS = fsys
			r.store.Close()
			r.open(t)
		}
		for range rng.IntN(3) {
			r.put(t)
		}
		r.expire(t)
	}
	for range 50 {
		r.seek(t, r.puts[r.gone+rng.IntN(len(r.puts)-r.gone)])
	}
	r.store.Close()
}

func (r *jumpyRun) put(t *testing.T) {
	t.Helper()
	var b Batch
	b.Add(r.queue, 0, []byte("sixteen bytes at"))
	ack, err := r.store.Append(&b)
	if err == nil {
		err = r.store.wait(ack)
	}
	if err != nil {
		t.Fatal(err)
	}
	id, offset := b.Receipt(0)
	if id <= r.lastID {
		t.Fatalf("id %d after %d", id, r.lastID)
	}
	r.lastID = id
	r.puts = append(r.puts, jumpyPut{offset: offset, real: r.clock.real.Load(), stamp: IDTime(id).UnixMilli()})
}

// expire does what the janitor does.
func (r *jumpyRun) expire(t *testing.T) {
	t.Helper()
	if err := r.store.Expire(r.store.ageTime(r.clock.now())); err != nil {
		t.Fatal(err)
	}
	now, least := r.clock.real.Load(), r.queue.Stat().Min
	for ; r.gone < len(r.puts) && r.puts[r.gone].offset < least; r.gone++ {
		if age := time.Duration(now-r.puts[r.gone].real) * time.Millisecond; age < jumpyAge {
			t.Fatalf("removed at the age of %s, the policy says %s", age, jumpyAge)
		}
	}
	if r.gone < len(r.puts) {
		r.latest = max(r.latest, time.Duration(now-r.puts[r.gone].real)*time.Millisecond)
	}
}

// seek searches for the time of a message.
func (r *jumpyRun) seek(t *testing.T, p jumpyPut) {
	t.Helper()
	got, err := r.queue.SeekTime(p.stamp)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range r.puts[r.gone:] {
		if (other.stamp < p.stamp) != (other.offset < got) {
			t.Fatalf("the search for %d gives offset %d; the message at %d has %d", p.stamp, got, other.offset, other.stamp)
		}
	}
}

func TestSteadyClock_BelievesAJumpThatLasts(t *testing.T) {
	var c steadyClock
	at := func(wall, uptime time.Duration) time.Duration {
		now, _ := c.now(jumpyStart.Add(wall), uptime)
		return now.Sub(jumpyStart)
	}
	for _, step := range []struct {
		name               string
		wall, uptime, want time.Duration
	}{
		{"start", 0, 0, 0},
		{"a minute later", time.Minute, time.Minute, time.Minute},
		{"the clock is corrected by seconds", 2*time.Minute + 10*time.Second, 2 * time.Minute, 2*time.Minute + 10*time.Second},
		{"it jumps", 5 * time.Hour, 3 * time.Minute, 3*time.Minute + 10*time.Second},
		{"it stays so", 5*time.Hour + 30*time.Minute, 33 * time.Minute, 33*time.Minute + 10*time.Second},
		{"for an hour", 6*time.Hour + time.Minute, 64 * time.Minute, 6*time.Hour + time.Minute},
		{"it jumps back", time.Hour, 65 * time.Minute, time.Hour},
		{"and forward", 3 * time.Hour, 66 * time.Minute, 61 * time.Minute},
		{"and is set right", 62 * time.Minute, 67 * time.Minute, 62 * time.Minute},
	} {
		if got := at(step.wall, step.uptime); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
	c = steadyClock{back: true}
	for _, step := range []struct {
		name               string
		wall, uptime, want time.Duration
	}{
		{"start", 5 * time.Hour, 0, 5 * time.Hour},
		{"it jumps forward", 6 * time.Hour, time.Minute, 6 * time.Hour},
		{"it jumps back", 5 * time.Hour, 2 * time.Minute, 6*time.Hour + time.Minute},
		{"for an hour", 6 * time.Hour, 62 * time.Minute, 6 * time.Hour},
	} {
		if got := at(step.wall, step.uptime); got != step.want {
			t.Errorf("backwards, %s: %s, want %s", step.name, got, step.want)
		}
	}
}

// A clock that was years ahead for a while has stamped messages that would never grow old.
func TestExpire_AfterAClockThatWasYearsAhead(t *testing.T) {
	c := newClock(jumpyStart)
	o := testOptions(vfs.NewMem(), Rules{SegmentSize: 30, Retention: Policy{MaxAge: time.Hour}})
	o.Now = c.now
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, numbered(10, 12)...)
	c.advance(50 * 365 * 24 * time.Hour)
	put(t, s, q, numbered(12, 14)...)
	c.advance(-50 * 365 * 24 * time.Hour)
	put(t, s, q, numbered(14, 16)...)
	if err := s.Expire(c.now().Add(30 * time.Minute)); err != nil || q.Stat().Min != 0 {
		t.Fatalf("after half of the age: %v, %+v", err, q.Stat())
	}
	if err := s.Expire(c.now().Add(2 * time.Hour)); err != nil || q.Stat().Min != q.Stat().End {
		t.Fatalf("after the age: %v, %+v", err, q.Stat())
	}
}
