package store

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/metaq/metaq/store/fault"
)

// Waiter is told when something that was appended counts as acknowledged.
type Waiter interface {
	// Acked is called once, from a goroutine of the store, and must not block. err is not nil when it will never be acknowledged;
	// it may be on disk all the same.
	Acked(err error)
}

type waiting struct {
	pos     int64
	waiter  Waiter
	since   time.Duration // by the watchdog's clock; no waiter has one before those of the waiters before it
	patient bool          // waits however long it takes
}

// unsafeRun is the end of a queue after a run that nobody may read before the log is flushed up to pos.
type unsafeRun struct {
	queue    *Queue
	pos, end int64
}

// Acked says whether everything up to a position that Append returned counts as acknowledged.
func (s *Store) Acked(p Position) bool { return int64(p) <= s.flushed.Load() }

// Await calls w.Acked when the position counts as acknowledged; never from this goroutine. After DiskTimeout it calls it with a *BusyError.
func (s *Store) Await(p Position, w Waiter) { s.await(p, w, false) }

// AwaitPatiently is Await without a bound in time.
func (s *Store) AwaitPatiently(p Position, w Waiter) { s.await(p, w, true) }

func (s *Store) await(p Position, w Waiter, patient bool) {
	s.waitMu.Lock()
	s.waiting = append(s.waiting, waiting{int64(p), w, time.Duration(s.disk.clock.Load()), patient})
	s.awaited++
	s.waitMu.Unlock()
	s.signal(s.flushC)
}

type waitChan chan error

func (c waitChan) Acked(err error) { c <- err }

// wait blocks until a position is flushed.
func (s *Store) wait(p Position) error {
	if s.Acked(p) {
		return nil
	}
	c := make(waitChan, 1)
	s.AwaitPatiently(p, c)
	return <-c
}

// mustWaitLocked is the rule of acknowledgement: whether a run of the queue that ends at a log position counts only when it is flushed.
// It starts the flush that the rule asks for. A queue without group commit is bounded too: beyond MaxUnflushed it waits like the others,
// so that recovery knows how far a reader can have been (see recoverGaps).
func (s *Store) mustWaitLocked(q *Queue, end int64, count int) bool {
	if fault.Mutant("ack_before_flush") {
		return false
	}
	if q.rules.groupCommit() || !q.relaxed || end-s.flushed.Load() > s.options.MaxUnflushed || q.safeFrom > s.flushed.Load() && !fault.Mutant("new_queue_before_flush") {
		s.signal(s.flushC)
		return true
	}
	if q.unflushedSince != s.flushes {
		q.unflushed, q.unflushedSince = 0, s.flushes
	}
	q.unflushed += count
	if q.unflushed >= q.rules.FlushMessages || end-s.flushed.Load() > s.options.MaxUnflushed/2 {
		s.signal(s.flushC)
	} else if every := q.rules.FlushInterval; every > 0 && (s.flushIn == 0 || every < s.flushIn) {
		// A timer that was set before for the same interval, or a shorter one, rings earlier: no need to look at the clock.
		if due := s.now().Add(every); s.flushIn == 0 || due.Before(s.flushDue) {
			s.flushDue, s.flushIn = due, every
			s.flushTimer.Reset(every)
		}
	}
	return false
}

// flusher is the one goroutine that calls fdatasync. Whatever waits when it begins is covered by one call: that is group commit.
func (s *Store) flusher() {
	defer s.flusherOff.Done()
	for {
		select {
		case <-s.flushC:
		case <-s.flushTimer.C:
		case <-s.quitFlusher:
			return
		}
		s.flush()
	}
}

// flush makes everything that is appended now durable and tells those who wait. It is called by the flusher, and by Close once that has ended.
func (s *Store) flush() {
	s.mu.Lock()
	s.flushIn = 0
	target, failed := s.appended, s.failed
	segs, dirty := append(s.unsynced, s.open), s.dirDirty
	s.unsynced, s.dirDirty = nil, false
	needed := failed == nil && target > s.flushed.Load()
	if needed {
		s.flushes++ // what comes from here on is not a part of it
	}
	s.mu.Unlock()

	if needed {
		began := s.now()
		fault.Point("flush.began")
		s.disk.flush.begin()
		err := s.syncAll(segs, dirty)
		s.disk.flush.end()
		fault.Point("flush.synced")
		s.flushNanos.Add(int64(s.now().Sub(began)))
		s.flushCount.Add(1)
		if err != nil && !fault.Mutant("ignore_sync_error") {
			s.mu.Lock()
			failed = s.poisonLocked(err)
			s.mu.Unlock()
		}
	}

	s.mu.Lock()
	var fire []*watcher
	if failed == nil {
		s.flushed.Store(target)
		n := 0
		for n < len(s.unsafe) && s.unsafe[n].pos <= target {
			fire = s.unsafe[n].queue.publishLocked(s.unsafe[n].end, fire)
			n++
		}
		s.unsafe = append(s.unsafe[:0], s.unsafe[n:]...)
	}
	more := failed == nil && len(s.unsafe) > 0
	s.mu.Unlock()
	s.tellFlushed(target, failed, more)
	for _, w := range fire {
		w.fn()
	}
}

// tellFlushed tells those who waited for what is flushed up to target, or that it has failed. more says that others wait for the next flush.
func (s *Store) tellFlushed(target int64, failed error, more bool) {
	var due []waiting
	s.waitMu.Lock()
	kept := s.waiting[:0]
	for _, w := range s.waiting {
		if failed != nil || w.pos <= target {
			due = append(due, w)
		} else {
			kept = append(kept, w)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
	more = more || failed == nil && len(kept) > 0
	s.waitMu.Unlock()
	if more {
		s.signal(s.flushC)
	}
	if failed != nil {
		failed = uncertain(failed)
	}
	for _, w := range due {
		w.waiter.Acked(failed)
	}
}

func (s *Store) syncAll(segs []*segment, dir bool) error {
	s.files.Lock()
	defer s.files.Unlock()
	for _, g := range segs {
		if g.file == nil || fault.Mutant("skip_segment_sync") && g != segs[len(segs)-1] {
			continue // sealed meanwhile, so all of it was flushed before
		}
		if err := g.file.Sync(); err != nil {
			s.noteFailedSync()
			return fmt.Errorf("sync %s: %w", g.name, err)
		}
		if err := g.checkUncut(); err != nil {
			return err
		}
		fault.Point("flush.segment_synced")
	}
	if dir && !fault.Mutant("skip_dirsync") {
		name := filepath.Join(s.options.Dir, "log")
		if err := s.fs.SyncDir(name); err != nil {
			return fmt.Errorf("sync %s: %w", name, err)
		}
	}
	return nil
}

// newFlushTimer is stopped until the first message without group commit sets it.
func newFlushTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
