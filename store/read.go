package store

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sort"
)

// Views are bytes of the log that lie in several places.
type Views struct {
	Parts   [][]byte // in their order
	Size    int      // of all of them, in bytes
	segment *segment
}

// Hold keeps the views valid beyond the call that was given them.
func (v Views) Hold() *Held {
	v.segment.pins.Add(1) // it is pinned already
	return &Held{Views{slices.Clone(v.Parts), v.Size, v.segment}}
}

// Held are views that stay valid until Release, which has to be called once. Meanwhile the segment can neither be rewritten nor lose its mapping.
type Held struct{ views Views }

// Use calls fn with the views. An error says that they could not be read: the file was cut by somebody else, or the disk fails. fn did not return then.
func (h *Held) Use(fn func(Views)) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer onFault(func() { err = &CorruptError{File: h.views.segment.name, Reason: reasonCut} })
	fn(h.views)
	return nil
}

// Size is that of the views, in bytes.
func (h *Held) Size() int { return h.views.Size }

// Release lets go of the views.
func (h *Held) Release() { h.views.segment.unpin() }

// found is where a read begins: run number n of a list of runs that lie in one segment. The runs before the list's length never
// change, so it is used without a lock.
type found struct {
	queue    uint32
	runs     runs
	n        int
	end      int64 // the readable end of the queue
	floor    int64 // log positions below it may have to come from disk
	segments []*segment
	inMemory *memIndex // what the list is of, pinned: this one or the next
	inFile   *segment
	segment  *segment // what is read, pinned

	at    int64     // log position that is being read
	size  int       // bytes gathered
	last  byte      // of them
	fault faultKind // what could not be read
	using bool      // the caller has what was gathered
}

// unpin lets go of what was found.
func (f *found) unpin() {
	if f.inMemory != nil {
		f.inMemory.unpin()
	}
	if f.inFile != nil {
		f.inFile.unpin()
	}
	if f.segment != nil {
		f.segment.unpin()
	}
	f.inMemory, f.inFile, f.segment = nil, nil, nil
}

// Gather finds the stored records from offset on, at most max bytes and at most limit, except that a first record larger than limit is given
// whole if max has room for it. The bytes are cut anywhere, and end with the segment. use gets them as views of the log, which are valid until it
// returns, or is through with Views.Hold. parts is memory for the views, the caller's, and comes back to be used again.
//
// offset math.MaxInt64 asks for the end and always gets a *MovedError. Other errors: *MovedError for an offset before the minimum, in
// a gap or inside a record; ErrEnd; ErrCold if hot is set and the bytes may have to come from disk; *CorruptError. With hot unset it may block.
// After an error use was not called, or did not return because the bytes could not be read: the file was cut by somebody else, or the disk fails.
func (q *Queue) Gather(parts [][]byte, offset int64, max, limit int, hot bool, use func(Views)) (kept [][]byte, err error) {
	for {
		if kept, err = q.gather(parts, offset, max, limit, hot, use); !errors.Is(err, errRewritten) {
			return kept, err
		}
	}
}

func (q *Queue) gather(parts [][]byte, offset int64, max, limit int, hot bool, use func(Views)) (kept [][]byte, err error) {
	var f found
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	kept, err = f.read(q, parts, offset, max, limit, hot, use)
	if err != nil && f.fault == faultIndex && !hot { // the index is made again now
		f = found{}
		kept, err = f.read(q, kept, offset, max, limit, hot, use)
	}
	if err != nil && f.fault == faultLog && f.size > 0 && !hot { // what is sound before it comes first
		sound := f.size
		f = found{}
		kept, err = f.read(q, kept, offset, sound, sound, hot, use)
	}
	if hot && f.fault != noFault && !f.using {
		return kept, ErrCold // who may block finds out what is left
	}
	return kept, err
}

// read is Gather, once. The caller has set debug.SetPanicOnFault.
func (f *found) read(q *Queue, parts [][]byte, offset int64, max, limit int, hot bool, use func(Views)) (kept [][]byte, err error) {
	kept = parts
	defer f.unpin()
	defer f.catchFault(q.store, &err)
	if err := q.find(f, offset, hot); err != nil {
		return kept, err
	}
	if kept, err = f.gather(q, parts[:0], offset, max, limit, hot); err != nil {
		return kept, q.gone(offset, err)
	}
	q.store.answered.Add(int64(f.size))
	f.using = true
	use(Views{kept, f.size, f.segment})
	f.using = false
	clear(kept)
	return kept, nil
}

