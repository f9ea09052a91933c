package store

import (
	"errors"
	"math"
)

// Backlog is what lies between an offset and the readable end of a queue.
type Backlog struct {
	Messages int64
	Bytes    int64 // between the two offsets
	Oldest   int64 // when the first of the messages was appended, in unix milliseconds; 0 if there is none
}

// Backlog counts what a reader at an offset has not read. It may block.
//
// The virtual segments behind the offset's own know how many messages they begin with, so that only the runs of one of them are
// looked at, and only the messages of the run that holds the offset.
func (q *Queue) Backlog(offset int64) (Backlog, error) {
	for {
		b, from, err := q.backlog(offset)
		if errors.Is(err, errRemoved) || err == nil && q.Stat().Min > from {
			continue // messages have been removed meanwhile
		}
		return b, err
	}
}

// backlog is Backlog, once. from is where it began to count.
func (q *Queue) backlog(offset int64) (b Backlog, from int64, err error) {
	s := q.store
	s.mu.Lock()
	from = max(offset, q.min)
	readable, end := q.readable, q.end
	if from >= readable {
		s.mu.Unlock()
		return Backlog{}, from, nil
	}
	bound, known := end, int64(0)
	if i := q.startIndex(from) + 1; i < len(q.starts) && q.starts[i].offset <= readable {
		bound, known = q.starts[i].offset, q.messages-q.starts[i].messages
	}
	w := q.walkRunsLocked()
	s.mu.Unlock()
	defer w.unpin()
	counted, oldest, err := w.count(from, bound)
	if err != nil {
		return Backlog{}, from, err
	}
	unreadable := int64(0)
	if readable < end {
		if unreadable, _, err = w.count(readable, end); err != nil {
			return Backlog{}, from, err
		}
	}
	return Backlog{Messages: counted + known - unreadable, Bytes: readable - from, Oldest: oldest}, from, nil
}

// runWalk has all runs of a queue as they are at one time.
type runWalk struct {
	queue  *Queue
	mem    []memRuns // newest first
	pinned []*memIndex
	sealed []*segment // oldest first
}

func (q *Queue) walkRunsLocked() *runWalk {
	w := &runWalk{queue: q, sealed: q.store.segments}
	for n := len(w.sealed); n > 0 && w.sealed[n-1].runs != nil; n-- {
		index := w.sealed[n-1].runs
		index.pins.Add(1)
		w.mem, w.pinned, w.sealed = append(w.mem, index.of(q.id)), append(w.pinned, index), w.sealed[:n-1]
	}
	return w
}

func (w *runWalk) unpin() {
	for _, index := range w.pinned {
		index.unpin()
	}
}

// tally is what one list of runs has to say about a range of offsets.
type tally struct {
	whole       int64   // messages of the runs that lie in the range as a whole
	oldest      int64   // time of the first run that is in it at all; 0: none
	first, last stretch // of runs that are cut by the ends of the range
	over        bool    // lists of older runs have nothing to add
}

// stretch is a part of a run whose messages have to be counted.
type stretch struct{ from, to int64 }

// add looks at the runs of one list. It may fault.
func (t *tally) add(r *runs, from, to int64) {
	*t = tally{}
	n := r.find(from)
	t.over = n >= 0
	for i := max(n, 0); i < r.len(); i++ {
		e := r.at(i)
		end := e.logical + int64(e.bytes)
		if e.logical >= to {
			return
		}
		if end <= from {
			continue
		}
		if t.oldest == 0 {
			t.oldest = e.time
		}
		switch {
		case e.logical < from:
			t.first = stretch{from, min(end, to)}
		case end > to:
			t.last = stretch{e.logical, to}
		default:
			t.whole += int64(e.count)
		}
	}
}

// count counts the messages from one offset to another, that which holds the first offset among them, and tells when the first of them was appended.
func (w *runWalk) count(from, to int64) (messages, oldest int64, err error) {
	var t tally
	take := func() error {
		messages += t.whole
		if t.oldest != 0 {
			oldest = t.oldest
		}
		for _, part := range []stretch{t.first, t.last} {
			n, err := w.queue.countRecords(part.from, part.to)
			if err != nil {
				return err
			}
			messages += n
		}
		return nil
	}
	for _, m := range w.mem {
		t.add(&runs{mem: m}, from, to)
		if err := take(); err != nil || t.over {
			return messages, oldest, err
		}
	}
	for i := len(w.sealed) - 1; i >= 0 && !t.over; i-- {
		err := w.queue.sealedRuns(w.sealed[i], false, func(r *runs) { t.add(r, from, to) })
		if err != nil {
			return 0, 0, err
		}
		w.sealed[i].unpin()
		if err := take(); err != nil {
			return 0, 0, err
		}
	}
	return messages, oldest, nil
}

// countStep is how many bytes are read at a time to count messages.
const countStep = 1 << 20

// countRecords reads the records between two offsets and counts them, that which holds the first offset among them.
func (q *Queue) countRecords(from, to int64) (n int64, err error) {
	var b []byte
	for from < to {
		b, err = q.Read(b[:0], from, math.MaxInt32, countStep, false)
		if moved := (*MovedError)(nil); errors.As(err, &moved) {
			from = moved.Offset
			continue
		}
		if err != nil {
			return 0, err
		}
		for rest := b; from < to && len(rest) > 0; n++ {
			size := recordSize(rest)
			if size > int64(len(rest)) {
				break
			}
			from, rest = from+size, rest[size:]
		}
	}
	return n, nil
}
