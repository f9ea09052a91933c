package store

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/metaq/metaq/store/fault"
)

// sealing is a segment that is full: its index and the checkpoint at its end are to be written.
type sealing struct {
	seg      *segment
	snapshot *snapshot // becomes the checkpoint
}

// rollLocked ends the open segment at base, which is s.appended, and goes on in a prepared one. The caller calls snapshotLocked
// once everything before base is applied.
func (s *Store) rollLocked(p *prepared, base int64) error {
	s.disk.write.begin()
	seg, err := p.place(s.fs, s.options.Dir, base, s.salt)
	s.disk.write.end()
	if err != nil {
		p.discard(s.fs)
		return uncertain(s.poisonLocked(err)) // the part of a batch before the roll is written
	}
	fault.Point("roll.named")
	seg.runs = s.takeRuns()
	s.unsynced = append(s.unsynced, s.open)
	s.dirDirty = true
	s.rolled = &sealing{seg: s.open}
	// Readers have shorter slices of the same array, so adding in place changes nothing for them.
	s.segments = append(s.segments, seg)
	s.open = seg
	s.signal(s.prepareC)
	return nil
}

// snapshotLocked takes the checkpoint that belongs to a roll, if there was one.
func (s *Store) snapshotLocked() {
	if s.rolled == nil {
		return
	}
	job := s.rolled
	s.rolled = nil
	n := s.beginSnapshotLocked(s.open.base, false)
	job.snapshot = n
	s.workersOff.Go(func() { n.walk(s, func() { time.Sleep(walkPause) }) })
	s.toSeal = append(s.toSeal, job)
	s.signal(s.sealC)
}

// takePreparedLocked hands out the segment that was made ahead, or makes one now. An error wraps ErrFull or ErrNoSegment.
func (s *Store) takePreparedLocked() (*prepared, error) {
	if p := s.next; p != nil {
		s.next = nil
		return p, nil
	}
	// A failing disk is asked again only after a while: puts that fail must stay cheap.
	if s.prepareErr != nil && s.now().Sub(s.prepareTried) < 100*time.Millisecond {
		s.noRoom = s.prepareErr
		return nil, s.prepareErr
	}
	s.prepareTried = s.now()
	s.disk.write.begin()
	p, err := s.prepare()
	s.disk.write.end()
	s.prepareErr, s.noRoom = err, err
	return p, err
}

func (s *Store) returnPreparedLocked(p *prepared) {
	if s.next == nil {
		s.next = p
		return
	}
	p.discard(s.fs)
}

func (s *Store) prepare() (*prepared, error) {
	name := filepath.Join(s.options.Dir, "log", fmt.Sprintf("next-%d%s", s.preparedCount.Add(1), preparedSuffix))
	return prepare(s.fs, name, s.options.LogSegmentSize)
}

// preparer keeps one segment ahead.
func (s *Store) preparer() {
	defer s.workersOff.Done()
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	told := false // a disk may be full for days
	for {
		select {
		case <-s.prepareC:
		case <-retry.C:
		case <-s.quit:
			return
		}
		s.mu.Lock()
		needed := s.next == nil && s.failed == nil
		s.mu.Unlock()
		if !needed {
			continue
		}
		p, err := s.prepare()
		s.mu.Lock()
		s.prepareErr = err
		if err == nil {
			s.noRoom = nil
			s.returnPreparedLocked(p)
		}
		s.mu.Unlock()
		if err == nil {
			told = false
			continue
		}
		if !told {
			told = true
			s.options.Log.Warn().Err(err).Msg("there is no next segment yet: puts will be refused when the open one is full")
		}
		retry.Reset(time.Second)
	}
}

// sealer writes the index files and checkpoints of full segments, oldest first.
func (s *Store) sealer() {
	defer s.workersOff.Done()
	for {
		select {
		case <-s.sealC:
		case <-s.quit:
			return
		}
		s.sealAll()
	}
}

