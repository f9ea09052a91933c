package store

import (
	"fmt"
	"time"
)

// A segment that is only allocated costs more to write than one that was written before: each fdatasync also has to record that its blocks
// are in use now (measured here: 5,900 a second instead of 10,800), and each page has to be found memory for. So the segment that is kept ahead
// is filled with zeros while the log has little to do, and taken early by a log that still writes to one that was not.

const (
	prewriteChunk = 128 << 10 // bytes of one write; who wants the segment waits for at most one
	// The open segment holds this part of its size before the next one is prewritten: a broker that takes little writes nothing.
	prewriteAfter = 32
	// Above this rate, in bytes per second, prewriting would compete with the puts for the disk, and waits.
	prewriteBusy = 256 << 20
	prewritePace = 10 * time.Millisecond
	prewriteIdle = 250 * time.Millisecond
)

// prewrite fills the prepared segment with zeros. It ends when that is done or the segment is taken, and then whatever is left is written as
// if nothing had happened.
func (s *Store) prewrite(p *prepared) {
	var last int64
	lastAt := time.Now()
	for at := int64(0); at < p.size; {
		s.mu.Lock()
		appended, used := s.appended, s.appended-s.open.base
		mine := s.next == p && s.failed == nil
		s.mu.Unlock()
		if !mine {
			return
		}
		elapsed := time.Since(lastAt)
		busy := last > 0 && float64(appended-last) > prewriteBusy*elapsed.Seconds()
		if elapsed >= prewritePace {
			last, lastAt = appended, time.Now()
		}
		if used < p.size/prewriteAfter || busy {
			pause := prewritePace
			if !busy {
				pause = prewriteIdle
			}
			if !s.pause(pause) {
				return
			}
			continue
		}
		n := min(prewriteChunk, p.size-at)
		taken, err := p.zero(at, n)
		if err == nil && !taken && at+n == p.size {
			// Only the last one of its writes is waited for: an fdatasync in between would hold up those of the puts.
			err = p.sync()
		}
		if err != nil {
			s.prewriteFailed(p, err)
			return
		}
		if taken {
			return
		}
		at += n
		if at == p.size {
			s.prewritten(p)
			return
		}
		if at > used+used/2 && !s.pause(prewritePace) { // far enough ahead: slowly
			return
		}
	}
}

// prewritten notes that a prepared segment is on disk, zeros and all. An open segment that was not prewritten, as after a start, is left for it
// with the next message.
func (s *Store) prewritten(p *prepared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.prewritten = true
}

// outdatedLocked says that the open segment is to be left for the next one, which is faster.
func (s *Store) outdatedLocked() bool {
	return !s.open.prewritten && s.next != nil && s.next.prewritten
}

// prewriteFailed throws the segment away: what the kernel has not written may be missing from it unnoticed. One that was taken meanwhile stays:
// zeros that were not written are none that are missed, and an error of the sync is that of its next flush, see checkSynced.
func (s *Store) prewriteFailed(p *prepared, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == p {
		s.next = nil
		p.discard(s.fs)
	}
	s.options.Log.Warn().Err(err).Msg("prewriting the next segment failed")
}

// pause waits; false when the store closes.
func (s *Store) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.quit:
		return false
	}
}

var prewriteZeros [prewriteChunk]byte

// zero writes zeros into the segment, unless it was taken.
func (p *prepared) zero(at, n int64) (taken bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken {
		return true, nil
	}
	if _, err := p.file.WriteAt(prewriteZeros[:n], at); err != nil {
		return false, fmt.Errorf("write %s: %w", p.name, err)
	}
	if err := p.file.StartSync(at, n); err != nil {
		return false, fmt.Errorf("write %s: %w", p.name, err)
	}
	return false, nil
}

// sync makes what was prewritten durable, unless the segment was taken: then its flushes do.
func (p *prepared) sync() error {
	p.syncing.Lock()
	defer p.syncing.Unlock()
	p.mu.Lock()
	taken := p.taken
	p.mu.Unlock()
	if taken {
		return nil
	}
	if err := p.file.Sync(); err != nil {
		p.unsafe = fmt.Errorf("sync %s: %w", p.name, err)
	}
	return p.unsafe
}

// checkSynced is for a flush of a segment that was taken while it was prewritten. The kernel tells of a write that has failed only once: the sync
// of prewriting may have been told, about what was appended meanwhile too, and the flush that came at the same time nothing.
func (p *prepared) checkSynced() error {
	p.syncing.Lock()
	defer p.syncing.Unlock()
	return p.unsafe
}

// take ends prewriting: nothing is written into the segment by anybody else from now on.
func (p *prepared) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = true
}
