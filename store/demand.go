package store

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

const (
	// loadBlock is what of a file is read in one go when much of it is wanted: the large page of most machines.
	loadBlock = 2 << 20
	// largePiece is a part of a file for which the blocks around it are read: who reads on wants the rest of them next.
	largePiece = 512 << 10
	// sharedWeight is how much more a small read counts when it is for another queue than the one before.
	sharedWeight = 4
	// loadedFor is how long a block counts as in memory without a look.
	loadedFor = 2 * time.Second
)

// demand decides how what is asked for of a mapped file comes into memory. The reader of one queue among a thousand wants a few pages of each
// segment and should get no more. When all queues are read, the same few pages for each of them are the slowest way to read the whole segment.
//
// So small reads are counted, each as its bytes and readGap for the disk to get there. When they have cost what the file would have, whole blocks
// are read in their place, until these have cost as much. Several queues that are read at a time make it likely that what lies between is wanted too,
// so their reads count more. In whatever order things are asked for, blocks cost at most sharedWeight times what small reads have cost, or are sure
// to. Large pieces need no count: they are most of their blocks.
type demand struct {
	mapping vfs.Mapping
	size    int64
	opened  time.Time
	blocks  []block

	mu     sync.Mutex
	credit int64  // bytes of blocks that small reads have paid for, at most size; guarded by mu
	whole  bool   // blocks are read, as long as there is credit; guarded by mu
	last   uint32 // queue of the last small read; guarded by mu
}

// block is the state of one loadBlock of the file.
type block struct {
	reading sync.Mutex   // others that want it wait, instead of reading it as well
	seen    atomic.Int64 // when it was in memory, in nanoseconds since demand.opened; 0: never
}

func newDemand(m vfs.Mapping, size int64) *demand {
	return &demand{mapping: m, size: size, opened: time.Now(), blocks: make([]block, (size+loadBlock-1)/loadBlock)}
}

// reading is how a list of pieces comes into memory.
type reading int

const (
	inMemory reading = iota
	asPieces         // the reads are on their way
	asBlocks         // nothing is on its way
)

// begin has the disk begin with the pieces that are wanted now, and with those that are wanted later.
func (d *demand) begin(queue uint32, now, later []piece) reading {
	fresh, whole := d.fresh(now), d.readsBlocks(now)
	switch {
	case fresh && whole:
		return inMemory
	case whole:
		return asBlocks
	}
	how := inMemory
	if !fresh && d.beginPieces(queue, now) {
		how = asPieces
	}
	if !d.fresh(later) {
		d.beginPieces(queue, later)
	}
	return how
}

// beginPieces has the disk begin with pieces; false if all of them are in memory.
func (d *demand) beginPieces(queue uint32, list []piece) bool {
	if cached(d.mapping, list) {
		return false
	}
	for _, p := range list {
		d.mapping.Prefetch(p.from, p.to-p.from)
	}
	d.pay(queue, list)
	return true
}

// finish waits for what begin has begun with, or reads it.
func (d *demand) finish(list []piece, how reading) {
	for _, p := range list {
		switch how {
		case asPieces:
			d.mapping.Advise(p.from, p.to-p.from)
		case asBlocks:
			d.load(p)
		}
	}
}

// readsBlocks says whether the blocks around the pieces are to be read.
func (d *demand) readsBlocks(list []piece) bool {
	for _, p := range list {
		if p.to-p.from >= largePiece {
			return true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.whole
}

// pay counts small reads, which are made or sure to come.
func (d *demand) pay(queue uint32, list []piece) {
	cost := int64(0)
	for _, p := range list {
		cost += p.to - p.from + readGap
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if queue != d.last {
		cost *= sharedWeight
	}
	d.last = queue
	d.credit = min(d.credit+cost, d.size)
	d.whole = d.whole || d.credit == d.size
}

// load reads the blocks of a piece that are not in memory.
func (d *demand) load(p piece) {
	for i := p.from / loadBlock; i*loadBlock < p.to && i < int64(len(d.blocks)); i++ {
		d.loadBlock(i)
	}
}

func (d *demand) loadBlock(i int64) {
	b := &d.blocks[i]
	b.reading.Lock()
	defer b.reading.Unlock()
	if d.isFresh(b) {
		return
	}
	from := i * loadBlock
	n := min(loadBlock, d.size-from)
	missing := n - d.mapping.Cached(from, n)
	if missing > 0 {
		d.mapping.Load(from, n)
	}
	b.seen.Store(int64(time.Since(d.opened)) + 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.credit = max(d.credit-missing, 0)
	d.whole = d.whole && d.credit > 0
}

// fresh says whether the pieces lie in blocks that were in memory a moment ago. Should they not be any more, their reader waits for the disk in a
// page fault.
func (d *demand) fresh(list []piece) bool {
	for _, p := range list {
		for i := p.from / loadBlock; i*loadBlock < p.to && i < int64(len(d.blocks)); i++ {
			if !d.isFresh(&d.blocks[i]) {
				return false
			}
		}
	}
	return true
}

func (d *demand) isFresh(b *block) bool {
	seen := b.seen.Load()
	return seen != 0 && int64(time.Since(d.opened))-seen < int64(loadedFor)
}
