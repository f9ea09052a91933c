package vfs

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"path"
	"slices"
)

// CrashClone returns a disk as it may be found after a power cut at this moment, and leaves m as it is. What was synced
// is there. Of the rest, anything may be: each unsynced page as it was, as it is, or torn between the two; a file with
// any size that it had since its last Sync; each unsynced name with or without its change, though never against their
// order for one name or one file. The same calls and the same rng give the same clone. No lock is held in it.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := maps.Clone(m.durable)
	keep := newFate(rng)
	lost := map[int]bool{}
	for i, op := range m.pending {
		lost[i] = !keep.next()
		for j := range i {
			lost[i] = lost[i] || lost[j] && op.follows(m.pending[j])
		}
		if !lost[i] {
			op.apply(names)
		}
	}
	c := NewMem()
	c.capacity = m.capacity
	c.dirs = maps.Clone(m.dirs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c.names[name] = names[name].crash(rng)
		// Of a directory that was removed together with its files, the removal of the files may be what is lost.
		for dir := path.Dir(name); !c.dirs[dir]; dir = path.Dir(dir) {
			c.dirs[dir] = true
		}
	}
	c.durable = maps.Clone(c.names)
	return c
}

// KillClone returns a disk as the next process finds it when this one is killed at this moment: everything that was
// written is there, though it is not any safer against a power cut, and locks are free. What the old process still does
// afterwards goes to m only.
func (m *Mem) KillClone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem()
	c.capacity = m.capacity
	c.dirs = maps.Clone(m.dirs)
	copies := map[*node]*node{}
	clone := func(n *node) *node {
		if copies[n] == nil {
			copies[n] = &node{
				size:     n.size,
				cur:      &view{buf: slices.Clone(n.cur.buf)},
				unsynced: maps.Clone(n.unsynced),
				sizes:    slices.Clone(n.sizes),
			}
		}
		return copies[n]
	}
	for name, n := range m.names {
		c.names[name] = clone(n)
	}
	for name, n := range m.durable {
		c.durable[name] = clone(n)
	}
	for _, op := range m.pending {
		c.pending = append(c.pending, entryOp{node: clone(op.node), from: op.from, to: op.to})
	}
	return c
}

// follows reports whether a change makes sense only after an earlier one.
func (e entryOp) follows(earlier entryOp) bool {
	same := func(a, b string) bool { return a != "" && a == b }
	return e.node == earlier.node || same(e.from, earlier.from) || same(e.from, earlier.to) ||
		same(e.to, earlier.from) || same(e.to, earlier.to)
}

// dependenciesLocked marks the pending changes that are chosen and all that these follow.
func (m *Mem) dependenciesLocked(chosen func(entryOp) bool) []bool {
	need := make([]bool, len(m.pending))
	for i := len(m.pending) - 1; i >= 0; i-- {
		need[i] = need[i] || chosen(m.pending[i])
		for j := 0; need[i] && j < i; j++ {
			need[j] = need[j] || m.pending[i].follows(m.pending[j])
		}
	}
	return need
}

// fate decides which of some unsynced changes reached the disk. All, none and "all up to one moment" are what disks do
// most and independent draws would hardly ever give, so these have a chance of their own.
type fate struct {
	rng    *rand.Rand
	chance float64 // of each
	until  int     // how many more at least have the chance; after them none
}

func newFate(rng *rand.Rand) *fate {
	f := &fate{rng: rng, until: math.MaxInt}
	switch rng.IntN(5) {
	case 0:
		f.chance = 0
	case 1:
		f.chance = 1
	case 2:
		f.chance, f.until = 1, int(rng.ExpFloat64()*16)
	default:
		f.chance = rng.Float64()
	}
	return f
}

func (f *fate) next() bool {
	if f.until == 0 {
		return false
	}
	f.until--
	return f.rng.Float64() < f.chance
}

// crash returns what a power cut leaves of a file.
func (n *node) crash(rng *rand.Rand) *node {
	// The first k changes of the size are on the disk.
	k := rng.IntN(len(n.sizes))
	size := n.sizes[k]
	if k > 0 && size > n.sizes[k-1] && rng.IntN(2) == 0 {
		size = n.sizes[k-1] + rng.Int64N(size-n.sizes[k-1]+1)
	}
	// Behind a cut that is on the disk the synced bytes are gone. Behind one that is not they are still there, and
	// what was written behind it afterwards is not.
	gone, there := int64(math.MaxInt64), int64(math.MaxInt64)
	for i, s := range n.sizes {
		switch {
		case i > k:
			there = min(there, s)
		case i > 0:
			gone = min(gone, s)
		}
	}
	out := newNode(n.cur.buf[:size])
	keep := newFate(rng)
	for _, p := range slices.Sorted(maps.Keys(n.unsynced)) {
		base := p * pageSize
		var old [pageSize]byte
		copy(old[:], n.unsynced[p].data)
		if gone < base+pageSize {
			clear(old[max(gone-base, 0):])
		}
		from, to := int64(0), int64(0) // the part of the page that is new
		if keep.next() {
			from, to = tear(rng, old[:], n.cur.buf[base:base+pageSize])
		}
		if there < base+pageSize {
			to = min(to, max(there-base, 0))
		}
		out.restore(base, old[:from])
		out.restore(base+max(from, to), old[max(from, to):])
	}
	return out
}

// tear draws which part of a page that was being written is new: mostly all of it, else its beginning or its end, torn
// where the two differ.
func tear(rng *rand.Rand, old, now []byte) (from, to int64) {
	to = int64(len(now))
	part := rng.IntN(6)
	if part > 1 || bytes.Equal(old, now) {
		return 0, to
	}
	first, last := 0, len(now)-1
	for old[first] == now[first] {
		first++
	}
	for old[last] == now[last] {
		last--
	}
	cut := int64(first + rng.IntN(last-first+1))
	if part == 0 {
		return 0, cut
	}
	return cut, to
}

// restore puts bytes back, as far as the file goes.
func (n *node) restore(offset int64, b []byte) {
	if offset < n.size {
		copy(n.data()[offset:], b)
	}
}
