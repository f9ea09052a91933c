package store

import (
	"hash/crc32"
	"io"
	"sort"
	"sync/atomic"
)

// memIndex holds the runs of a segment that has no index file yet: the open segment, and full ones on their way to be sealed. Appends
// need the store's lock; what is there never changes, so it is read without, from a copy of memRuns, and sealed without.
//
// The runs of a queue are a list of blocks, which grow with the list: a queue with few runs wastes nothing, and one with very many is
// searched in few steps. Everything lies outside of the heap, see arena.
type memIndex struct {
	slots  arena // by queue id - 1: 1 + the number of the queue's list, 0 for none
	lists  arena // number of runs u32, first block u32, last block u32, checksum u32, once it is written
	blocks arena // first run in cells u32, which run of its list that is u32, block before u32, block behind u32
	cells  arena // runs as in an index file
	runs   int
	pins   atomic.Int32 // readers, and one for the segment that has it
}

const (
	slotSize  = 4
	listSize  = 16
	blockSize = 16
)

// maxRuns bounds the memory of an open segment's index: a segment with so many runs is full. It begins to count for messages below 500
// bytes that all go to different queues.
const maxRuns = 256 << 10

func newMemIndex() *memIndex {
	x := &memIndex{slots: newArena(slotSize), lists: newArena(listSize), blocks: newArena(blockSize), cells: newArena(entrySize)}
	x.pins.Store(1)
	return x
}

// unpin is for readers. The last one gives back the memory if the segment does not have the index any more.
func (x *memIndex) unpin() {
	if x.pins.Add(-1) == 0 {
		x.release()
	}
}

// reset empties the index and keeps its memory.
func (x *memIndex) reset() {
	x.slots.clear(x.slots.n)
	x.slots.n, x.lists.n, x.blocks.n, x.cells.n, x.runs = 0, 0, 0, 0, 0
	x.pins.Store(1)
}

func (x *memIndex) release() {
	for _, a := range []*arena{&x.slots, &x.lists, &x.blocks, &x.cells} {
		a.release()
	}
}

// blockRuns is the size of the block that begins with run n of a list.
func blockRuns(n uint32) uint32 {
	size := uint32(1)
	for size*8 <= n && size < maxBlockRuns {
		size *= 2
	}
	return size
}

const maxBlockRuns = 4096

// list finds the list of a queue, nil if there is none.
func (x *memIndex) list(queue uint32) []byte {
	if queue > x.slots.n {
		return nil
	}
	if n := le.Uint32(x.slots.at(queue - 1)); n > 0 {
		return x.lists.at(n - 1)
	}
	return nil
}

// add appends a run to the list of a queue.
func (x *memIndex) add(queue uint32, e entry) {
	list := x.list(queue)
	if list == nil {
		if queue > x.slots.n {
			x.slots.grow(queue)
			x.slots.n = queue
		}
		n := x.lists.add(1)
		list = x.lists.at(n)
		le.PutUint32(x.slots.at(queue-1), n+1)
		x.begin(list, 0, 0)
	}
	n, last := le.Uint32(list), le.Uint32(list[8:])
	block := x.blocks.at(last)
	first, number := le.Uint32(block), le.Uint32(block[4:])
	if n-number == blockRuns(number) {
		x.begin(list, n, last)
		block = x.blocks.at(le.Uint32(list[8:]))
		first, number = le.Uint32(block), n
	}
	putEntry(x.cells.at(first+n-number), e)
	le.PutUint32(list, n+1)
	x.runs++
}

// begin makes the block of a list that begins with run n.
func (x *memIndex) begin(list []byte, n, before uint32) {
	id := x.blocks.add(1)
	block := x.blocks.at(id)
	le.PutUint32(block, x.cells.add(blockRuns(n)))
	le.PutUint32(block[4:], n)
	le.PutUint32(block[8:], before)
	le.PutUint32(block[12:], 0)
	le.PutUint32(list[8:], id)
	if n == 0 {
		le.PutUint32(list, 0)
		le.PutUint32(list[4:], id)
	} else {
		le.PutUint32(x.blocks.at(before)[12:], id)
	}
}

// of is the list of a queue as it is now.
func (x *memIndex) of(queue uint32) memRuns {
	list := x.list(queue)
	if list == nil {
		return memRuns{}
	}
	return memRuns{blocks: x.blocks.records, cells: x.cells.records, n: int(le.Uint32(list)), last: le.Uint32(list[8:]), block: le.Uint32(list[8:])}
}

