package store

import (
	"math/bits"

	"github.com/metaq/metaq/store/vfs"
)

// arenaChunk is the bytes that an arena grows by. Only those that were written take memory.
const arenaChunk = 1 << 20

// arena is a growing array of small records outside of the Go heap. A copy of its records goes on to be
// readable while it grows.
type arena struct {
	records
	free []func()
	n    uint32
}

// records are what can be read of an arena.
type records struct {
	size   int // of a record, in bytes; a power of two
	shift  int // records in a chunk, as a power of two
	chunks [][]byte
}

func newArena(size int) arena {
	return arena{records: records{size: size, shift: bits.TrailingZeros(uint(arenaChunk / size))}}
}

// at is record i.
func (r *records) at(i uint32) []byte { return r.from(i, 1) }

// from is n records from i on, which must lie in one chunk.
func (r *records) from(i uint32, n int) []byte {
	from := int(i&(1<<r.shift-1)) * r.size
	to := from + n*r.size
	return r.chunks[i>>r.shift][from:to:to]
}

// add makes n records and returns the number of the first one; they lie side by side. They are not cleared.
func (a *arena) add(n uint32) uint32 {
	per := uint32(1) << a.shift
	if left := per - a.n&(per-1); n > left {
		a.n += left
	}
	first := a.n
	a.n += n
	a.grow(a.n)
	return first
}

// grow makes room for n records.
func (a *arena) grow(n uint32) {
	for uint32(len(a.chunks))<<a.shift < n {
		b, free := vfs.Anonymous(arenaChunk)
		a.chunks = append(a.chunks, b)
		a.free = append(a.free, free)
	}
}

// clear sets the first n records to zero.
func (a *arena) clear(n uint32) {
	for i := uint32(0); i < n; i += 1 << a.shift {
		clear(a.from(i, int(min(n-i, 1<<a.shift))))
	}
}

// release gives the memory back. Nobody may be reading.
func (a *arena) release() {
	for _, free := range a.free {
		free()
	}
	a.chunks, a.free, a.n = nil, nil, 0
}
