package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// repair does what the findings say. Each file is copied into the folder aside before it is changed; an error leaves the rest as it is,
// and the next repair goes on from there.
func (c *checker) repair() error {
	for _, f := range c.report.Findings {
		if f.fix == nil {
			continue
		}
		if err := f.fix(); err != nil {
			return fmt.Errorf("repair %s: %w", f.File, err)
		}
	}
	return nil
}

// keep copies a file into the folder aside, once. A file that is not there needs no copy.
func (c *checker) keep(name string) error {
	if c.kept[name] {
		return nil
	}
	from, err := c.FS.OpenRead(name)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	dir := c.path("aside")
	if err := c.FS.MkdirAll(dir); err != nil {
		return err
	}
	copyName := filepath.Join(dir, filepath.Base(name)+".damaged")
	to, err := c.FS.Create(copyName)
	for n := 2; errors.Is(err, fs.ErrExist); n++ {
		to, err = c.FS.Create(fmt.Sprintf("%s.%d", copyName, n))
	}
	if err != nil {
		return fmt.Errorf("keep a copy aside: %w", err)
	}
	err = copyFile(to, from)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("keep a copy aside: %w", err)
	}
	if err := c.FS.SyncDir(dir); err != nil {
		return err
	}
	c.kept[name] = true
	return nil
}

// copyFile copies what can be read; pages that the disk does not give any more become zeros.
func copyFile(to io.WriterAt, from interface {
	io.ReaderAt
	Size() (int64, error)
}) error {
	size, err := from.Size()
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	step := int64(len(buf))
	for at := int64(0); at < size; {
		b := buf[:min(step, size-at)]
		switch n, err := from.ReadAt(b, at); {
		case n == len(b):
			step = int64(len(buf))
		case step > 4096:
			step = 4096 // find the bad page
			continue
		default:
			if err == nil || errors.Is(err, io.EOF) {
				return fmt.Errorf("read at %d: %w", at, io.ErrUnexpectedEOF)
			}
			clear(b[n:])
		}
		if _, err := to.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}

// replace puts new contents into a whole file.
func (c *checker) replace(name string, data []byte) error {
	if err := c.keep(name); err != nil {
		return err
	}
	return writeFile(c.FS, name, data)
}

func (c *checker) moveAside(name string) error {
	if err := c.keep(name); err != nil {
		return err
	}
	if err := c.FS.Remove(name); err != nil {
		return err
	}
	return c.FS.SyncDir(filepath.Dir(name))
}

// strike takes a missing segment out of the checkpoints.
func (c *checker) strike(base int64) error {
	c.struck[base] = true
	for name, p := range map[string]*checkpoint{checkpointName: cmp.Or(c.last, c.prev), checkpointPrev: c.prev} {
		if p != nil && slices.Contains(p.segments, base) {
			if err := c.replace(c.path(name), c.encode(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxFill bounds the size of one frame that a repair writes.
const maxFill = 1 << 30

// fill writes frames of kind lost over a damaged place.
func (c *checker) fill(f *fill) error {
	name := segmentName(c.Dir, f.base)
	if err := c.keep(name); err != nil {
		return err
	}
	epoch := uint32(1)
	if c.point != nil {
		epoch = max(epoch, c.point.epoch)
	}
	var data []byte
	list := f.list
	for pos := f.from; pos < f.to; {
		size := f.to - pos
		if size > maxFill+frameHeader {
			size = maxFill
		}
		data = append(data, lostFrame(pos, size, epoch, time.Now().UnixMilli(), list, c.salt)...)
		pos, list = pos+size, nil
	}
	if f.create {
		return writeFile(c.FS, name, data)
	}
	file, err := c.FS.Open(name)
	if err != nil {
		return err
	}
	if _, err = file.WriteAt(data, f.from-f.base); err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
