package store

import (
	"fmt"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/fault"
)

// Batch collects messages that are appended together. It is reused and keeps its memory; one goroutine at a time.
type Batch struct {
	buf      []byte // frames with room for their headers, each but the last padded
	frames   []batchFrame
	receipts []receipt
}

type batchFrame struct {
	queue *Queue
	from  int // where the frame begins in buf
	size  int // header and body
	count int
	first int // its first receipt
	entry entry
	waits bool // acknowledged only by a flush
}

type receipt struct {
	id, offset int64
	at         int // where the record begins in buf
}

// Reset empties the batch.
func (b *Batch) Reset() {
	clear(b.frames)
	b.buf, b.frames, b.receipts = b.buf[:0], b.frames[:0], b.receipts[:0]
}

// Len is the number of messages in it.
func (b *Batch) Len() int { return len(b.receipts) }

// Size is what it takes in the log, in bytes.
func (b *Batch) Size() int { return len(b.buf) }

// Receipt is the id and the logical offset of message i, once Append has taken the batch.
func (b *Batch) Receipt(i int) (id, offset int64) { return b.receipts[i].id, b.receipts[i].offset }

// Add copies a message into the batch. data includes the attribute, if flag says that there is one.
func (b *Batch) Add(q *Queue, flag int32, data []byte) {
	n := len(b.frames)
	if n == 0 || b.frames[n-1].queue != q || b.frames[n-1].count == maxRunCount ||
		b.frames[n-1].size+protocol.RecordHeader+len(data) > maxRunBytes {
		b.begin(q)
		n = len(b.frames)
	}
	f := &b.frames[n-1]
	b.receipts = append(b.receipts, receipt{at: len(b.buf)})
	b.buf = protocol.AppendMessage(b.buf, 0, flag, data)
	f.size = len(b.buf) - f.from
	f.count++
}

var zeros [frameHeader]byte

func (b *Batch) begin(q *Queue) {
	b.pad()
	b.frames = append(b.frames, batchFrame{queue: q, from: len(b.buf), size: frameHeader, first: len(b.receipts)})
	b.buf = append(b.buf, zeros[:]...)
}

func (b *Batch) pad() { b.buf = append(b.buf, zeros[:int(align(int64(len(b.buf))))-len(b.buf)]...) }

