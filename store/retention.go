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
	s.retention.Lock()
	defer s.retention.Unlock()
	var errs []error
	moved := false
	for _, list := range s.dueQueues(due) {
		for step := range slices.Chunk(list, walkStep) {
			for _, q := range s.expired(step, now) {
				m, err := s.expireQueue(q, now)
				moved = moved || m
				s.setStuck(q, err != nil)
				if err != nil {
					errs = append(errs, fmt.Errorf("retention of %s-%d: %w", q.topic, q.partition, err))
				}
			}
		}
	}
	if s.mayRemove(moved) {
		if err := s.removeDead(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// mayRemove says whether there may be segments that nobody needs: when a minimum has moved, or a segment without any message was sealed, and then again
// after each checkpoint until all that was written before that may go, because nothing behind the checkpoint before the last one may.
func (s *Store) mayRemove(moved bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if moved {
		s.movedAt = s.appended
	}
	may := moved || s.looked != s.checkpointed && s.looked < s.movedAt
	if may {
		s.looked = s.checkpointed
	}
	return may
}

// dueQueues are the queues of the topics whose schedule is due, a list a topic. Most of the time there are none, which costs a look at
// each topic and not at each queue.
func (s *Store) dueQueues(due func(Rules) bool) (lists [][]*Queue) {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	for _, parts := range s.topics {
		i := slices.IndexFunc(parts, func(q *Queue) bool { return q != nil })
		if i < 0 {
			continue
		}
		s.mu.Lock()
		rules := parts[i].rules
		s.mu.Unlock()
		if due(*rules) {
			lists = append(lists, slices.DeleteFunc(slices.Clone(parts), func(q *Queue) bool { return q == nil }))
		}
	}
	return lists
}

// expired are those of some queues whose policy has no room for all that they hold.
func (s *Store) expired(list []*Queue, now time.Time) (out []*Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range list {
		if q.expiredLocked(q.rules.Retention, now) > q.min {
			out = append(out, q)
		} else {
			s.setStuckLocked(q, false)
		}
	}
	return out
}

// setStuck notes whether old messages of a queue cannot be removed.
func (s *Store) setStuck(q *Queue, stuck bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setStuckLocked(q, stuck)
}

func (s *Store) setStuckLocked(q *Queue, stuck bool) {
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
func (s *Store) expireQueue(q *Queue, now time.Time) (bool, error) {
	s.mu.Lock()
	p := q.rules.Retention
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
	if err := s.refuseWhileStuck(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if to != q.end { // messages that came meanwhile are of the last virtual segment, which is not old any more
		to = q.starts[q.startIndex(to)].offset
	}
	if to <= q.min {
		return false, nil
	}
	// The frame is written before anything is removed, and flushed before a file is: see removeDead.
	_, err := s.appendControlLocked(kindTrim, q.id, to, nil, func(int64) { q.trimLocked(to) })
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
	queues := s.byID
	// A segment behind the last checkpoint is needed to replay, one without an index file to read.
	var candidates []*segment
	for _, g := range s.segments {
		if g.sealed && g.end <= s.checkpointed && !needed[g.base] {
			candidates = append(candidates, g)
		}
	}
	s.mu.Unlock()
	mins := s.minimums(queues)
	for _, g := range candidates {
		live, err := s.live(g, mins)
		if err == nil && !live {
			err = s.removeSegment(g)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// minimums are those of some queues. They only move up, so it does not matter that they are not of one moment.
func (s *Store) minimums(list []*Queue) []int64 {
	mins := make([]int64, 0, len(list))
	for step := range slices.Chunk(list, walkStep) {
		s.mu.Lock()
		for _, q := range step {
			mins = append(mins, q.min)
		}
		s.mu.Unlock()
	}
	return mins
}

// live says whether a queue has something in the segment that is not below its minimum. It remembers one such queue, which mostly still
// has when it is asked again: looking at all segments must not read all index files.
func (s *Store) live(g *segment, mins []int64) (bool, error) {
	if w := g.witness; w.queue > 0 && w.logical > mins[w.queue-1] && !fault.Mutant("retention_beyond_the_minimum") {
		return true, nil
	}
	if err := s.pin(g, false); err != nil {
		return true, err
	}
	defer g.unpin()
	s.mu.Lock()
	x := g.index
	s.mu.Unlock()
	live, err := g.liveIn(x, mins)
	if err != nil { // nobody may read there any more and have it made again
		if x, err = s.healIndex(g, x); err != nil {
			return true, err
		}
		live, err = g.liveIn(x, mins)
	}
	return live || err != nil, err
}

// liveIn is live, as the index has it.
func (g *segment) liveIn(x *sealedIndex, mins []int64) (live bool, err error) {
	err = x.ends(func(queue uint32, end int64) bool {
		switch {
		case int(queue) > len(mins):
			live = true
		case end > mins[queue-1] && !fault.Mutant("retention_beyond_the_minimum"):
			g.witness = goOn{queue, end}
			live = true
		}
		return !live
	})
	return live, err
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
	s.mapped.mu.Lock()
	g.removed = true // nobody maps it any more, nor makes its index again
	s.mapped.mu.Unlock()
	began := time.Now()
	for _, name := range []string{g.name, indexName(g.name)} {
		if err := s.fs.Remove(name); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove a segment that is not needed: %w", err)
		}
		fault.Point("retention.removed")
	}
	s.unmapRemoved(g)
	if s.diskFull.Load() == nil {
		s.pause(removeRest * time.Since(began))
	}
	return nil
}

// removeRest is how many times as long as the removal of a segment took the next one waits. Giving back a large file keeps a processor and the file system's
// journal busy, and flushes wait for that: many in a row would be seen by puts. Where there is no room nothing waits.
const removeRest = 4