// sealAll seals what is waiting. A failure leaves the segment with its index in memory; it is tried again at the next roll and at the next start.
func (s *Store) sealAll() {
	for {
		s.mu.Lock()
		if len(s.toSeal) == 0 {
			s.mu.Unlock()
			return
		}
		job := s.toSeal[0]
		s.mu.Unlock()
		if err := s.seal(job); err != nil {
			s.options.Log.Error().Err(err).Str("segment", job.seg.name).Msg("seal a segment")
			return
		}
		s.mu.Lock()
		s.toSeal = s.toSeal[1:]
		s.mu.Unlock()
	}
}

func (s *Store) seal(job *sealing) error {
	safe := Position(job.seg.end)
	if fault.Mutant("seal_before_flush") {
		safe = 0
	}
	if err := s.wait(safe); err != nil {
		return err
	}
	fault.Point("seal.flushed")
	s.files.Lock()
	if job.seg.file != nil { // else it was sealed before, without its checkpoint, and may not be mapped any more
		job.seg.noteLast()
		err := job.seg.shorten()
		var cut *CorruptError
		if errors.As(err, &cut) { // what is missing is missing; the log goes on
			s.options.Log.Error().Err(err).Msg("damage in the log")
			err = nil
		}
		if err != nil {
			s.files.Unlock()
			return err
		}
		job.seg.file.Close()
		job.seg.file = nil
	}
	s.files.Unlock()
	fault.Point("seal.cut")
	// Only now: with an index it may lose its mapping, and who maps it again must find its last length.
	if job.seg.runs != nil {
		if err := s.writeIndex(job.seg); err != nil {
			return err
		}
	}
	<-job.snapshot.done
	return s.writeCheckpoint(job.snapshot.encode(s.salt))
}

// writeIndex writes the index file of a full segment, which then need not be in memory. Nobody adds to a full segment, so it needs no
// lock for it.
func (s *Store) writeIndex(seg *segment) error {
	name, runs := indexName(seg.name), seg.runs
	if err := s.spending(func() error {
		return writeFileBy(s.fs, name, func(w io.WriterAt) error { return runs.write(w, seg.base, s.salt) }, nil)
	}); err != nil {
		return err
	}
	index, err := openIndex(s.fs, name, seg.base, s.salt)
	if err != nil {
		return fmt.Errorf("open the index just written: %w", err)
	}
	s.mu.Lock()
	seg.index, seg.runs, seg.sealed = index, nil, true
	if runs.runs == 0 {
		s.movedAt = max(s.movedAt, seg.end) // nobody needs what it holds, committed offsets mostly, once a checkpoint has that
	}
	s.mu.Unlock()
	if runs.pins.Add(-1) == 0 { // else the last who reads there gives its memory back
		s.freeRuns(runs)
	}
	s.keepMapped(seg)
	return nil
}

// takeRuns is an empty index for a new segment.
func (s *Store) takeRuns() *memIndex {
	select {
	case x := <-s.spareRuns:
		return x
	default:
		return newMemIndex()
	}
}

// freeRuns keeps the memory of an index for the next segment, if none is kept yet.
func (s *Store) freeRuns(x *memIndex) {
	x.reset()
	select {
	case s.spareRuns <- x:
	default:
		x.release()
	}
}

// stopWriting ends the goroutines and leaves a directory that needs no recovery.
func (s *Store) stopWriting() error {
	close(s.quit)
	s.workersOff.Wait() // the sealer may wait for the flusher, so that goes last
	close(s.quitFlusher)
	s.flusherOff.Wait()
	s.flush()
	s.mu.Lock()
	failed, next, open := s.failed, s.next, s.open
	s.next = nil
	s.mu.Unlock()
	if next != nil {
		next.discard(s.fs)
	}
	if failed != nil {
		return failed
	}
	fault.Point("close.flushed")
	s.sealAll()
	if open.end == open.base {
		// It keeps its name: that a segment is gone where the log goes on is always damage.
		s.segments = s.segments[:len(s.segments)-1]
		err := open.file.Truncate(0)
		open.close()
		if err != nil {
			return fmt.Errorf("cut the empty segment: %w", err)
		}
	} else if err := s.sealOpen(open); err != nil {
		return err
	}
	fault.Point("close.sealed")
	return s.writeCheckpoint(s.encodeCheckpoint(s.appended, true))
}

func (s *Store) sealOpen(seg *segment) error {
	if err := s.writeIndex(seg); err != nil {
		return err
	}
	return seg.shorten()
}
