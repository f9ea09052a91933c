package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/metaq/metaq/store/vfs"
)

// After a sync that has failed the kernel takes pages for clean that the disk does not have. A start reads them from memory, and its own syncs
// find nothing to write: what it serves would be gone with the next power cut. So a file says that it has happened, and the next start writes all
// that it reads once more. The file is not synced, because a power cut that takes it takes those pages too.
const unsyncedName = "unsynced"

// noteFailedSync has the next start write again what it reads.
func (s *Store) noteFailedSync() {
	f, err := s.fs.Create(s.path(unsyncedName))
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		s.options.Log.Error().Err(err).Msg("cannot note that a sync has failed: restart the machine, not only the broker, or what was not synced may be lost later")
	}
}

// forgetFailedSync comes when everything is synced again.
func (s *Store) forgetFailedSync() error {
	if err := s.fs.Remove(s.path(unsyncedName)); err != nil && !isNotExist(err) {
		return fmt.Errorf("forget a sync that had failed: %w", err)
	}
	return nil
}

// writeAgain writes what a file holds over itself.
func writeAgain(f vfs.File) error {
	buf := make([]byte, 256<<10)
	for at := int64(0); ; {
		n, err := f.ReadAt(buf, at)
		if _, werr := f.WriteAt(buf[:n], at); werr != nil {
			return werr
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
