package client

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A store of messages whose handler failed is a directory as spill.go draws it, with another magic, and with a queue for each partition. The flag of a frame says what its data is:
//
//	0  a message. One with the same offset and id takes the place of an earlier one: it was tried again.
//	     8       8     8   8 (ms)  4      4
//	    offset | next | id | since | tries | length of attribute | attribute | body
//	1  a message is gone, it was handled or rejected.
//	     8        8
//	    offset | id
//
// Every failed try appends the message once more, so that the oldest frame is never older than the longest pause between two tries, and files are removed. A
// message that is gone may be handled again after a power cut: that is not flushed.
const (
	flagFailed     = 0
	flagGone       = 1
	failedHeader   = 8 + 8 + 8 + 8 + 4 + 4
	goneFrameBytes = frameHeader + 8 + 8
)

// ErrRecoveryFull is wrapped when a message whose handler fails cannot be stored because as much is stored as may be (Recovery.MaxBytes).
var ErrRecoveryFull = errors.New("metaq: too much is stored of messages whose handler fails")

// failedMessage is one that is stored.
type failedMessage struct {
	Received // without Body, unless it was loaded
	since    time.Time
	tries    int
	due      time.Time

	queue *failedQueue
	frame *failedFrame // its newest
	index int          // in failedStore.waiting; -1 if it is being tried
}

type failedKey struct{ offset, id int64 }

// failedFrame is a frame that lies in a file.
type failedFrame struct {
	segment *segment
	at      int64
	size    int64
	message *failedMessage // which has this frame as its newest; nil if the frame means nothing any more
}

// failedQueue is what is stored of one partition.
type failedQueue struct {
	place    spillPlace
	spill    *spill
	frames   []*failedFrame // in the order of the files
	messages map[failedKey]*failedMessage
}

// failedStore keeps messages until they are handled. Its methods may be called from several goroutines.
type failedStore struct {
	added chan struct{} // room for one: a message was added

	mu      sync.Mutex
	dir     *spillDir // nil: closed
	queues  map[spillPlace]*failedQueue
	waiting failedHeap
	count   int
}

func openFailedStore(dir string, maxBytes int64) (*failedStore, error) {
	d, found, err := openSpillDir(dir, failedMagic, maxBytes)
	if err != nil {
		return nil, err
	}
	s := &failedStore{added: make(chan struct{}, 1), dir: d, queues: map[spillPlace]*failedQueue{}}
	for at, sp := range found {
		q := s.newQueue(at, sp)
		if err := q.load(); err != nil {
			return nil, errors.Join(fmt.Errorf("metaq: recovery: %w", err), s.close())
		}
		for _, m := range q.messages {
			s.count++
			heap.Push(&s.waiting, m)
		}
		q.settle()
	}
	return s, nil
}

func (s *failedStore) newQueue(at spillPlace, sp *spill) *failedQueue {
	q := &failedQueue{place: at, spill: sp, messages: map[failedKey]*failedMessage{}}
	s.queues[at] = q
	return q
}

// load reads what the files of a partition say.
func (q *failedQueue) load() error {
	for _, g := range q.spill.segments {
		for at := g.sent; at < g.size; {
			flag, data, n, err := g.read(at, g.size)
			if err != nil {
				return fmt.Errorf("%s: %w", g.file.Name(), err)
			}
			f := &failedFrame{segment: g, at: at, size: n}
			q.frames = append(q.frames, f)
			switch {
			case flag == flagFailed:
				m, err := decodeFailed(q.place, data)
				if err != nil {
					return fmt.Errorf("%s: at byte %d: %w", g.file.Name(), at, err)
				}
				m.Body, m.index = nil, -1
				q.take(&m, f)
			case flag == flagGone && len(data) == goneFrameBytes-frameHeader:
				q.forget(failedKey{int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint64(data[8:]))})
			default:
				return fmt.Errorf("%s: at byte %d: a frame of kind %d with %d bytes", g.file.Name(), at, flag, len(data))
			}
			at += n
		}
	}
	return nil
}

// take notes the newest frame of a message.
func (q *failedQueue) take(m *failedMessage, f *failedFrame) {
	key := failedKey{m.Offset, m.ID}
	q.forget(key)
	m.queue, m.frame, f.message = q, f, m
	q.messages[key] = m
}

func (q *failedQueue) forget(key failedKey) {
	if m := q.messages[key]; m != nil {
		m.frame.message = nil
		delete(q.messages, key)
	}
}

// settle removes the oldest frames that mean nothing any more. A frame that says that a message is gone means nothing when the frames before it are removed.
func (q *failedQueue) settle() {
	n := 0
	for n < len(q.frames) && q.frames[n].message == nil {
		q.spill.advance(int(q.frames[n].size - frameHeader))
		n++
	}
	q.frames = q.frames[n:]
}

// write appends a frame and flushes it, unless it says that a message is gone.
func (q *failedQueue) write(flag int32, data []byte) (*failedFrame, error) {
	frame := appendFrame(nil, flag, data)
	g, at, err := q.spill.write(frame, flag != flagGone)
	if err != nil {
		return nil, err
	}
	q.spill.dir.used.Add(int64(len(frame)))
	f := &failedFrame{segment: g, at: at, size: int64(len(frame))}
	q.frames = append(q.frames, f)
	return f, nil
}

