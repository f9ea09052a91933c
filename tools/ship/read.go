//go:build linux

package ship

import (
	"errors"
	"io"
	"sync"
	"time"
)

const (
	blockBytes    = 256 << 10
	blockMessages = 4096
	// maxBlocks and maxHeld bound what is on its way of one stream. It is what is sent again after a kill.
	maxBlocks = 128
	// lineCost is what a line takes in memory besides its bytes while it is on its way.
	lineCost = 384
	maxHeld  = 16 << 20
)

// result is what came of the turn of a stream.
type result int

const (
	shipped result = iota
	nothing        // there was nothing after all
	noRoom         // there is no memory left for it
)

// buffers are those of full blocks.
var buffers = sync.Pool{New: func() any { b := make([]byte, blockBytes); return &b }}

func recycle(b *block) {
	if cap(b.buf) == blockBytes {
		buf := b.buf[:blockBytes]
		buffers.Put(&buf)
	}
	b.buf, b.bodies = nil, nil
}

// ship reads the next block of a file and hands it over.
func (f *follower) ship(s *stream, fl *file) result {
	want := blockBytes
	if !fl.packed {
		want = int(min(int64(want), fl.size-fl.next))
	}
	want = max(want, fl.atLeast)
	cost := int64(want)
	if f.input.charset.text != nil {
		cost *= 3 // the bytes, and what they become
	}
	if !f.agent.budget.take(cost, s.held) {
		f.agent.budget.await(f)
		return noRoom
	}
	b := f.read(fl, want)
	if b == nil {
		f.agent.budget.give(cost)
		return nothing
	}
	extra := int64(b.lines) * lineCost
	f.agent.budget.add(extra)
	b.cost = cost + extra
	f.flying++
	s.blocks++
	s.held += b.cost
	fl.blocks = append(fl.blocks, b)
	b.left.Store(int32(b.lines))
	if b.lines == 0 { // all of it belongs to a line that was cut
		f.arrived(b)
		return shipped
	}
	f.blocks <- b
	return shipped
}

// arrived takes a block of which every line is answered. It may be called from everywhere.
func (f *follower) arrived(b *block) {
	f.mu.Lock()
	f.landed = append(f.landed, b)
	f.mu.Unlock()
	f.signal()
}

// read makes a block of what comes next in a file, nil if there is no whole line.
func (f *follower) read(fl *file, want int) *block {
	b := &block{file: fl, from: fl.next, before: fl.after}
	if want == blockBytes {
		b.buf = *buffers.Get().(*[]byte)
	} else {
		b.buf = make([]byte, want)
	}
	n, err := fl.src.ReadAt(b.buf, fl.next)
	atEnd := errors.Is(err, io.EOF)
	if err != nil && !atEnd {
		f.complain(fl.path, "a file cannot be read, it is tried again", err)
		fl.err = err
		fl.close()
		recycle(b)
		return nil
	}
	if fl.packed {
		fl.size = max(fl.size, fl.next+int64(n))
		fl.ended = atEnd
	} else if same, err := f.sameHead(fl, fl.next+int64(n)); err != nil || !same {
		// What was read may be of other content: it counts only if the file still begins as it did.
		recycle(b)
		f.overwritten(fl)
		return nil
	}
	data := b.buf[:n]
	if skip := f.skipHole(fl, data); skip > 0 {
		fl.resetTo(fl.next+skip, fl.after)
		recycle(b)
		f.enqueue(fl.stream)
		return nil
	}
	charset, err := f.input.charset.of(fl.src)
	if err != nil {
		fl.looked = fl.next + int64(n) // it is shorter than it was
		recycle(b)
		return nil
	}
	l := limits{messages: blockMessages, events: fl.flush || fl.final, final: fl.final && atEndOf(fl, n)}
	l.events = l.events && atEndOf(fl, n)
	if f.input.Order == OrderStrict || fl.next < fl.alone {
		l.messages = 1
	}
	c := cutter{charset: charset, input: f.input, max: f.input.MaxLine}
	p := c.cut(data, fl.after, l)
	if p.used == 0 {
		fl.pending = p.pending
		if n == want && !atEndOf(fl, n) { // a long line
			fl.atLeast = 2 * want
			recycle(b)
			f.enqueue(fl.stream)
			return nil
		}
		fl.looked, fl.flush, fl.final = fl.next+int64(n), false, false
		recycle(b)
		return nil
	}
	b.bodies, b.lines, b.after, b.to = p.bodies, len(p.bodies), p.after, fl.next+int64(p.used)
	b.cut, b.dropped = p.cut, p.dropped
	b.tail = markOf(data[max(0, p.used-markBytes):p.used])
	fl.next, fl.after, fl.looked, fl.atLeast, fl.pending = b.to, p.after, 0, 0, false
	return b
}

