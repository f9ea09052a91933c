package store

import (
	"slices"
	"sync/atomic"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/fault"
)

// Queue is a partition of a topic: an index over the log. A queue costs some hundred bytes and no file.
// All methods may be called from any goroutine.
type Queue struct {
	store     *Store
	id        uint32
	topic     protocol.Topic
	partition int32
	closed    atomic.Bool

	// Guarded by store.mu.

	min      int64   // smallest offset that can be read; always the start of a virtual segment
	end      int64   // where the next record goes
	next     int64   // like end, while an append is being laid out
	readable int64   // end of what counts as acknowledged; min <= readable <= end
	safeFrom int64   // log position behind the frame that made the queue: nothing of it is acknowledged before that is flushed
	messages int64   // records ever appended
	starts   []start // virtual segments, oldest first; never empty
	watchers []*watcher
	stuck    bool   // its old messages could not be removed, see Stats.RetentionStuck
	rules    *Rules // shared by the queues of a topic, replaced, never changed

	unflushed      int    // messages since flush number unflushedSince began
	unflushedSince uint64 // see Store.flushes
	round, saved   uint32 // the last snapshot that has it, and where that keeps its state
	relaxed        bool   // something may have been acknowledged before it was flushed, says the log or the checkpoint
}

// start is the beginning of a virtual segment.
type start struct {
	offset   int64 // logical offset
	messages int64 // records in the queue before it
	time     int64 // unix milliseconds of the newest record in it
}

// QueueStat is what can be read of a queue.
type QueueStat struct {
	Min, End        int64 // logical offsets, in bytes
	Messages, Bytes int64
}

// Topic is the queue's topic.
func (q *Queue) Topic() protocol.Topic { return q.topic }

// Partition is the queue's number in its topic.
func (q *Queue) Partition() int32 { return q.partition }

// Closed says whether puts and gets are to be refused. The store itself does not refuse them.
func (q *Queue) Closed() bool { return q.closed.Load() }

// SetClosed closes or opens the queue. It is durable, and blocks until it is.
func (q *Queue) SetClosed(closed bool) error {
	if q.closed.Swap(closed) == closed {
		return nil
	}
	pos, err := q.store.appendControl(kindQueue, q.id, 0, appendQueueBody(nil, q.flags(), q.partition, string(q.topic)), nil)
	if err != nil {
		q.closed.Store(!closed)
		return err
	}
	if closed {
		q.wake()
	}
	return q.store.wait(pos)
}

// wake fires all watchers.
func (q *Queue) wake() {
	q.store.mu.Lock()
	fire := q.watchers
	q.watchers = nil
	for _, w := range fire {
		w.at = -1
	}
	q.store.mu.Unlock()
	for _, w := range fire {
		w.fn()
	}
}

// Flags of a queue in a queue frame and in a checkpoint.
const (
	queueClosed  = 1
	queueRelaxed = 2 // something may have been acknowledged before it was flushed
)

func (q *Queue) flags() uint8 {
	if q.closed.Load() {
		return queueClosed
	}
	return 0
}

// Stat tells what can be read.
func (q *Queue) Stat() QueueStat {
	q.store.mu.Lock()
	defer q.store.mu.Unlock()
	return q.statLocked()
}

// StatAll tells what can be read of many queues, some at a time, so that puts do not wait for it.
func (s *Store) StatAll(list []*Queue) []QueueStat {
	stats := make([]QueueStat, 0, len(list))
	for step := range slices.Chunk(list, walkStep) {
		s.mu.Lock()
		for _, q := range step {
			stats = append(stats, q.statLocked())
		}
		s.mu.Unlock()
	}
	return stats
}

func (q *Queue) statLocked() QueueStat {
	return QueueStat{Min: q.min, End: q.readable, Messages: q.messages - q.starts[0].messages, Bytes: q.readable - q.min}
}

// SegmentStart answers the classic `offset` command: the start of the virtual segment that holds the offset, the readable end
// if the offset is at or beyond it, the minimum if it is before that.
func (q *Queue) SegmentStart(offset int64) int64 {
	q.store.mu.Lock()
	defer q.store.mu.Unlock()
	if offset >= q.readable {
		return q.readable
	}
	if offset < q.min {
		return q.min
	}
	return q.starts[q.startIndex(offset)].offset
}