// memRuns is a list of runs in a memIndex, as it was at one moment.
type memRuns struct {
	blocks, cells records
	n             int
	last          uint32 // block
	block         uint32 // the block that was looked at last
}

// at is run i of the list. Looking at one after the other is fastest.
func (m *memRuns) at(i int) entry {
	for {
		b := m.blocks.at(m.block)
		first, number := le.Uint32(b), le.Uint32(b[4:])
		switch {
		case uint32(i) < number:
			m.block = le.Uint32(b[8:])
		case uint32(i) >= number+blockRuns(number):
			m.block = le.Uint32(b[12:])
		default:
			return entryOf(m.cells.at(first + uint32(i) - number))
		}
	}
}

// search is the first run for which behind is true, the length if there is none. Once true, it must be true for all that follow.
func (m *memRuns) search(behind func(entry) bool) int {
	if m.n == 0 {
		return 0
	}
	m.block = m.last
	number, size := 0, 0
	for {
		b := m.blocks.at(m.block)
		number = int(le.Uint32(b[4:]))
		size = min(int(blockRuns(uint32(number))), m.n-number)
		if number == 0 || !behind(m.at(number)) {
			break
		}
		m.block = le.Uint32(b[8:])
	}
	return number + sort.Search(size, func(i int) bool { return behind(m.at(number + i)) })
}

// indexBuffer is how much of an index file is written at once.
const indexBuffer = 256 << 10

// write makes the index file of the segment at base.
func (x *memIndex) write(w io.WriterAt, base int64, with salt) error {
	queues := x.lists.n
	dirEnd := int64(indexHeader) + int64(queues)*indexDirRecord
	out := &indexWriter{w: w, at: dirEnd, buf: make([]byte, 0, indexBuffer)}
	x.eachList(func(_ uint32, list []byte) {
		sum := uint32(0)
		for id, left := le.Uint32(list[4:]), le.Uint32(list); left > 0; {
			b := x.blocks.at(id)
			n := min(blockRuns(le.Uint32(b[4:])), left)
			cells := x.cells.from(le.Uint32(b), int(n))
			sum = crc32.Update(sum, castagnoli, cells)
			out.write(cells)
			id, left = le.Uint32(b[12:]), left-n
		}
		le.PutUint32(list[12:], sum)
	})
	out.flush()
	header := make([]byte, indexHeader)
	copy(header, indexMagic)
	le.PutUint64(header[8:], uint64(base))
	le.PutUint32(header[16:], queues)
	le.PutUint32(header[20:], uint32(x.runs))
	le.PutUint32(header[24:], out.sum)
	out.at, out.sum = indexHeader, crc32.Checksum(header[:28], castagnoli)
	first := uint32(0)
	x.eachList(func(queue uint32, list []byte) {
		var record [indexDirRecord]byte
		le.PutUint32(record[:], queue)
		le.PutUint32(record[4:], le.Uint32(list))
		le.PutUint32(record[8:], first)
		le.PutUint32(record[12:], le.Uint32(list[12:]))
		first += le.Uint32(list)
		out.write(record[:])
	})
	out.flush()
	le.PutUint32(header[28:], with.seal(out.sum))
	if out.err == nil {
		_, out.err = w.WriteAt(header, 0)
	}
	return out.err
}

// eachList visits the lists in the order of their queues.
func (x *memIndex) eachList(visit func(queue uint32, list []byte)) {
	for queue := uint32(1); queue <= x.slots.n; queue++ {
		if n := le.Uint32(x.slots.at(queue - 1)); n > 0 {
			visit(queue, x.lists.at(n-1))
		}
	}
}

// indexWriter writes in large pieces and keeps the checksum.
type indexWriter struct {
	w   io.WriterAt
	at  int64
	buf []byte
	sum uint32
	err error
}

func (o *indexWriter) write(b []byte) {
	for len(b) > 0 {
		n := copy(o.buf[len(o.buf):cap(o.buf)], b)
		o.buf, b = o.buf[:len(o.buf)+n], b[n:]
		if len(o.buf) == cap(o.buf) {
			o.flush()
		}
	}
}

func (o *indexWriter) flush() {
	o.sum = crc32.Update(o.sum, castagnoli, o.buf)
	if o.err == nil && len(o.buf) > 0 {
		_, o.err = o.w.WriteAt(o.buf, o.at)
	}
	o.at += int64(len(o.buf))
	o.buf = o.buf[:0]
}
