//go:build linux

package ship

import "sync"

// budget bounds the bytes that are read and not acknowledged, of all followers together. Whoever asks may have as much as is still free, so that streams whose
// broker is away never take all of it.
type budget struct {
	total int64

	mu      sync.Mutex
	used    int64
	waiting map[*follower]bool // for more
}

// take takes bytes for somebody who holds some already. What is larger than everything is granted when nothing else is held.
func (b *budget) take(bytes, held int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used > 0 && held+bytes > b.total-b.used {
		return false
	}
	b.used += bytes
	return true
}

// add takes bytes whether they are there or not: it turned out that what is held needs more.
func (b *budget) add(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += bytes
}

// give gives bytes back.
func (b *budget) give(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= bytes
	for f := range b.waiting {
		f.signal()
	}
	clear(b.waiting)
}

// await has a follower told when something was given back.
func (b *budget) await(f *follower) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[f] = true
}

func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
