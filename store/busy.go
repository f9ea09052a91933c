package store

import (
	"fmt"
	"sync/atomic"
	"time"
)

// A disk that is slow or stuck fails no call: the call just does not return. Puts that wait for their flush are then told so after
// a time (DiskTimeout), and while a call has been under way for so long nothing more is taken, before any lock that the call may hold.
// One goroutine, the watchdog, looks after all of it, so that a put needs neither a timer nor the clock.

// watchEvery is how often the watchdog looks: it notices by so much later at most.
const watchEvery = 100 * time.Millisecond

// watchStep bounds by how much the watchdog's clock goes on between two looks. Otherwise, a process that was stopped for a while would
// blame the disk for it.
const watchStep = 5 * watchEvery

// BusyError says that the disk has not answered for too long.
type BusyError struct {
	Call  string        // what it has not answered: "flush" or "write"
	Since time.Time     // when the call began, or when this began to wait
	For   time.Duration // how long that is, as of the watchdog's last look
	// Unknown says that it may be stored yet, or not. Otherwise nothing was stored.
	Unknown bool
}

func (e *BusyError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("busy: the disk has not answered a %s for %d ms; it may be stored yet, or not", e.Call, e.For.Milliseconds())
	}
	return fmt.Sprintf("busy: the disk has not answered a %s for %d ms; nothing was stored", e.Call, e.For.Milliseconds())
}

// Blocks says that the call holds the store's lock, so that reads wait for it as well.
func (e *BusyError) Blocks() bool { return e.Call == callWrite }

const (
	callFlush = "flush"
	callWrite = "write"
)

// diskCall is one kind of call, of which there is one at a time. Its turns count when one begins and when it ends, so they are odd
// while it is under way.
type diskCall struct {
	turns atomic.Uint64
	seen  uint64        // turns at the watchdog's last look
	since time.Duration // when it saw them first
}

func (c *diskCall) begin() { c.turns.Add(1) }
func (c *diskCall) end()   { c.turns.Add(1) }

// age is how long the call under way has been so; 0 if there is none.
func (c *diskCall) age(now time.Duration) time.Duration {
	if turns := c.turns.Load(); turns != c.seen {
		c.seen, c.since = turns, now
	}
	if c.seen%2 == 0 {
		return 0
	}
	return now - c.since
}

// diskWatch is what the watchdog knows.
type diskWatch struct {
	limit        atomic.Int64 // DiskTimeout
	clock        atomic.Int64 // the watchdog's: a duration since its start that moves when it looks
	flush, write diskCall
	stuck        atomic.Pointer[BusyError] // while a call takes longer than the limit
	times        atomic.Int64              // how often that has been
	unknown      atomic.Int64              // waiters that were told that they may be stored yet
}

// Busy is not nil while the disk does not answer. It takes no lock.
func (s *Store) Busy() *BusyError { return s.disk.stuck.Load() }

// BusyTimes is how often the disk has not answered since the start. It takes no lock.
func (s *Store) BusyTimes() int64 { return s.disk.times.Load() }

// SetDiskTimeout takes another DiskTimeout.
func (s *Store) SetDiskTimeout(d time.Duration) { s.disk.limit.Store(int64(d)) }

// refuseWhileStuck is the error of whatever would write while the disk does not answer. It is called before a lock is taken.
func (s *Store) refuseWhileStuck() error {
	if e := s.disk.stuck.Load(); e != nil {
		return e
	}
	return nil
}

// watchdog looks at the disk until the store is closed.
func (s *Store) watchdog() {
	defer s.workersOff.Done()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-s.quit:
			s.disk.stuck.Store(nil)
			return
		case <-tick.C:
		}
		now := time.Now()
		s.disk.clock.Add(int64(min(now.Sub(last), watchStep)))
		last = now
		s.watch(now)
	}
}

// watch is one look.
func (s *Store) watch(wall time.Time) {
	d := &s.disk
	now, limit := time.Duration(d.clock.Load()), time.Duration(d.limit.Load())
	call, age := callFlush, d.flush.age(now)
	if writing := d.write.age(now); writing >= limit || age == 0 {
		call, age = callWrite, writing
	}
	before := d.stuck.Load()
	switch {
	case limit > 0 && age >= limit:
		next := &BusyError{Call: call, Since: wall.Add(-age), For: age}
		if before != nil && before.Call == call {
			next.Since = before.Since
		}
		d.stuck.Store(next)
		if before == nil {
			d.times.Add(1)
			s.options.Log.Error().Str("call", call).Dur("for", age).Msg("the disk does not answer: puts are refused as busy until it does")
		}
	case before != nil:
		d.stuck.Store(nil)
		s.options.Log.Warn().Str("call", before.Call).Dur("for", before.For).Msg("the disk answers again")
	}
	if limit > 0 {
		s.tellLate(wall, now, limit)
	}
}

// tellLate tells those who have waited for longer than the limit.
func (s *Store) tellLate(wall time.Time, now, limit time.Duration) {
	var late []waiting
	s.waitMu.Lock()
	kept := s.waiting[:0]
	for i, w := range s.waiting {
		if now-w.since < limit { // nobody behind it has waited for longer
			kept = append(kept, s.waiting[i:]...)
			break
		}
		if w.patient {
			kept = append(kept, w)
		} else {
			late = append(late, w)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
	s.waitMu.Unlock()
	for _, w := range late {
		waited := now - w.since
		s.disk.unknown.Add(1)
		w.waiter.Acked(&BusyError{Call: callFlush, Since: wall.Add(-waited), For: waited, Unknown: true})
	}
}