// Read appends to dst what Gather finds. dst belongs to the caller.
func (q *Queue) Read(dst []byte, offset int64, max, limit int, hot bool) (out []byte, err error) {
	out = dst
	_, err = q.Gather(nil, offset, max, limit, hot, func(v Views) {
		for _, p := range v.Parts {
			out = append(out, p...)
		}
	})
	if err != nil {
		return dst, err
	}
	return out, nil
}

// What a read found that could not be read at all.
type faultKind int

const (
	noFault faultKind = iota
	faultIndex
	faultLog
)

const reasonCut = "the file cannot be read: it was cut, or the disk fails"

// catchFault turns a fault on a mapping (the file was cut by somebody else, or the disk fails) into an error.
func (f *found) catchFault(s *Store, err *error) {
	r := recover()
	if r == nil {
		return
	}
	fault, ok := r.(interface{ Addr() uintptr })
	if !ok {
		panic(r)
	}
	if x := f.runs.file; x != nil && x.holds(fault.Addr()) {
		f.fault, *err = faultIndex, x.unreadable()
		return
	}
	f.fault, *err = faultLog, s.corruptAt(f.at, reasonCut)
}

func (s *Store) corruptAt(pos int64, reason string) error {
	name, offset := s.path("log"), pos
	if g := findSegment(s.segmentList(), pos); g != nil {
		name, offset = g.name, pos-g.base
	}
	return &CorruptError{File: name, Offset: offset, Reason: reason}
}

func (s *Store) segmentList() []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.segments
}

// find looks an offset up, in memory if it can, else in the index files. f is empty, and has to be unpinned whatever comes of it. It may fault.
func (q *Queue) find(f *found, offset int64, hot bool) error {
	s := q.store
	s.mu.Lock()
	if err := q.boundsLocked(offset); err != nil {
		s.mu.Unlock()
		return err
	}
	f.queue, f.end, f.floor, f.segments, f.n = q.id, q.readable, max(s.appended-s.options.HotBytes, s.verified), s.segments, -1
	if s.failed != nil {
		f.floor = s.appended // what has failed may not have spared what is there: nothing goes out unverified
	}
	for i := len(f.segments) - 1; i >= 0 && f.segments[i].runs != nil && f.n < 0; i-- {
		if f.runs = (runs{mem: f.segments[i].runs.of(q.id)}); f.runs.len() > 0 {
			f.n = f.runs.find(offset)
		}
		if f.n >= 0 {
			f.inMemory = f.segments[i].runs
			f.inMemory.pins.Add(1)
		}
	}
	s.mu.Unlock()
	if f.n < 0 {
		if err := q.findSealed(f, offset, hot); err != nil {
			return q.gone(offset, err)
		}
	}
	if e := f.runs.at(f.n); offset >= e.logical+int64(e.bytes) {
		return q.gap(f, offset, hot)
	}
	return nil
}

func (q *Queue) boundsLocked(offset int64) error {
	switch {
	case offset == math.MaxInt64:
		return &MovedError{q.readable}
	case offset < q.min:
		return &MovedError{q.min}
	case offset >= q.readable:
		return ErrEnd
	}
	return nil
}

// gap answers an offset behind a run, where no other begins. After a power cut a queue goes on further up, in a new virtual segment:
// that is where the reader goes on. If the next run comes before such a start, or nothing does, then something is missing.
func (q *Queue) gap(f *found, offset int64, hot bool) error {
	if hot {
		return ErrCold // to look at what comes next
	}
	next, err := q.nextRun(f, offset)
	if err != nil {
		return err
	}
	q.store.mu.Lock()
	defer q.store.mu.Unlock()
	if err := q.boundsLocked(offset); err != nil {
		return err
	}
	if i := q.startIndex(offset) + 1; i < len(q.starts) && q.starts[i].offset <= next {
		return &MovedError{q.starts[i].offset}
	}
	return q.lost(offset)
}

