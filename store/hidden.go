package store

import (
	"runtime/debug"
	"slices"
)

// hiddenGroup is what a transaction, a half message or a delayed message has written so far: records that are in the log, with their
// ids, and in no queue.
type hiddenGroup struct {
	runs []publishedRun // logical is not set yet
}

// foreignRef keeps a segment alive: records of a queue lie in it that were published from a later one.
type foreignRef struct {
	pos   int64 // of the records
	queue uint32
	end   int64 // logical offset behind them: while the queue's minimum is before it, they are needed
}

// AppendHidden stores the batch as part of a hidden group. Its messages have ids but no offsets, and nobody can read them before
// Publish. They survive restarts. ack is the position of the flush that makes them safe.
func (s *Store) AppendHidden(group int64, b *Batch) (ack Position, err error) {
	if len(b.frames) == 0 {
		return 0, nil
	}
	b.pad()
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := s.writeBatchLocked(b, kindHidden, group)
	if err != nil {
		return 0, err
	}
	for i := range b.frames {
		f := &b.frames[i]
		if f.entry.pos > s.open.base {
			s.snapshotLocked()
		}
		s.addHiddenLocked(group, publishedRun{queue: f.queue.id, bytes: f.entry.bytes, count: f.entry.count, pos: f.entry.pos})
	}
	s.snapshotLocked()
	s.signal(s.flushC)
	return Position(at), nil
}

func (s *Store) addHiddenLocked(group int64, r publishedRun) {
	g := s.hidden[group]
	if g == nil {
		g = &hiddenGroup{}
		s.hidden[group] = g
	}
	g.runs = append(g.runs, r)
}

// Publish gives the records of a hidden group their offsets and makes them readable, all at once: it is one frame, so a crash leaves
// all of it or nothing. They are acknowledged, and readable, when ack is flushed.
func (s *Store) Publish(group int64) (ack Position, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.hidden[group]
	if g == nil {
		return 0, ErrHidden
	}
	var body []byte
	for i := range g.runs {
		r := &g.runs[i]
		q := s.queueByID(r.queue)
		r.logical = q.next
		q.next += int64(r.bytes)
		body = appendPublishedRun(body, *r)
	}
	ack, err = s.appendControlLocked(kindPublish, 0, group, body, func(int64) {
		s.publishGroupLocked(group, g.runs, s.now().UnixMilli())
	})
	if err != nil {
		for _, r := range g.runs {
			q := s.queueByID(r.queue)
			q.next = q.end
		}
		return 0, err
	}
	for _, r := range g.runs {
		s.unsafe = append(s.unsafe, unsafeRun{queue: s.queueByID(r.queue), pos: int64(ack), end: r.logical + int64(r.bytes)})
	}
	s.signal(s.flushC)
	return ack, nil
}

// publishGroupLocked enters published runs into the index of the segment that holds the publish frame.
func (s *Store) publishGroupLocked(group int64, list []publishedRun, ms int64) {
	for _, r := range list {
		q := s.queueByID(r.queue)
		var records []byte
		if seg := s.segmentLocked(r.pos); seg != nil {
			records = s.recordsLocked(seg, r)
		}
		q.addRunLocked(s.open, entry{logical: r.logical, pos: r.pos, time: ms, bytes: r.bytes, count: r.count}, records)
		if r.pos < s.open.base {
			s.foreign = append(s.foreign, foreignRef{pos: r.pos, queue: r.queue, end: r.logical + int64(r.bytes)})
		}
	}
	delete(s.hidden, group)
}

// Discard drops a hidden group for good.
func (s *Store) Discard(group int64) (ack Position, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden[group] == nil {
		return 0, ErrHidden
	}
	ack, err = s.appendControlLocked(kindDiscard, 0, group, nil, func(int64) { delete(s.hidden, group) })
	s.signal(s.flushC)
	return ack, err
}

// Hidden lists the groups that are neither published nor discarded.
func (s *Store) Hidden() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for id := range s.hidden {
		ids = append(ids, id)
	}
	return ids
}

// recordsLocked are the records of a hidden run, nil if they cannot be read. A segment that is not mapped is read as a file: mapping it
// takes a lock that comes before this one.
func (s *Store) recordsLocked(g *segment, r publishedRun) (records []byte) {
	if g.tryPin() {
		defer g.unpin()
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer onFault(func() { records = nil })
		return slices.Clone(g.records(r.pos, int64(r.bytes)))
	}
	f, err := s.fs.OpenRead(g.name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, r.bytes)
	if _, err := f.ReadAt(b, r.pos-g.base); err != nil {
		return nil
	}
	return b
}
