package store

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/metaq/metaq/store/vfs"
)

// The reserve is room on the disk that the log keeps for itself. Removing old messages has to be written down in the log first, and so have
// the offsets of consumers; stopping writes an index and a checkpoint, and starting begins a segment. Without it a disk that is full to the
// last block would stay so although messages may go, and a broker on it could neither stop in order nor start.
//
// It is a folder with one short segment, allocated and empty, that is renamed into the log, and files that are only removed to give back
// their blocks and inodes. While the segment is in use no messages are taken; once the disk has room the reserve is made again.
const (
	reserveDir     = "reserve"
	reserveSegment = "segment"
	reserveFiles   = 8 // one of them the segment. An inode each: stopping makes up to five files, starting after it two
	// maxReserve is enough for the indexes of two segments that hold as many runs as they can, and the checkpoint of 50,000 queues.
	maxReserve = 32 << 20
)

// reserve is what a Store knows of it.
type reserve struct {
	whole bool // nothing of it is missing; guarded by mu
	spent bool // the segment is in use, and puts have to wait for another one; guarded by mu
	uses  int  // how often something was taken from it; guarded by mu
	told  bool // that it cannot be made; only for watchDisk
}

// reserveSize is how much is put aside: the index of a segment of the smallest messages has nearly half of its size.
func (s *Store) reserveSize() int64 { return min(2*s.options.LogSegmentSize, maxReserve) }

func (s *Store) reserveName(i int) string {
	if i == 0 {
		return filepath.Join(s.options.Dir, reserveDir, reserveSegment)
	}
	return filepath.Join(s.options.Dir, reserveDir, strconv.Itoa(i))
}

// keepReserve makes what is missing of the reserve, if there is room.
func (s *Store) keepReserve() {
	s.mu.Lock()
	needed, uses := !s.reserve.whole && s.failed == nil, s.reserve.uses
	s.mu.Unlock()
	if !needed {
		return
	}
	if err := s.makeReserve(); err != nil {
		if !s.reserve.told {
			s.options.Log.Warn().Err(err).Int64("bytes", s.reserveSize()).
				Msg("no room for the reserve of the log: should the disk get full, the broker may not be able to remove old messages, to stop in order and to start")
		}
		s.reserve.told = true
		return
	}
	s.reserve.told = false
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserve.uses != uses {
		return // something is missing again
	}
	s.reserve.whole, s.reserve.spent = true, false
	s.signal(s.sealC) // what there was no room for
}

func (s *Store) makeReserve() error {
	if err := s.fs.MkdirAll(s.path(reserveDir)); err != nil {
		return fmt.Errorf("make the reserve: %w", err)
	}
	size := align(s.reserveSize() / reserveFiles)
	for i := range reserveFiles {
		name := s.reserveName(i)
		switch have, err := s.fs.Stat(name); {
		case err == nil && have == size:
			continue
		case err == nil:
			if err := s.fs.Remove(name); err != nil {
				return fmt.Errorf("make the reserve: %w", err)
			}
		case !isNotExist(err):
			return fmt.Errorf("make the reserve: %w", err)
		}
		f, err := s.fs.Create(name)
		if err != nil {
			return fmt.Errorf("make the reserve: %w", err)
		}
		err = f.Allocate(size)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			s.fs.Remove(name)
			return fmt.Errorf("make the reserve: %w", err)
		}
	}
	return nil
}

// takeReserveLocked hands out the segment of the reserve, for size bytes that have to be written although there is no room, which is why.
func (s *Store) takeReserveLocked(size int64, why error) (*prepared, error) {
	if !errors.Is(why, ErrFull) {
		return nil, why
	}
	s.disk.write.begin()
	p, err := openReserve(s.fs, s.reserveName(0))
	s.disk.write.end()
	switch {
	case isNotExist(err):
		return nil, why
	case err != nil:
		return nil, fmt.Errorf("%w; and the reserve is of no use: %w", why, err)
	case size > p.size:
		p.mapping.Unmap()
		p.file.Close()
		return nil, why
	}
	s.reserve.whole, s.reserve.spent = false, true
	s.reserve.uses++
	s.refuseLocked(&FullError{Dir: s.options.Dir, Used: 100, Reserve: s.reserveSize()})
	return p, nil
}

// openReserve opens the segment that was put aside, by an earlier start perhaps. It has to be empty: what lies in it would be taken for a part
// of the log, and a copy of the directory that was made while the broker ran may have anything there.
func openReserve(fsys vfs.FS, name string) (*prepared, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := checkEmpty(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m, err := f.Map(size)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("map %s: %w", name, err)
	}
	return &prepared{name: name, file: f, mapping: m, size: size, reserve: true}, nil
}

func checkEmpty(f vfs.File) (size int64, err error) {
	if size, err = f.Size(); err != nil {
		return 0, err
	}
	if size == 0 || size != align(size) {
		return 0, fmt.Errorf("a reserve of %d bytes", size)
	}
	buf := make([]byte, 256<<10)
	for at := int64(0); at < size; at += int64(len(buf)) {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if !allZero(buf[:n]) {
			return 0, errors.New("it is not empty")
		}
	}
	return size, nil
}

// usesReserve says that frames of this kind may be written when there is no room: those that make room, and what consumers have done.
func (k kind) usesReserve() bool {
	switch k {
	case kindTrim, kindDrop, kindGap, kindOffset:
		return true
	}
	return false
}

// limitFor is how far frames of a kind may go in a segment. Consumers leave half of the reserve to what makes room.
func (g *segment) limitFor(k kind) int64 {
	if g.reserve && k == kindOffset {
		return g.limit - (g.limit-g.base)/2
	}
	return g.limit
}

// spending writes an index or a checkpoint, and gives it the files of the reserve, one after the other, if the disk has no room for it. The
// indexes of full segments have to be written once, be it now or when the store stops; without them retention removes nothing.
func (s *Store) spending(write func() error) error {
	err := write()
	for i := 1; i < reserveFiles && isNoRoom(err); i++ {
		switch removeErr := s.fs.Remove(s.reserveName(i)); {
		case isNotExist(removeErr):
			continue
		case removeErr != nil:
			return errors.Join(err, removeErr)
		}
		s.mu.Lock()
		s.reserve.whole = false
		s.reserve.uses++
		s.mu.Unlock()
		s.options.Log.Warn().Err(err).Str("file", s.reserveName(i)).Msg("the disk is full: a part of the reserve of the log is used")
		err = write()
	}
	return err
}