// startIndex finds the virtual segment of an offset that is not before the first one.
func (q *Queue) startIndex(offset int64) int {
	i, found := slices.BinarySearchFunc(q.starts, offset, func(s start, o int64) int {
		switch {
		case s.offset < o:
			return -1
		case s.offset > o:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return max(i, 0)
}

// addRunLocked makes a run part of the queue: offsets, virtual segments, index. records is the run itself.
func (q *Queue) addRunLocked(seg *segment, e entry, records []byte) {
	q.saveLocked()
	size := q.rules.SegmentSize
	last := &q.starts[len(q.starts)-1]
	if size > 0 && e.logical+int64(e.bytes)-last.offset > size {
		q.splitRunLocked(e, records, size)
		last = &q.starts[len(q.starts)-1]
	}
	last.time = max(last.time, e.time)
	q.messages += int64(e.count)
	q.end = e.logical + int64(e.bytes)
	q.next = q.end
	seg.runs.add(q.id, e)
	if fault.Mutant("read_before_flush") {
		q.readable = q.end
	}
}

// splitRunLocked begins virtual segments inside a run: at the first record that begins size bytes or more behind the last start.
func (q *Queue) splitRunLocked(e entry, records []byte, size int64) {
	var n, count int64
	for n < int64(len(records)) {
		if e.logical+n-q.starts[len(q.starts)-1].offset >= size {
			q.starts = append(q.starts, start{offset: e.logical + n, messages: q.messages + count, time: e.time})
		}
		n += recordSize(records[n:])
		count++
	}
}

// jumpLocked lets the queue go on at a later offset, in a new virtual segment.
func (q *Queue) jumpLocked(offset int64) {
	q.saveLocked()
	q.end, q.next = offset, offset
	q.starts = append(q.starts, start{offset: offset, messages: q.messages})
}

// trimLocked moves the minimum up to the start of a virtual segment, or to the end of the queue, which then becomes one.
func (q *Queue) trimLocked(offset int64) {
	if offset <= q.min {
		return
	}
	q.saveLocked()
	if offset == q.end && q.starts[len(q.starts)-1].offset != offset {
		q.starts = append(q.starts, start{offset: offset, messages: q.messages})
	}
	i := q.startIndex(offset)
	q.starts = slices.Clone(q.starts[i:])
	// After a change of maxSegmentSize a replay may draw other virtual segments; the minimum stands all the same.
	q.starts[0].offset = offset
	q.min = offset
	q.readable = max(q.readable, q.min)
}

// watcher is somebody who waits for the readable end to go beyond an offset, or for the queue to be closed.
type watcher struct {
	offset int64
	fn     func()
	at     int // in Queue.watchers, -1 when it is not there any more; guarded by Store.mu
}

// Watch calls fn once, from another goroutine or at once from this one, when the readable end is beyond offset or the queue is closed. fn must not
// block and must not call the store. cancel forgets it; fn may be running then.
func (q *Queue) Watch(offset int64, fn func()) (cancel func()) {
	w := &watcher{offset: offset, fn: fn, at: -1}
	q.store.mu.Lock()
	if q.readable > offset || q.closed.Load() {
		q.store.mu.Unlock()
		fn()
		return func() {}
	}
	w.at = len(q.watchers)
	q.watchers = append(q.watchers, w)
	q.store.mu.Unlock()
	return func() {
		q.store.mu.Lock()
		defer q.store.mu.Unlock()
		q.unwatchLocked(w)
	}
}

// unwatchLocked forgets a watcher. Many thousands may end at the same time, so none may cost more for the others.
func (q *Queue) unwatchLocked(w *watcher) {
	if w.at < 0 {
		return
	}
	last := len(q.watchers) - 1
	q.watchers[w.at] = q.watchers[last]
	q.watchers[w.at].at = w.at
	q.watchers[last] = nil
	q.watchers = q.watchers[:last]
	w.at = -1
}

// publishLocked moves the readable end and adds the watchers that are due to fire.
func (q *Queue) publishLocked(end int64, fire []*watcher) []*watcher {
	if end <= q.readable {
		return fire
	}
	q.readable = end
	if len(q.watchers) == 0 {
		return fire
	}
	kept := q.watchers[:0]
	for _, w := range q.watchers {
		if end > w.offset {
			w.at = -1
			fire = append(fire, w)
		} else {
			w.at = len(kept)
			kept = append(kept, w)
		}
	}
	clear(q.watchers[len(kept):])
	q.watchers = kept
	return fire
}

// recordSize is the size of the stored record at the beginning of b, header included.
func recordSize(b []byte) int64 {
	if len(b) < protocol.RecordHeader {
		return int64(len(b)) + 1
	}
	return protocol.RecordHeader + int64(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]))
}
