//go:build !linux

package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
)

// Sync is the fsync of package os.
func (f *osFile) Sync() error { return f.File.Sync() }

// WriteOut leaves it to Sync: few systems have a call for that.
func (f *osFile) WriteOut(offset, length int64) error { return nil }

// Allocate grows the file without reserving its blocks: few systems have a call for that.
func (f *osFile) Allocate(size int64) error {
	now, err := f.Size()
	if err != nil || now >= size {
		return err
	}
	return f.Truncate(size)
}

func (m *osMapping) Advise(offset, length int64) {}

func (m *osMapping) Load(offset, length int64) {}

func (m *osMapping) Prefetch(offset, length int64) {}

func (m *osMapping) Cached(offset, length int64) int64 { return length }

func (f *osFile) Uncache() {}

func (osFS) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be opened for it; names are journaled
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (osFS) Lock(name string) (io.Closer, error) {
	return nil, fmt.Errorf("lock %s on %s: %w", name, runtime.GOOS, errors.ErrUnsupported)
}

func (osFS) Free(dir string) (free, total int64, err error) {
	return 0, 0, fmt.Errorf("free space of %s on %s: %w", dir, runtime.GOOS, errors.ErrUnsupported)
}
