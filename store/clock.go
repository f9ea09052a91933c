package store

import "time"

// The machine's clock is set by people and programs, so it jumps. Frames are stamped and messages grow old by two readings of it, so that
// a jump neither removes messages early nor hides them from a search by time:
//
//   - A stamp follows a jump back only when that has lasted for holdJump, and is never before the stamps before it, unless the clock is
//     behind them by more than maxClockBack.
//   - Retention follows a jump forward only when that has lasted for holdJump.
//
// The clock of a start is believed: there is nothing to compare it with.
const (
	holdJump = time.Hour
	// maxClockDrift is what the clock may gain or lose on the uptime between two looks when it is only corrected.
	maxClockDrift = time.Minute
	// maxClockBack bounds how far ahead a clock may have been for its stamps to be gone on from.
	maxClockBack = 24 * time.Hour
)

// steadyClock is the machine's clock without the jumps in one direction that have not lasted yet.
type steadyClock struct {
	back   bool          // it is jumps back that it waits for
	at     time.Time     // what it said last
	uptime time.Duration // when that was
	off    time.Duration // how far the clock has jumped away from it; 0: it has not
	since  time.Duration // when it did
}

// now returns what counts of the time wall that the clock says. jump is not 0 when a jump is seen for the first time. Whoever jumps again
// has to wait again.
func (c *steadyClock) now(wall time.Time, uptime time.Duration) (now time.Time, jump time.Duration) {
	steady := c.at.Add(uptime - c.uptime)
	off := wall.Sub(steady)
	if c.back {
		off = -off
	}
	c.uptime = uptime
	switch {
	case c.at.IsZero() || off <= maxClockDrift:
	case (off - c.off).Abs() > maxClockDrift:
		c.at, c.off, c.since = steady, off, uptime
		return steady, off
	case uptime-c.since < holdJump:
		c.at = steady
		return steady, 0
	}
	c.at, c.off = wall, 0
	return wall, 0
}

// uptime is how long the store is open, whatever happens to the clock. t is what the clock says now.
func (s *Store) uptime(t time.Time) time.Duration {
	if s.options.Uptime != nil {
		return s.options.Uptime()
	}
	return t.Sub(s.opened) // of their monotonic readings
}

// stampLocked is the time of a frame that is written now, in unix milliseconds. Ids never go back and outlive a restart, so the last one
// says when the last message was written.
func (s *Store) stampLocked() int64 {
	t := s.now()
	steady, _ := s.stamps.now(t.Round(0), s.uptime(t))
	now, last := steady.UnixMilli(), IDTime(s.ids.last).UnixMilli()
	if last > now && last-now <= maxClockBack.Milliseconds() {
		return last
	}
	return now
}

// ageTime is the time for retention. t is what the clock says now.
func (s *Store) ageTime(t time.Time) time.Time {
	s.mu.Lock()
	now, jump := s.ages.now(t.Round(0), s.uptime(t))
	s.stamps.now(t.Round(0), s.uptime(t)) // without puts nobody else would look
	s.mu.Unlock()
	if jump > 0 {
		s.options.Log.Warn().Stringer("jump", jump).Stringer("for", holdJump).Msg("the clock has jumped forward: messages do not grow older by that unless it lasts")
	}
	return now
}

// newestLocked is when the newest message of a virtual segment was written, in unix milliseconds. What a clock far ahead has stamped was
// written before what follows.
func (q *Queue) newestLocked(i int, now time.Time) int64 {
	limit := now.Add(maxClockBack).UnixMilli()
	for i+1 < len(q.starts) && q.starts[i].time > limit {
		i++
	}
	return q.starts[i].time
}
