package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metaq/metaq/store/fault"
)

// janitor runs the schedules of the topics.
func (s *Store) janitor() {
	defer s.workersOff.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, told := s.now(), ""
	for {
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
		now := s.now()
		due := map[string]bool{}
		err := s.expire(s.ageTime(now), func(r Rules) bool {
			key := r.DeleteWhen.String()
			if _, known := due[key]; !known {
				next := r.DeleteWhen.Next(last)
				due[key] = !next.IsZero() && !next.After(now)
			}
			return due[key]
		})
		last = now
		switch {
		case err == nil && s.stuckQueues() == 0:
			told = ""
		case err != nil && err.Error() != told: // a schedule may try the same every second
			told = err.Error()
			s.options.Log.Error().Err(err).Msg("retention: what is named is kept until this is mended, or its deletePolicy is no longer archive")
		}
	}
}

// Expire applies the retention of every topic now, whatever its schedule: it moves minimums, archives what the policy says, and removes
// segments that nobody needs. It blocks.
func (s *Store) Expire(now time.Time) error { return s.expire(now, func(Rules) bool { return true }) }

func (s *Store) expire(now time.Time, due func(Rules) bool) error {
	var errs []error
	moved := false
	for _, q := range s.Queues() {
		s.mu.Lock()
		rules := q.rules
		s.mu.Unlock()
		if !due(rules) {
			continue
		}
		m, err := s.expireQueue(q, rules.Retention, now)
		moved = moved || m
		s.setStuck(q, err != nil)
		if err != nil {
			errs = append(errs, fmt.Errorf("retention of %s-%d: %w", q.topic, q.partition, err))
		}
	}
	if moved {
		if err := s.removeDead(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// setStuck notes whether old messages of a queue cannot be removed.
func (s *Store) setStuck(q *Queue, stuck bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case stuck && !q.stuck:
		s.stuck++
	case !stuck && q.stuck:
		s.stuck--
	}
	q.stuck = stuck
}

func (s *Store) stuckQueues() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stuck
}

// expireQueue moves the minimum of one queue over the virtual segments that its policy has no room for.
func (s *Store) expireQueue(q *Queue, p Policy, now time.Time) (bool, error) {
	s.mu.Lock()
	from, to := q.min, q.expiredLocked(p, now)
	s.mu.Unlock()
	if to <= from {
		return false, nil
	}
	if p.Archive {
		if err := s.archive(q, from, to, p.Zip); err != nil {
			return false, err
		}
	}
	// The frame is written before anything is removed, and flushed before a file is: see removeDead.
	_, err := s.appendControl(kindTrim, q.id, to, nil, func(int64) { q.trimLocked(to) })
	fault.Point("retention.trimmed")
	return err == nil, err
}

// expiredLocked is where the queue's minimum may go. Age: over virtual segments whose newest record is too old; the last one too, which
// then ends. Size: until what is left is within the bound, the last one never. Nothing that is not acknowledged yet is touched.
func (q *Queue) expiredLocked(p Policy, now time.Time) int64 {
	to := q.min
	for i, st := range q.starts {
		end := q.end
		if i+1 < len(q.starts) {
			end = q.starts[i+1].offset
		}
		if end == st.offset || end > q.readable {
			break
		}
		old := p.MaxAge > 0 && q.newestLocked(i, now) < now.Add(-p.MaxAge).UnixMilli()
		large := p.MaxBytes > 0 && q.readable-st.offset > p.MaxBytes && i+1 < len(q.starts)
		if !old && !large {
			break
		}
		to = end
	}
	return to
}

// removeDead removes the segments into which nothing live points.
func (s *Store) removeDead() error {
	s.mu.Lock()
	s.foreign = slices.DeleteFunc(s.foreign, func(f foreignRef) bool { return s.byID[f.queue-1].min >= f.end })
	needed := map[int64]bool{}
	for _, f := range s.foreign {
		if g := s.segmentLocked(f.pos); g != nil {
			needed[g.base] = true
		}
	}
	for _, h := range s.hidden {
		for _, r := range h.runs {
			if g := s.segmentLocked(r.pos); g != nil {
				needed[g.base] = true
			}
		}
	}
	mins := make([]int64, len(s.byID))
	for i, q := range s.byID {
		mins[i] = q.min
	}
	// A segment behind the last checkpoint is needed to replay, one without an index file to read.
	var candidates []*segment
	for _, g := range s.segments {
		if g.index != nil && g.end <= s.checkpointed && !needed[g.base] {
			candidates = append(candidates, g)
		}
	}
	s.mu.Unlock()
	for _, g := range candidates {
		if g.live(mins) {
			continue
		}
		if err := s.removeSegment(g); err != nil {
			return err
		}
	}
	return nil
}

// live says whether a queue has something in the segment that is not below its minimum.
func (g *segment) live(mins []int64) bool {
	x := g.index
	for i := range x.queues {
		queue := le.Uint32(x.dir[i*indexDirRecord:])
		r, err := x.lookup(queue)
		if err != nil || int(queue) > len(mins) {
			return true
		}
		if last := r.at(r.len() - 1); last.logical+int64(last.bytes) > mins[queue-1] && !fault.Mutant("retention_beyond_the_minimum") {
			return true
		}
	}
	return false
}

// removeSegment writes down that the segment is not needed, then removes its files. Readers that hold it keep its mapping until they are done.
func (s *Store) removeSegment(g *segment) error {
	pos, err := s.appendControl(kindDrop, 0, g.base, nil, func(int64) {
		list := slices.Clone(s.segments)
		s.segments = slices.DeleteFunc(list, func(x *segment) bool { return x == g })
	})
	if err != nil {
		return err
	}
	if fault.Mutant("remove_before_flush") {
		pos = 0
	}
	if err := s.wait(pos); err != nil {
		return err
	}
	fault.Point("retention.dropped")
	for _, name := range []string{g.name, indexName(g.name)} {
		if err := s.fs.Remove(name); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove a segment that is not needed: %w", err)
		}
		fault.Point("retention.removed")
	}
	s.unmapLater(g)
	return nil
}

// unmapLater drops the mappings of a segment that nobody can find any more. It waits for the readers to go, and never makes a new one wait.
func (s *Store) unmapLater(g *segment) {
	s.workersOff.Add(1)
	go func() {
		defer s.workersOff.Done()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !s.unmap.TryLock() {
			select {
			case <-tick.C:
			case <-s.quit:
				return // Close unmaps nothing that is not in the list; the process ends or the mapping is dropped with it
			}
		}
		defer s.unmap.Unlock()
		g.close()
	}()
}
