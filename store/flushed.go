package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// The file flushed says up to where the log was safe on disk, as of the last second or so. Frames say the same of what lies before them,
// but nothing lies behind the last one: without this file an end of the log that is lost at the boundary of a frame looks like a log that
// ends there. FORMAT.md draws it.
const (
	flushedName = "flushed"
	flushedMark = "MQFLU\x00\x00\x01"
	flushedSize = 20
)

// noteEvery bounds what the file is behind by. A busy log writes 20 bytes so often, a quiet one nothing.
const noteEvery = time.Second

func encodeFlushed(pos int64, x salt) []byte {
	b := append(make([]byte, 0, flushedSize), flushedMark...)
	b = le.AppendUint64(b, uint64(pos))
	return le.AppendUint32(b, x.seal(crc32.Checksum(b, castagnoli)))
}

// readFlushed gives what the file says, 0 if there is none. The error is a *CorruptError if a power cut has torn it or somebody changed it;
// it then says nothing.
func readFlushed(fsys vfs.FS, name string, x salt) (int64, error) {
	b, err := fsys.ReadFile(name)
	switch {
	case isNotExist(err):
		return 0, nil
	case err != nil:
		return 0, err
	case len(b) != flushedSize || string(b[:8]) != flushedMark || le.Uint32(b[16:]) != x.seal(crc32.Checksum(b[:16], castagnoli)):
		return 0, &CorruptError{File: name, Reason: "a checksum that does not match"}
	}
	return int64(le.Uint64(b[8:])), nil
}

// loadFlushed is what a start knows of the end of the log. A file that says nothing proves nothing.
func (s *Store) loadFlushed() error {
	var err error
	s.noted, err = readFlushed(s.fs, s.path(flushedName), s.salt)
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		s.options.Log.Warn().Err(err).Msg("it is not known up to where the log was flushed; taking its end as it is")
		return nil
	}
	return err
}

// endsEarly: nothing is wrong with what is there, but the log has been longer.
func (s *Store) endsEarly(tail []*segment) error {
	bad := &CorruptError{File: s.path(checkpointName)}
	if len(tail) > 0 {
		last := tail[len(tail)-1]
		bad.File, bad.Offset = last.name, s.appended-last.base
	}
	bad.Reason = fmt.Sprintf("the log ends here at position %d, but it was flushed up to %d. Nothing was changed. Restore the file, or see `metaq check --repair`",
		s.appended, s.noted)
	return bad
}

// noter keeps the file up to date. Each position was flushed before it is written here, so a write that a power cut takes, or that fails,
// only makes the file say less: it is neither synced nor does anything wait for it.
func (s *Store) noter() {
	defer s.workersOff.Done()
	n := &flushedNote{store: s, name: s.path(flushedName), noted: -1}
	defer n.close()
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	told, last := false, false
	for {
		err := n.write(s.flushed.Load())
		if last {
			return
		}
		if err != nil && !told {
			s.options.Log.Warn().Err(err).Msg("cannot write down up to where the log is flushed: a loss of its end may go unnoticed")
		}
		told = err != nil
		select {
		case <-tick.C:
		case <-s.quit:
			last = true // what cannot be sealed has no other witness
		}
	}
}

// flushedNote is the file as the noter has it.
type flushedNote struct {
	store *Store
	name  string
	file  vfs.File // nil until it could be opened
	noted int64
}

func (n *flushedNote) write(pos int64) error {
	if pos == n.noted {
		return nil
	}
	if n.file == nil {
		var err error
		if n.file, err = n.store.openFlushed(n.name); err != nil {
			return err
		}
	}
	if _, err := n.file.WriteAt(encodeFlushed(pos, n.store.salt), 0); err != nil {
		return fmt.Errorf("write %s: %w", n.name, err)
	}
	n.noted = pos
	return nil
}

func (n *flushedNote) close() {
	if n.file != nil {
		n.file.Close()
	}
}

// openFlushed opens the file. A new one, or one that somebody cut, is put in place whole.
func (s *Store) openFlushed(name string) (vfs.File, error) {
	if size, err := s.fs.Stat(name); err != nil || size != flushedSize {
		if err := writeFile(s.fs, name, encodeFlushed(s.flushed.Load(), s.salt)); err != nil {
			return nil, err
		}
	}
	return s.fs.Open(name)
}