// nextRun is the offset of the first run behind an offset, math.MaxInt64 if there is none.
func (q *Queue) nextRun(f *found, offset int64) (int64, error) {
	q.store.mu.Lock()
	next := int64(math.MaxInt64)
	segments := q.store.segments
	for i := len(segments) - 1; i >= 0 && segments[i].runs != nil; i-- {
		r := runs{mem: segments[i].runs.of(q.id)}
		if n := r.find(offset) + 1; n < r.len() {
			next = r.at(n).logical
		}
	}
	q.store.mu.Unlock()
	for _, g := range segments {
		first := int64(math.MaxInt64)
		err := q.sealedRuns(g, false, func(r *runs) {
			if n := r.find(offset) + 1; n < r.len() {
				first = r.at(n).logical
			}
		})
		if errors.Is(err, errRemoved) {
			continue
		}
		if err != nil {
			return 0, err
		}
		g.unpin()
		if first < math.MaxInt64 {
			return min(next, first), nil
		}
	}
	return next, nil
}

func (q *Queue) lost(offset int64) error {
	return &CorruptError{File: q.store.path("log"), Reason: fmt.Sprintf("no index holds offset %d of %s-%d", offset, q.topic, q.partition)}
}

// emptySegment answers an offset in a virtual segment that holds no record: what a power cut took was all there was.
func (q *Queue) emptySegment(offset int64) error {
	q.store.mu.Lock()
	defer q.store.mu.Unlock()
	if i := q.startIndex(offset); i+1 < len(q.starts) && q.starts[i].messages == q.starts[i+1].messages {
		return &MovedError{q.starts[i+1].offset}
	}
	return nil
}

// findSealed looks an offset up in the index files: a binary search over the segments, stepping over those without the queue.
func (q *Queue) findSealed(f *found, offset int64, hot bool) error {
	lo, hi := 0, len(f.segments) // the last segment whose first run is not behind the offset is before hi
	if hot {
		// On an event loop only what is near the end may be looked at: pages of older index files may have to come from disk.
		lo = sort.Search(len(f.segments), func(i int) bool { return f.segments[i].base >= f.floor })
	}
	for lo < hi {
		mid := (lo + hi) / 2
		var r runs
		n, first := -1, int64(0)
		look := func(have *runs) {
			if r = *have; r.len() > 0 {
				n, first = r.find(offset), r.at(0).logical
			}
		}
		probe := mid
		for ; probe < hi; probe++ {
			err := q.sealedRuns(f.segments[probe], hot, look)
			if err != nil && errors.Is(err, errRemoved) {
				continue
			}
			if err != nil {
				return err
			}
			if r.len() > 0 {
				break
			}
			f.segments[probe].unpin()
		}
		switch {
		case r.len() == 0:
			hi = mid
		case first <= offset:
			f.unpin()
			f.runs, f.n, f.inFile = r, n, f.segments[probe]
			lo = probe + 1
		default:
			f.segments[probe].unpin()
			hi = mid
		}
	}
	switch {
	case f.n >= 0:
		return nil
	case hot:
		return ErrCold
	}
	if err := q.emptySegment(offset); err != nil {
		return err
	}
	return q.lost(offset)
}

// sealedRuns has look see the runs of the queue in a sealed segment, which is pinned then: without an error it has to be unpinned. A damaged
// index is made again, but not on an event loop; look then sees the runs of both. A segment that is not sealed has none and is pinned all the same.
func (q *Queue) sealedRuns(g *segment, hot bool, look func(*runs)) (err error) {
	if err := q.store.pin(g, hot); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			g.unpin()
		}
	}()
	q.store.mu.Lock()
	index := g.index
	q.store.mu.Unlock()
	if index == nil {
		look(&runs{})
		return nil
	}
	if err = index.look(q.id, look); err == nil {
		return nil
	}
	if hot {
		return ErrCold
	}
	if index, err = q.store.healIndex(g, index); err != nil {
		return err
	}
	return index.look(q.id, look)
}

