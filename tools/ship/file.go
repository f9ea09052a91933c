//go:build linux

package ship

import (
	"slices"
	"sync/atomic"
	"time"
)

// file is one file of a stream, from when it is found until it is gone and everything in it is acknowledged. It belongs to its follower's goroutine.
//
//	0 ............ acked ............ next ............ size
//	   done with          on its way         to be read
type file struct {
	stream *stream
	id     identity
	path   string // where it was seen last
	packed bool
	live   bool // it is what the stream's path names
	gone   bool // it has no name any more
	src    source
	proven bool // that the bytes before acked are those that were read is known, of a file that a checkpoint tells of
	err    error

	head     mark
	size     int64 // unknown of a compressed file: grows with what is read, until ended
	ended    bool  // of a compressed file: size is known
	modified time.Time
	polled   time.Time // when it was modified, as of the last poll
	changed  time.Time // when its size was seen to change, or its name

	acked      int64
	ackedAfter cutting
	tail       mark // the bytes before acked
	places     []place
	next       int64
	after      cutting // of what follows next
	looked     int64   // there is no whole line between next and this
	pending    bool    // but there is an event that may be whole
	atLeast    int     // bytes that the next read has to have
	flush      bool    // what is pending is complete
	final      bool    // and nothing at all will come
	blocks     []*block
	alone      int64 // up to here lines are sent one at a time, to find the one that is refused

	messages int64 // acknowledged since the start
	bytes    int64
}

// unread says whether there may be something to send.
func (f *file) unread() bool {
	if f.src == nil {
		return false
	}
	if f.packed && !f.ended {
		return true
	}
	return f.size > max(f.next, f.looked) || (f.flush || f.final) && f.size > f.next
}

// drained says that everything was read that can be.
func (f *file) drained() bool {
	if f.packed {
		return f.ended && f.next >= f.size
	}
	return f.next >= f.size
}

// done says that everything is acknowledged as well.
func (f *file) done() bool { return f.drained() && len(f.blocks) == 0 }

// resetTo makes that a file is read from a position on.
func (f *file) resetTo(at int64, after cutting) {
	f.next, f.after = at, after
	f.looked, f.pending, f.atLeast, f.flush, f.final = 0, false, 0, false, false
	if f.packed {
		f.ended = false
	}
}

// close lets go of the open file.
func (f *file) close() {
	if f.src != nil {
		f.src.Close() // it was only read
		f.src = nil
		f.stream.follower.open--
	}
}

// block is a part of a file whose lines are on their way.
type block struct {
	file     *file
	from, to int64
	before   cutting
	after    cutting
	tail     mark
	cut      int   // lines that were too long
	dropped  int64 // bytes of these that are in no message
	bodies   [][]byte
	lines    int
	buf      []byte
	cost     int64 // in the budget

	sent    atomic.Int64          // when it was handed to the producer, since the start of the agent; 0 before
	left    atomic.Int32          // lines that are not answered
	failure atomic.Pointer[error] // of a line
	refused []byte                // the line, if it is the only one and has failed
	landed  bool                  // all are answered
}

// advance moves the position over what is acknowledged without a gap.
func (f *file) advance() (moved bool) {
	n := 0
	for n < len(f.blocks) && f.blocks[n].landed && f.blocks[n].failure.Load() == nil {
		b := f.blocks[n]
		f.acked, f.ackedAfter = b.to, b.after
		if b.tail.Bytes > 0 {
			f.tail = b.tail
			f.addPlace()
		}
		counts := &f.stream.follower.counts
		counts.cut.Add(int64(b.cut))
		counts.dropped.Add(b.dropped)
		f.messages += int64(b.lines)
		f.bytes += b.to - b.from
		n++
	}
	f.blocks = slices.Delete(f.blocks, 0, n)
	return n > 0
}

// A place is a position up to which a file was read, by which a copy is known that ends before the file did.
type place struct {
	at     int64
	before mark
}

// addPlace notes how far the file is read. Of the places before, so many go that the distances grow with how far back they are: a few of a large file are left.
func (f *file) addPlace() {
	if n := len(f.places); n > 0 && f.acked-f.places[n-1].at < markBytes {
		return
	}
	f.places = append(f.places, place{f.acked, f.tail})
	kept := f.places[:1]
	for i := 1; i < len(f.places)-1; i++ {
		if next := f.places[i+1].at; next-kept[len(kept)-1].at > f.acked-next {
			kept = append(kept, f.places[i])
		}
	}
	if n := len(f.places); n > 1 {
		kept = append(kept, f.places[n-1])
	}
	f.places = kept
}

// stream is what was written one after the other under one name: the file of that name and those that rotation made of it.
type stream struct {
	follower  *follower
	path      string
	attribute string
	files     []*file // in the order in which they were written
	queued    bool    // it is in the queue of the follower
	blocks    int     // on their way
	held      int64   // in the budget
	failed    bool    // a block has failed: nothing is sent until all blocks are back
	retryAt   time.Time
	pause     time.Duration
	reason    string // why it waits
}

// current is the first file with something to read.
func (s *stream) current() *file {
	for _, f := range s.files {
		if f.unread() {
			return f
		}
	}
	return nil
}
