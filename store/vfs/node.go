package vfs

import (
	"bytes"
	"slices"
)

// pageSize is what the disk of a Mem writes at once, or tears.
const pageSize = 4096

var zeroPage [pageSize]byte

// node is the content of a file of a Mem, and what a power cut may take from it. All under Mem.mu.
type node struct {
	size  int64
	cur   *view   // whole pages, zeros from size on, never shorter than any of sizes
	stale []*view // outgrown while they were mapped: kept equal to the beginning of cur

	// unsynced has, for every page written since the last Sync, what is on the disk for certain.
	unsynced map[int64]oldPage
	// sizes begins with the size that is on the disk for certain. Then come those since, oldest first, where a growth
	// that follows a growth takes its place.
	sizes []int64
}

// view is memory that mappings may show.
type view struct {
	buf  []byte
	maps int // mappings that show it
}

type oldPage struct {
	data    []byte // nil: zeros
	dropped bool   // by a Sync that failed: the next one will not write it, unless the page changes before
}

func newNode(content []byte) *node {
	n := &node{size: int64(len(content)), cur: &view{}, unsynced: map[int64]oldPage{}}
	n.reserve(n.size)
	copy(n.cur.buf, content)
	n.sizes = []int64{n.size}
	return n
}

func (n *node) data() []byte { return n.cur.buf[:n.size] }

// reserve makes the memory long enough for a size.
func (n *node) reserve(size int64) {
	have := int64(len(n.cur.buf))
	if size <= have {
		return
	}
	if have > 0 {
		size = max(size, 2*have)
	}
	grown := &view{buf: make([]byte, (size+pageSize-1)/pageSize*pageSize)}
	copy(grown.buf, n.cur.buf)
	if n.cur.maps > 0 {
		n.stale = append(n.stale, n.cur)
	}
	n.cur = grown
}

// keepOld remembers what the disk has of the pages in a range, before they change.
func (n *node) keepOld(from, to int64) {
	for p := from / pageSize; p*pageSize < to; p++ {
		if old, ok := n.unsynced[p]; ok {
			old.dropped = false
			n.unsynced[p] = old
			continue
		}
		var old oldPage
		if page := n.cur.buf[p*pageSize : (p+1)*pageSize]; !bytes.Equal(page, zeroPage[:]) {
			old.data = bytes.Clone(page)
		}
		n.unsynced[p] = old
	}
}

func (n *node) write(b []byte, offset int64) {
	if len(b) == 0 {
		return
	}
	end := offset + int64(len(b))
	n.reserve(end)
	n.keepOld(offset, end)
	copy(n.cur.buf[offset:], b)
	for _, v := range n.stale {
		if offset < int64(len(v.buf)) {
			copy(v.buf[offset:], b)
		}
	}
	if end > n.size {
		n.setSize(end)
	}
}

func (n *node) truncate(size int64) {
	n.reserve(size)
	if size < n.size {
		// Pages of zeros stay as they are: an allocated segment is cut without remembering each of its pages.
		for p := size / pageSize; p*pageSize < n.size; p++ {
			from, to := max(size, p*pageSize), min(n.size, (p+1)*pageSize)
			if !bytes.Equal(n.cur.buf[from:to], zeroPage[:to-from]) {
				n.keepOld(from, to)
				n.zero(from, to)
			}
		}
	}
	if size != n.size {
		n.setSize(size)
	}
}

func (n *node) zero(from, to int64) {
	clear(n.cur.buf[from:to])
	for _, v := range n.stale {
		if end := min(to, int64(len(v.buf))); from < end {
			clear(v.buf[from:end])
		}
	}
}

func (n *node) setSize(size int64) {
	last := len(n.sizes) - 1
	if last > 0 && n.sizes[last] > n.sizes[last-1] && size > n.size {
		n.sizes[last] = size
	} else {
		n.sizes = append(n.sizes, size)
	}
	n.size = size
}

// sync makes everything safe but what a failed sync has dropped.
func (n *node) sync() {
	for p, old := range n.unsynced {
		if !old.dropped {
			delete(n.unsynced, p)
		}
	}
	n.sizes = append(n.sizes[:0], n.size)
}

// failSync leaves it to the power cut which pages were written; the kernel takes all of them for clean.
func (n *node) failSync() {
	for p, old := range n.unsynced {
		old.dropped = true
		n.unsynced[p] = old
	}
}

// unmap gives back a mapping of v.
func (n *node) unmap(v *view) {
	if v.maps--; v.maps == 0 {
		n.stale = slices.DeleteFunc(n.stale, func(s *view) bool { return s == v })
	}
}