// add keeps a message. It is on disk when this returns without an error. One that is there already stays as it is.
func (s *failedStore) add(m failedMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == nil {
		return ErrClosed
	}
	at := m.spillPlace()
	q := s.queues[at]
	if q == nil {
		q = s.newQueue(at, s.dir.newSpill(at))
	}
	if q.messages[failedKey{m.Offset, m.ID}] != nil {
		return nil
	}
	data := m.encode()
	if used := s.dir.used.Load(); used+int64(frameHeader+len(data)) > s.dir.max {
		return fmt.Errorf("%w: %d bytes in %s, the limit is %d", ErrRecoveryFull, used, s.dir.dir, s.dir.max)
	}
	f, err := q.write(flagFailed, data)
	if err != nil {
		return fmt.Errorf("metaq: recovery %s: %w", q.spill.name, err)
	}
	m.Body = nil
	q.take(&m, f)
	s.count++
	heap.Push(&s.waiting, &m)
	select {
	case s.added <- struct{}{}:
	default:
	}
	return nil
}

// has says whether a message is stored.
func (s *failedStore) has(m Received) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[m.spillPlace()]
	return q != nil && q.messages[failedKey{m.Offset, m.ID}] != nil
}

// next takes a message that is due, or tells how long it is until one is: 0 if none waits. Then added tells of more.
func (s *failedStore) next() (m *failedMessage, wait time.Duration, added <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == nil || len(s.waiting) == 0 {
		return nil, 0, s.added
	}
	if wait = time.Until(s.waiting[0].due); wait > 0 {
		return nil, wait, s.added
	}
	return heap.Pop(&s.waiting).(*failedMessage), 0, s.added
}

// load reads the body of a message.
func (s *failedStore) load(m *failedMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == nil {
		return ErrClosed
	}
	_, data, _, err := m.frame.segment.read(m.frame.at, m.frame.segment.size)
	if err != nil {
		return fmt.Errorf("%s: %w", m.frame.segment.file.Name(), err)
	}
	read, err := decodeFailed(m.queue.place, data)
	m.Body = read.Body
	return err
}

// later lets a message that was taken wait again, as if nothing had been tried.
func (s *failedStore) later(m *failedMessage, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitLocked(m, pause)
}

func (s *failedStore) waitLocked(m *failedMessage, pause time.Duration) {
	m.Body = nil
	m.due = time.Now().Add(pause)
	heap.Push(&s.waiting, m)
}

// again keeps how often a message was tried, and lets it wait. If that cannot be kept it is forgotten with the process, and the message is not.
func (s *failedStore) again(m *failedMessage, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.waitLocked(m, pause)
	if s.dir == nil {
		return
	}
	data, q := m.encode(), m.queue
	// The oldest one makes as much room as it takes.
	if m.frame != q.frames[0] && s.dir.used.Load()+int64(frameHeader+len(data)) > s.dir.max {
		return
	}
	if f, err := q.write(flagFailed, data); err == nil {
		q.take(m, f)
		q.settle()
	}
}

// done removes a message.
func (s *failedStore) done(m *failedMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	q := m.queue
	q.forget(failedKey{m.Offset, m.ID})
	if s.dir == nil {
		return
	}
	if m.frame != q.frames[0] {
		// An error costs no more than that the message is handled again after a restart.
		_, _ = q.write(flagGone, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(m.Offset)), uint64(m.ID)))
	}
	q.settle()
}

func (s *failedStore) size() (messages int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == nil {
		return s.count, 0
	}
	return s.count, s.dir.used.Load()
}

// close lets go of the directory. What is done with messages that are being tried is not noted any more: they are tried again by the next consumer.
func (s *failedStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == nil {
		return nil
	}
	for _, q := range s.queues {
		q.spill.close()
	}
	d := s.dir
	s.dir = nil
	return d.lock.Close()
}

func (m Received) spillPlace() spillPlace {
	p := m.place()
	return spillPlace{p.Topic, p.Partition}
}

func (m *failedMessage) encode() []byte {
	b := make([]byte, 0, failedHeader+len(m.Attribute)+len(m.Body))
	for _, v := range []int64{m.Offset, m.Next, m.ID, m.since.UnixMilli()} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(m.tries))
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Attribute)))
	b = append(b, m.Attribute...)
	return append(b, m.Body...)
}

func decodeFailed(at spillPlace, b []byte) (m failedMessage, err error) {
	if len(b) < failedHeader || int64(len(b)-failedHeader) < int64(binary.BigEndian.Uint32(b[failedHeader-4:])) {
		return m, fmt.Errorf("%d bytes are no stored message", len(b))
	}
	number := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	m.Topic, m.Broker, m.Partition = string(at.topic), at.partition.Broker, at.partition.Number
	m.Offset, m.Next, m.ID, m.since = number(0), number(1), number(2), time.UnixMilli(number(3))
	m.tries = int(binary.BigEndian.Uint32(b[32:]))
	attribute := failedHeader + int(binary.BigEndian.Uint32(b[36:]))
	m.Attribute, m.Body = string(b[failedHeader:attribute]), b[attribute:]
	return m, nil
}

// failedHeap has the message first that is due first.
type failedHeap []*failedMessage

func (h failedHeap) Len() int           { return len(h) }
func (h failedHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h failedHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *failedHeap) Push(x any)        { *h = append(*h, x.(*failedMessage)) }

func (h *failedHeap) Pop() any {
	old := *h
	last := len(old) - 1
	m := old[last]
	old[last], *h = nil, old[:last]
	return m
}