// gather appends the views of an answer, of f.size bytes. They lie in one segment, which stays pinned. It may fault, and then f.size bytes from
// the offset on are sound.
func (f *found) gather(q *Queue, parts [][]byte, offset int64, max, limit int, hot bool) (_ [][]byte, err error) {
	s, budget := q.store, min(max, limit)
	for i := f.n; i < f.runs.len() && f.size < budget; i++ {
		e := f.runs.at(i)
		if e.logical >= f.end || (i > f.n && e.logical != offset) {
			break
		}
		if i == f.n {
			if hot && e.pos < f.floor {
				return parts, ErrCold
			}
			if err := f.pinSegment(s, e.pos, hot); err != nil {
				return parts, err
			}
			if hot && !f.segment.seemsUncut() {
				return parts, ErrCold
			}
			if !hot && f.segment.mapping != nil {
				q.bring(f, int64(min(budget, maxAdvise)))
			}
		} else if hot && e.pos < f.floor || e.pos < f.segment.base || e.pos >= f.segment.limit {
			break
		}
		f.at = e.pos
		if reason := f.segment.checkRun(f.queue, e, !hot); reason != "" {
			if i > f.n {
				break // what is sound before it comes first
			}
			return parts, s.corruptAt(e.pos-frameHeader, reason)
		}
		run := f.segment.bytes(e.pos)[:e.bytes]
		if i == f.n {
			skip, first, err := recordAt(run, e.logical, offset)
			if err != nil {
				return parts, err
			}
			run = run[skip:]
			if first > int64(budget) && first <= int64(max) {
				budget = int(first)
			}
		}
		run = run[:min(len(run), budget-f.size)]
		if len(run) > 0 {
			f.last = run[len(run)-1] // a file that was cut lacks its end: it faults here, and not when a part of the answer is sent
		}
		parts, f.size = append(parts, run), f.size+len(run)
		offset = e.logical + int64(e.bytes)
	}
	return parts, nil
}

// pinSegment pins the segment that holds a log position.
func (f *found) pinSegment(s *Store, pos int64, hot bool) error {
	seg := findSegment(f.segments, pos)
	if seg == nil {
		return s.corruptAt(pos-frameHeader, "the segment is missing, or ends before it")
	}
	if err := s.pin(seg, hot); err != nil {
		return err
	}
	f.segment = seg
	if f.inMemory != nil && seg.clustered {
		return errRewritten
	}
	return nil
}

// maxAdvise bounds what one cold read brings into memory for its answer, in bytes.
const maxAdvise = 4 << 20

// recordAt finds the record that begins at offset in a run that begins at logical, and its size. An offset inside a record is moved to its start.
func recordAt(run []byte, logical, offset int64) (skip, size int64, err error) {
	for logical+skip < offset {
		if skip >= int64(len(run)) { // an index that has rotted since it was checked
			return 0, 0, &CorruptError{File: "an index of the log", Reason: fmt.Sprintf("it means another run for offset %d", offset)}
		}
		size = recordSize(run[skip:])
		if logical+skip+size > offset {
			return 0, 0, &MovedError{logical + skip}
		}
		skip += size
	}
	return skip, recordSize(run[skip:]), nil
}

// SeekTime is the offset of the first record that was appended at or after a time, in unix milliseconds; the readable end if there is none.
// It may block.
func (q *Queue) SeekTime(unixMillis int64) (int64, error) {
	s := q.store
	s.mu.Lock()
	lo, end, list := q.min, q.readable, s.segments
	best := int64(-1)
	for i := len(list) - 1; i >= 0 && list[i].runs != nil; i-- {
		r := runs{mem: list[i].runs.of(q.id)}
		if k := r.findTime(unixMillis); k < r.len() {
			best = r.at(k).logical
		}
		if r.len() > 0 && r.at(0).time < unixMillis {
			list = nil // what is older lies before that time
			break
		}
	}
	s.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		over := false
		err := q.sealedRuns(list[i], false, func(r *runs) {
			if over = false; r.len() == 0 {
				return
			}
			if k := r.findTime(unixMillis); k < r.len() {
				best = r.at(k).logical
			}
			first := r.at(0)
			over = first.time < unixMillis || first.logical <= lo
		})
		if errors.Is(err, errRemoved) {
			continue
		}
		if err != nil {
			return 0, err
		}
		list[i].unpin()
		if over {
			break
		}
	}
	if best < 0 {
		return end, nil
	}
	return max(lo, min(best, end)), nil
}
