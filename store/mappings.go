package store

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// maxMapped bounds the sealed segments that are mapped at a time, each with its index: two of the 65,530 mappings that Linux gives a
// process. The others are mapped when they are read. Segments that are not sealed are mapped always and not counted.
const maxMapped = 4096

// unmapped is the number of pins of a segment without mappings.
const unmapped = -1

// errRemoved is what pinning a segment gives that retention has removed: nobody needs anything that was in it.
var errRemoved = errors.New("the segment was removed")

// errRewritten is what a read gives that has found its place in the memory of a segment which was sealed and rewritten since. It is repeated.
var errRewritten = errors.New("the segment was rewritten")

// mappings are the sealed segments that are mapped. Who reads one pins it; one that nobody has pinned may lose its mappings.
//
// Its lock comes before Store.mu.
type mappings struct {
	mu   sync.Mutex
	max  int
	list []*segment // guarded by mu
	hand int        // where the search for one to let go begins; guarded by mu
}

// pin sees to it that a segment stays mapped until it is unpinned. It blocks when the segment has to be mapped, unless hot is set: then
// that is ErrCold.
func (s *Store) pin(g *segment, hot bool) error {
	for !g.tryPin() {
		if hot {
			return ErrCold
		}
		if pinned, err := s.mapSealed(g); pinned || err != nil {
			return err
		}
	}
	if !g.used.Load() {
		g.used.Store(true)
	}
	return nil
}

func (g *segment) tryPin() bool {
	for {
		n := g.pins.Load()
		if n == unmapped {
			return false
		}
		if g.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *segment) unpin() { g.pins.Add(-1) }

// mapSealed maps a sealed segment and its index, and pins it, or else it could be the next one to go; false if somebody else has mapped it.
// An index that is missing or damaged is made again.
func (s *Store) mapSealed(g *segment) (pinned bool, err error) {
	s.mapped.mu.Lock()
	defer s.mapped.mu.Unlock()
	if g.pins.Load() != unmapped {
		return false, nil
	}
	if g.removed {
		return false, errRemoved
	}
	fresh, err := openSegment(s.fs, s.options.Dir, g.base, s.salt)
	if isNotExist(err) {
		return false, &CorruptError{File: g.name, Reason: "the segment is missing"}
	}
	if err != nil {
		return false, err
	}
	index, err := s.openOrder(fresh, g.limit)
	if err != nil {
		fresh.close()
		return false, err
	}
	g.mapping, g.data, g.clustered, g.until = fresh.mapping, fresh.data, fresh.clustered, fresh.until
	s.mu.Lock()
	g.index = index
	s.mu.Unlock()
	g.pins.Store(1)
	s.mapped.addLocked(s, g)
	return true, nil
}

// keepMapped counts a segment that was just sealed.
func (s *Store) keepMapped(g *segment) {
	s.mapped.mu.Lock()
	defer s.mapped.mu.Unlock()
	s.mapped.addLocked(s, g)
}

// addLocked enters a segment, and lets go of another if there are too many: one that nobody reads, and nobody has since the last search
// came by. If all are in use there may be more for a while.
func (m *mappings) addLocked(s *Store, g *segment) {
	m.list = append(m.list, g)
	for range 2 * len(m.list) {
		if len(m.list) <= m.max {
			return
		}
		m.hand %= len(m.list)
		old := m.list[m.hand]
		if old.used.Swap(false) || !s.unmap(old) {
			m.hand++
			continue
		}
		m.removeLocked(m.hand)
	}
}

// dropLocked forgets a segment.
func (m *mappings) dropLocked(g *segment) {
	if i := slices.Index(m.list, g); i >= 0 {
		m.removeLocked(i)
	}
}

func (m *mappings) removeLocked(i int) {
	last := len(m.list) - 1
	m.list[i], m.list[last] = m.list[last], nil
	m.list = m.list[:last]
}

// unmap drops the mappings of a segment, if nobody reads it.
func (s *Store) unmap(g *segment) bool {
	if !g.pins.CompareAndSwap(0, unmapped) {
		return g.pins.Load() == unmapped
	}
	s.mu.Lock()
	index := g.index
	g.index = nil
	s.mu.Unlock()
	index.unmap()
	if g.mapping != nil {
		g.mapping.Unmap()
		g.mapping, g.data = nil, nil
		g.demand.Store(nil)
	}
	return true
}

// unmapRemoved drops the mappings of a segment whose files are gone, for only then is its room on the disk free. It waits for its readers.
func (s *Store) unmapRemoved(g *segment) {
	s.mapped.mu.Lock()
	s.mapped.dropLocked(g)
	s.mapped.mu.Unlock()
	if s.unmap(g) {
		return
	}
	s.workersOff.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !s.unmap(g) {
			select {
			case <-tick.C:
			case <-s.quit:
				return // the mapping goes with the process
			}
		}
	})
}

// gone is what a read of a queue gives whose segment could not be mapped: if retention has removed it meanwhile, the reader has to move on.
func (q *Queue) gone(offset int64, err error) error {
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) && !errors.Is(err, errRemoved) {
		return err
	}
	q.store.mu.Lock()
	defer q.store.mu.Unlock()
	if moved := q.boundsLocked(offset); moved != nil && !errors.Is(moved, ErrEnd) {
		return moved
	}
	return err
}
