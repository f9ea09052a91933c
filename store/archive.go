package store

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"

	"github.com/metaq/metaq/store/vfs"
)

// archive copies the virtual segments of a queue between two offsets to files of their own, in the folder archive: stored records one
// after the other, in a file named like the original's segment. It returns once they are durable; only then are they deleted.
func (s *Store) archive(q *Queue, from, to int64, zipped bool) error {
	s.mu.Lock()
	bounds := []int64{from}
	for _, st := range q.starts {
		if st.offset > from && st.offset < to {
			bounds = append(bounds, st.offset)
		}
	}
	s.mu.Unlock()
	bounds = append(bounds, to)
	dir := filepath.Join(s.path("archive"), fmt.Sprintf("%s-%d", q.topic, q.partition))
	if err := s.fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("make the archive folder: %w", err)
	}
	for i := range len(bounds) - 1 {
		if err := s.archiveSegment(q, dir, bounds[i], bounds[i+1], zipped); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) archiveSegment(q *Queue, dir string, from, to int64, zipped bool) (err error) {
	meta := fmt.Sprintf("%020d.meta", from)
	name := filepath.Join(dir, meta+".arc")
	if zipped {
		name = filepath.Join(dir, meta+".zip")
	}
	tmp := name + ".tmp"
	if err := s.fs.Remove(tmp); err != nil && !isNotExist(err) {
		return err
	}
	f, err := s.fs.Create(tmp)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	w := &appender{f: f}
	if zipped {
		z := zip.NewWriter(w)
		var entry io.Writer
		if entry, err = z.Create(meta); err == nil {
			err = errors.Join(s.copyRecords(entry, dir, q, from, to), z.Close())
		}
	} else {
		err = s.copyRecords(w, dir, q, from, to)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	if err := s.fs.Rename(tmp, name); err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	return s.fs.SyncDir(dir)
}

// copyRecords goes around a run that is damaged: what its place holds is kept in a file of its own in dir.
func (s *Store) copyRecords(w io.Writer, dir string, q *Queue, from, to int64) error {
	var buf []byte
	for from < to {
		var err error
		buf, err = q.Read(buf[:0], from, int(min(to-from, 1<<20)), 1<<20, false)
		var moved *MovedError
		if errors.As(err, &moved) && moved.Offset > from {
			from = moved.Offset // a gap
			continue
		}
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			if from, err = s.archiveDamaged(corrupt, dir, q, from); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		whole := wholeRecords(buf)
		if whole == 0 {
			// One record larger than the buffer: ask for all of it.
			if buf, err = q.Read(buf[:0], from, int(to-from), 1, false); err != nil {
				return err
			}
			whole = wholeRecords(buf)
		}
		if _, err := w.Write(buf[:whole]); err != nil {
			return err
		}
		from += int64(whole)
	}
	return nil
}

// archiveDamaged keeps the bytes of a damaged run, frame and all, as they are, and returns the offset behind it. What cannot be read at
// all is an error: the disk may give it again, or somebody restores the file.
func (s *Store) archiveDamaged(cause *CorruptError, dir string, q *Queue, offset int64) (next int64, err error) {
	e, raw := q.rawRun(offset)
	if raw == nil {
		return 0, cause
	}
	name := filepath.Join(dir, fmt.Sprintf("%020d.damaged", e.logical))
	if err := writeFile(s.fs, name, raw); err != nil {
		return 0, fmt.Errorf("archive: %w", err)
	}
	s.archivedDamaged.Add(1)
	s.options.Log.Error().Err(cause).Str("kept", name).Int64("messages", int64(e.count)).
		Msg("retention goes around a damaged place: its messages are in no archive, its bytes are kept")
	return e.logical + int64(e.bytes), nil
}

// rawRun copies what is in the place of the run that holds an offset, its frame included; nil if nobody knows the place or it cannot be read.
func (q *Queue) rawRun(offset int64) (e entry, raw []byte) {
	var f found
	defer f.unpin()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer onFault(func() { raw = nil })
	if err := q.find(&f, offset, false); err != nil {
		return e, nil
	}
	e = f.runs.at(f.n)
	if f.pinSegment(q.store, e.pos, false) != nil {
		return e, nil
	}
	return e, bytes.Clone(f.segment.records(e.pos-frameHeader, frameHeader+int64(e.bytes)))
}

// wholeRecords is how many bytes of b are whole stored records.
func wholeRecords(b []byte) int {
	n := int64(0)
	for n < int64(len(b)) {
		size := recordSize(b[n:])
		if n+size > int64(len(b)) {
			break
		}
		n += size
	}
	return int(n)
}

// appender writes to the end of a file.
type appender struct {
	f  vfs.File
	at int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.f.WriteAt(p, a.at)
	a.at += int64(n)
	return n, err
}