// Append stores the whole batch, or nothing of it: one lock, one write (two if a segment ends in it). When it returns, the messages
// have their ids and offsets and killing the process cannot lose them; they count as acknowledged when Acked(ack) says so.
// An error wraps ErrFull, ErrNoSegment, ErrPoisoned, ErrTooLarge, ErrReadOnly or ErrClosed, or it is a *BusyError.
func (s *Store) Append(b *Batch) (ack Position, err error) {
	if len(b.frames) == 0 {
		return 0, nil
	}
	b.pad()
	for i := range b.frames {
		if int64(b.frames[i].size) > s.options.LogSegmentSize {
			return 0, ErrTooLarge
		}
	}
	if err := s.refuseWhileStuck(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	at, err := s.writeBatchLocked(b, kindMessage, 0)
	if err != nil {
		s.mu.Unlock()
		return 0, err
	}
	var fire []*watcher
	for i := range b.frames {
		f := &b.frames[i]
		q := f.queue
		if f.entry.pos > s.open.base {
			s.snapshotLocked() // everything before the new segment is applied
		}
		q.addRunLocked(s.segmentLocked(f.entry.pos), f.entry, b.records(f))
		end := f.entry.pos + int64(f.entry.bytes)
		s.messages += int64(f.count)
		if f.waits = s.mustWaitLocked(q, end, f.count); f.waits {
			s.unsafe = append(s.unsafe, unsafeRun{queue: q, pos: end, end: q.end})
			ack = Position(at)
		} else {
			fire = q.publishLocked(q.end, fire)
		}
	}
	s.snapshotLocked()
	fault.Point("append.applied")
	s.mu.Unlock()
	for _, w := range fire {
		w.fn()
	}
	return ack, nil
}

func (b *Batch) records(f *batchFrame) []byte { return b.buf[f.from+frameHeader : f.from+f.size] }

// writeBatchLocked draws ids and offsets, seals the frames and writes them. The queues are unchanged when it fails.
// It returns the log position behind the batch. Hidden runs get no offsets; group is theirs.
func (s *Store) writeBatchLocked(b *Batch, k kind, group int64) (int64, error) {
	if err := s.writableLocked(); err != nil {
		return 0, err
	}
	if full := s.diskFull.Load(); full != nil {
		return 0, full
	}
	if err := s.dodgeEmptyLocked(int64(b.frames[0].size), s.open.limit); err != nil {
		return 0, err
	}
	now := s.stampLocked()
	lag := saturate32(s.appended - s.flushed.Load())
	pos := s.appended
	limit := s.open.limit
	if s.open.runs.runs+len(b.frames) > maxRuns {
		limit = pos // as if it were full
	}
	var rolled *prepared
	split, splitPos := len(b.buf), int64(0) // what goes to the next segment, and the position where that begins
	for i := range b.frames {
		f := &b.frames[i]
		if pos+int64(f.size) > limit && rolled == nil {
			var err error
			if rolled, err = s.takePreparedLocked(); err != nil {
				s.unlayLocked(b)
				return 0, err
			}
			split, splitPos = f.from, pos
			limit = pos + rolled.size
		}
		if pos+int64(f.size) > limit {
			// The batch is larger than a segment and a half: it is the caller's duty to keep batches small, see MaxBatch.
			s.returnPreparedLocked(rolled)
			s.unlayLocked(b)
			return 0, ErrTooLarge
		}
		logical := group
		if k == kindMessage {
			logical = f.queue.next
			f.queue.next += int64(f.size - frameHeader)
		}
		offset := logical
		for j := f.first; j < f.first+f.count; j++ {
			r := &b.receipts[j]
			r.id, r.offset = s.ids.next(now), offset
			putID(b.buf[r.at:], r.id)
			offset += recordSize(b.buf[r.at:])
		}
		h := header{kind: k, count: uint16(f.count), epoch: s.epoch, queue: f.queue.id, lag: saturate32(int64(lag) + pos - s.appended), pos: pos, logical: logical, time: now}
		putHeader(b.buf[f.from:f.from+f.size], h, s.salt)
		f.entry = entry{logical: logical, pos: pos + frameHeader, time: now, bytes: uint32(f.size - frameHeader), count: uint32(f.count)}
		pos += align(int64(f.size))
	}
	fault.Point("append.laid_out")
	if err := s.writeLocked(b.buf[:split]); err != nil {
		s.unlayLocked(b)
		return 0, err
	}
	fault.Point("append.written")
	if rolled != nil {
		if err := s.rollLocked(rolled, splitPos); err != nil {
			s.unlayLocked(b)
			return 0, err
		}
		fault.Point("append.rolled")
		if err := s.writeLocked(b.buf[split:]); err != nil {
			s.unlayLocked(b)
			return 0, err
		}
	}
	return s.appended, nil
}

// unlayLocked takes back the offsets that were laid out for a batch that was not written.
func (s *Store) unlayLocked(b *Batch) {
	if fault.Mutant("keep_offsets_of_a_refused_batch") {
		return
	}
	for i := range b.frames {
		b.frames[i].queue.next = b.frames[i].queue.end
	}
}

// putID writes the message id into a stored record.
func putID(record []byte, id int64) {
	for i := range 8 {
		record[8+i] = byte(id >> (56 - 8*i))
	}
}

// writeLocked puts bytes at the end of the open segment. A failed write leaves unknown bytes there, so the log is poisoned.
func (s *Store) writeLocked(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	s.disk.write.begin()
	_, err := s.open.file.WriteAt(b, s.appended-s.open.base)
	s.disk.write.end()
	if err != nil && !fault.Mutant("ignore_write_error") {
		return uncertain(s.poisonLocked(fmt.Errorf("write %s: %w", s.open.name, err)))
	}
	s.appended += int64(len(b))
	s.open.end = s.appended
	return nil
}

// appendControl writes one frame that is not a message and applies it. done, if not nil, runs under the lock after the write.
func (s *Store) appendControl(k kind, queue uint32, logical int64, body []byte, done func(at int64)) (Position, error) {
	if err := s.refuseWhileStuck(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appendControlLocked(k, queue, logical, body, done)
}

func (s *Store) appendControlLocked(k kind, queue uint32, logical int64, body []byte, done func(at int64)) (Position, error) {
	if err := s.writableLocked(); err != nil {
		return 0, err
	}
	size := int64(frameHeader + len(body))
	if s.appended+size > s.open.limitFor(k) {
		if size > s.options.LogSegmentSize {
			return 0, ErrTooLarge
		}
		if err := s.dodgeEmptyLocked(size, s.open.limitFor(k)); err != nil {
			return 0, err
		}
		p, err := s.takePreparedLocked()
		if err != nil && k.usesReserve() {
			p, err = s.takeReserveLocked(size, err)
		}
		if err != nil {
			return 0, err
		}
		if err := s.rollLocked(p, s.appended); err != nil {
			return 0, err
		}
		s.snapshotLocked()
	}
	frame := make([]byte, size, align(size))
	copy(frame[frameHeader:], body)
	at := s.appended
	putHeader(frame, header{kind: k, epoch: s.epoch, queue: queue, lag: saturate32(at - s.flushed.Load()), pos: at, logical: logical, time: s.stampLocked()}, s.salt)
	if err := s.writeLocked(frame[:align(size)]); err != nil {
		return 0, err
	}
	fault.Point("control.written")
	if done != nil {
		done(at)
	}
	return Position(s.appended), nil
}

// dodgeEmptyLocked is for a frame that does not fit an empty segment: that of the reserve, in which a start may have begun, is shorter than a
// message may be. The next segment would get the same name, so a frame that changes nothing is written first.
func (s *Store) dodgeEmptyLocked(size, limit int64) error {
	if s.appended > s.open.base || s.appended+size <= limit {
		return nil
	}
	q := s.byID[0] // every frame that is large is of a queue
	_, err := s.appendControlLocked(kindTrim, q.id, q.min, nil, nil)
	return err
}