// atEndOf says whether a read of n bytes has come to the end of a file.
func atEndOf(fl *file, n int) bool {
	if fl.packed {
		return fl.ended && fl.next+int64(n) >= fl.size
	}
	return fl.next+int64(n) >= fl.size
}

// sameHead says whether a file still begins as it did, as far as its first so many bytes are known. It learns more of them as the file grows.
func (f *follower) sameHead(fl *file, size int64) (bool, error) {
	b := make([]byte, min(markBytes, max(size, int64(fl.head.Bytes))))
	n, err := fl.src.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if n < fl.head.Bytes || markOf(b[:fl.head.Bytes]) != fl.head {
		return false, nil
	}
	if n > fl.head.Bytes {
		fl.head = markOf(b[:n])
		f.changes++
	}
	return true, nil
}

// skipHole tells how many zeros data begin with at the beginning of a file that was truncated while it was being written: whoever writes on at the old place leaves a
// hole. Of a text in UTF-16 it tells whole units.
func (f *follower) skipHole(fl *file, data []byte) int64 {
	if fl.after != whole || fl.packed {
		return 0
	}
	n := 0
	for n < len(data) && data[n] == 0 {
		n++
	}
	n -= n % f.input.charset.width
	if n < leastHole {
		return 0
	}
	f.counts.holes.Add(int64(n))
	return int64(n)
}

// leastHole is from how many zeros on the beginning of a line is taken for a hole.
const leastHole = 16

// poll looks at the open files.
func (f *follower) poll(now time.Time) {
	f.openCrowded()
	for _, s := range f.streams {
		for i := 0; i < len(s.files); i++ {
			fl := s.files[i]
			if fl.src == nil {
				continue
			}
			f.pollFile(s, fl, i == len(s.files)-1, now)
			if i < len(s.files) && s.files[i] != fl {
				i-- // it is not there any more
			}
		}
		if !s.failed && s.current() != nil {
			f.enqueue(s)
		}
	}
	f.loseOrphans(now)
}

func (f *follower) pollFile(s *stream, fl *file, last bool, now time.Time) {
	if !fl.packed {
		l, err := fl.src.look()
		if err != nil {
			f.complain(fl.path, "a file cannot be looked at, it is tried again", err)
			fl.err = err
			fl.close()
			return
		}
		if l.size < fl.next {
			f.overwritten(fl)
			return
		}
		// What has grown is compared when it is read.
		if l.size == fl.size && !l.modified.Equal(fl.polled) && !fl.polled.IsZero() {
			if same, err := f.sameHead(fl, l.size); err == nil && !same {
				f.overwritten(fl)
				return
			}
		}
		if l.size != fl.size {
			fl.size, fl.changed = l.size, now
		}
		fl.modified, fl.polled = l.modified, l.modified
	}
	quiet := now.Sub(fl.changed)
	left := fl.gone || !fl.live // by whoever writes, as far as can be seen
	if f.agent.config.Once {
		fl.flush, fl.final = true, true
	}
	if fl.pending && (quiet >= f.input.EventWait || !last && s.files[len(s.files)-1].size > 0) {
		fl.flush = true
	}
	if left && quiet >= f.input.RotateWait {
		fl.flush, fl.final = true, true
		if fl.done() {
			if fl.gone {
				f.remember(fl)
				f.forget(fl)
				return
			}
			fl.close() // it is opened again when it grows
		}
	}
}
