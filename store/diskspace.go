package store

import (
	"fmt"
	"slices"
	"time"
)

// DiskLimits say what is done while the file system of the log fills up, in per cent of it that are used. The zero value only refuses puts
// when there is no room for the next segment.
type DiskLimits struct {
	Refuse int // from here on no messages are taken; 0: never
	Clean  int // from here on the oldest messages go before their time, of topics whose policy is to delete; 0: never
}

// refuseSlack is how far the disk has to empty below the limit before puts are taken again, in per cent: a limit that is just reached must
// not answer one put this way and the next one that way.
const refuseSlack = 1

// FullError refuses puts because the disk is fuller than DiskLimits.Refuse, or because the log lives on its reserve. It wraps ErrFull. Puts work
// again by themselves.
type FullError struct {
	Dir         string
	Used, Limit int   // per cent
	Reserve     int64 // bytes that the reserve lacks at most, 0 if the limit is the reason
}

func (e *FullError) Error() string {
	if e.Reserve > 0 {
		return fmt.Sprintf("%s: %s is %d%% full, and the reserve of the log is in use; messages are taken again when there is room for it, %d bytes", ErrFull, e.Dir, e.Used, e.Reserve)
	}
	return fmt.Sprintf("%s: %s is %d%% full, and messages are refused from %d%% on", ErrFull, e.Dir, e.Used, e.Limit)
}

func (e *FullError) Unwrap() error { return ErrFull }

// SetDiskLimits takes new limits. They are looked at once a second.
func (s *Store) SetDiskLimits(l DiskLimits) {
	s.diskLimits.Store(&l)
	s.checkDisk()
}

// diskUsed is how full the file system of the log is, in per cent, rounded up, as df says it.
func (s *Store) diskUsed() (percent int, known bool) {
	free, total, err := s.fs.Free(s.options.Dir)
	if err != nil || total <= 0 {
		return 0, false
	}
	return int(100 - free*100/total), true
}

// checkDisk looks how full the disk is and refuses puts, or takes them again.
func (s *Store) checkDisk() {
	limit := s.diskLimits.Load().Refuse
	used, known := s.diskUsed()
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.diskFull.Load()
	switch {
	case limit > 0 && known && (used >= limit || was != nil && used > limit-refuseSlack):
		s.refuseLocked(&FullError{Dir: s.options.Dir, Used: used, Limit: limit})
	case s.reserve.spent:
		s.refuseLocked(&FullError{Dir: s.options.Dir, Used: used, Reserve: s.reserveSize()})
	case was != nil:
		s.diskFull.Store(nil)
		s.options.Log.Info().Str("directory", s.options.Dir).Int("used_percent", used).Msg("the disk has room again: messages are taken")
	}
}

// refuseLocked takes no messages from here on.
func (s *Store) refuseLocked(full *FullError) {
	if s.diskFull.Swap(full) == nil {
		s.options.Log.Error().Err(full).Msg("no messages are taken until the disk has room; gets go on")
	}
}

// cleanDisk removes the oldest messages of topics whose policy is to delete, before their time, until the disk is less full than the limit
// or nothing more may go: no queue loses the virtual segment that it writes to.
func (s *Store) cleanDisk() error {
	limit := s.diskLimits.Load().Clean
	for limit > 0 {
		used, known := s.diskUsed()
		if !known || used < limit {
			return nil
		}
		messages, err := s.freeOldest()
		if messages == 0 || err != nil {
			return err
		}
		s.cleaned.Add(messages)
		s.options.Log.Warn().Int("used_percent", used).Int("limit_percent", limit).Int64("messages", messages).
			Msg("the disk is filling up: the oldest messages are removed before their time (diskCleanPercent)")
	}
	return nil
}

// freeOldest gives up the oldest segment of the log that holds nothing that has to stay: it moves the minimums of its queues beyond it, and
// removes it. It returns the number of messages that went, 0 if there is no such segment.
func (s *Store) freeOldest() (messages int64, err error) {
	s.retention.Lock()
	defer s.retention.Unlock()
	s.mu.Lock()
	segments, safe := s.segments, s.checkpointed
	s.mu.Unlock()
	for _, g := range segments {
		if !g.sealed || g.end > safe {
			break // see removeDead
		}
		trims, ok, err := s.trimsFor(g)
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		for _, t := range trims {
			if _, err := s.appendControl(kindTrim, t.queue.id, t.to, nil, func(int64) { t.queue.trimLocked(t.to) }); err != nil {
				return messages, fmt.Errorf("retention of %s-%d: %w", t.queue.topic, t.queue.partition, err)
			}
			messages += t.messages
		}
		if messages == 0 {
			continue // nothing lives in it: something else keeps it, as a hidden group does
		}
		s.mayRemove(true)
		return messages, s.removeDead()
	}
	return 0, nil
}

// trim is a move of a queue's minimum.
type trim struct {
	queue    *Queue
	to       int64
	messages int64 // that go
}

// trimsFor are the moves after which a sealed segment holds nothing; false if a queue in it must keep what it has there.
func (s *Store) trimsFor(g *segment) (trims []trim, ok bool, err error) {
	if err := s.pin(g, false); err != nil {
		return nil, false, err
	}
	defer g.unpin()
	s.mu.Lock()
	x := g.index
	s.mu.Unlock()
	var all []goOn
	if x == nil || x.ends(func(queue uint32, end int64) bool { all = append(all, goOn{queue, end}); return true }) != nil {
		return nil, false, nil // a reader has an index made again that is damaged
	}
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, last := range all {
		q, end := s.queueByID(last.queue), last.logical
		if q == nil {
			return nil, false, nil
		}
		if end <= q.min {
			continue
		}
		n := slices.IndexFunc(q.starts, func(st start) bool { return st.offset >= end })
		if n < 1 || q.starts[n].offset > q.readable || !q.rules.Retention.deletes() {
			return nil, false, nil
		}
		trims = append(trims, trim{q, q.starts[n].offset, q.starts[n].messages - q.starts[0].messages})
	}
	return trims, true, nil
}

// deletes says that old messages are removed without a copy.
func (p Policy) deletes() bool { return !p.Archive && (p.MaxAge > 0 || p.MaxBytes > 0) }

// watchDisk looks after DiskLimits.
func (s *Store) watchDisk() {
	defer s.workersOff.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
		s.keepReserve()
		s.checkDisk()
		err := s.cleanDisk()
		if err != nil && err.Error() != told {
			told = err.Error()
			s.options.Log.Error().Err(err).Msg("removing the oldest messages because the disk is filling up")
		}
	}
}
