package store

import (
	"errors"
	"time"
)

const (
	minPart      = 256 << 10 // mean bytes of a queue that lie together from which on a segment is good as it is
	minGain      = 2         // how many such parts a queue must have on average: they become one
	rewritePause = time.Second
	rewriteRetry = time.Minute // after an error of the disk
	replacePause = 2 * time.Millisecond
	pacePause    = 10 * time.Millisecond
	busyFor      = time.Second // after a put
	busyShare    = 4           // the part of the rate while there are puts
	flushShare   = 16          // the part of it while there are puts that wait for their flush
)

// total is the number of runs.
func (x *sealedIndex) total() int { return len(x.entries) / entrySize }

// worth says whether a reader of one queue would gain if each queue's part of the segment lay together.
func (x *sealedIndex) worth() bool {
	bytes, parts := int64(0), int64(0)
	for i := range x.queues {
		end := int64(-1)
		for j, r := 0, x.runsAt(i); j < r.len(); j++ {
			e := r.at(j)
			if e.pos-frameHeader != end {
				parts++
			}
			end = align(e.pos + int64(e.bytes))
			bytes += frameHeader + int64(e.bytes)
		}
	}
	return x.queues > 1 && parts >= minGain*int64(x.queues) && bytes < minPart*parts
}

// rewriter puts sealed segments into the order of their queues, see rewrite.go.
func (s *Store) rewriter() {
	defer s.workersOff.Done()
	p := newPace(s)
	for s.pause(rewritePause) {
		for g := s.nextRewrite(); g != nil; g = s.nextRewrite() {
			began, waited := time.Now(), p.waited
			err := s.rewriteSegment(g, p.wait)
			s.rewriteNanos.Add(int64(time.Since(began) - (p.waited - waited)))
			var corrupt *CorruptError
			switch {
			case errors.Is(err, ErrClosed):
				return
			case err == nil || errors.Is(err, errNotWorth) || errors.Is(err, errRemoved):
			case errors.As(err, &corrupt):
				s.options.Log.Error().Err(err).Str("segment", g.name).Msg("the segment is damaged, so it stays in the order in which it was written. See `metaq check`")
			default:
				s.options.Log.Error().Err(err).Str("segment", g.name).Msg("rewriting a segment in the order of its queues failed; it is as it was, and tried again later")
				if !s.pause(rewriteRetry) {
					return
				}
				continue
			}
			g.judged.Store(true)
		}
	}
}

// nextRewrite is the newest segment that nobody has looked at yet, of those that no start replays and that are not near the end of the log.
// The newest are the most likely to be in memory still. nil: there is none, or no room for a copy of it.
func (s *Store) nextRewrite() *segment {
	s.mu.Lock()
	list, bound, failed := s.segments, s.rewriteBoundLocked(), s.failed
	s.mu.Unlock()
	if failed != nil || s.diskFull.Load() != nil {
		return nil
	}
	for i := len(list) - 1; i >= 0; i-- {
		if g := list[i]; !g.judged.Load() && g.limit <= bound {
			if free, _, err := s.fs.Free(s.options.Dir); err != nil || free < 2*s.options.LogSegmentSize+g.limit-g.base {
				return nil
			}
			return g
		}
	}
	return nil
}

// rewriteBoundLocked is how far the log may be rewritten.
func (s *Store) rewriteBoundLocked() int64 { return min(s.checkpointed, s.appended-s.options.HotBytes) }

// rewritePendingLocked is how many segments the rewriter has to look at yet.
func (s *Store) rewritePendingLocked() (n int) {
	if s.options.RewriteRate == 0 {
		return 0
	}
	bound := s.rewriteBoundLocked()
	for _, g := range s.segments {
		if g.limit <= bound && !g.judged.Load() {
			n++
		}
	}
	return n
}

// everAwaited is how many have waited for a flush since the start.
func (s *Store) everAwaited() int64 {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	return s.awaited
}

// end is where the log ends.
func (s *Store) end() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appended
}

// pace lets through so many bytes a second, less what puts and gets move themselves, and while there are puts only a part of the rest, piece by piece:
// their flushes wait for the disk.
type pace struct {
	store    *Store
	rate     int64
	budget   int64
	last     time.Time
	appended int64 // end of the log then
	read     int64 // bytes of answers by then
	awaited  int64 // how many had waited for a flush by then
	put      time.Time
	flush    time.Time // when somebody has waited for a flush
	waited   time.Duration
}

// newPace begins now.
func newPace(s *Store) *pace {
	return &pace{store: s, rate: s.options.RewriteRate, last: time.Now(), appended: s.end(), read: s.answered.Load(), awaited: s.everAwaited()}
}

// wait waits until bytes may be moved; false when the store closes.
func (p *pace) wait(bytes int64) bool {
	for {
		now, appended, read, awaited := time.Now(), p.store.end(), p.store.answered.Load(), p.store.everAwaited()
		elapsed := min(now.Sub(p.last), time.Second)
		if appended > p.appended {
			p.put = now
		}
		if awaited > p.awaited {
			p.flush = now
		}
		of, most := int64(1), p.rate/64
		switch {
		case now.Sub(p.flush) < busyFor:
			of, most = flushShare, 0
		case now.Sub(p.put) < busyFor:
			of, most = busyShare, 0
		}
		gain := int64(elapsed.Seconds()*float64(p.rate)) - (appended - p.appended) - (read - p.read)
		if gain > 0 {
			gain /= of
		}
		p.budget = max(min(p.budget+gain, most), -p.rate)
		p.last, p.appended, p.read, p.awaited = now, appended, read, awaited
		if p.budget >= 0 {
			p.budget -= bytes
			return true
		}
		if !p.store.pause(pacePause) {
			return false
		}
		p.waited += time.Since(now)
	}
}

// pause waits; false when the store closes.
func (s *Store) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.quit:
		return false
	}
}
