package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/edsrzf/mmap-go"
)

// Messages are nobody's business but the broker's and its group's.
const (
	filePerm = 0o640
	dirPerm  = 0o750
)

// OS returns the file system of the machine. It is complete on Linux; elsewhere Lock and Free are unsupported, so that
// tools can read a data directory but no broker runs on one.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Open(name string) (File, error) { return openOS(name, os.O_RDWR) }

func (osFS) OpenRead(name string) (File, error) { return openOS(name, os.O_RDONLY) }

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, filePerm)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (o osFS) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("make directory %s: a file has this name", dir)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := o.MkdirAll(parent); err != nil {
			return err
		}
	}
	// Another process may have made it meanwhile; its entry must be safe all the same.
	if err := os.Mkdir(dir, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return o.SyncDir(parent)
}

func (osFS) Stat(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (osFS) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// osFile adds to *os.File what its system has of its own: Sync and Allocate are in the files of the systems.
type osFile struct{ *os.File }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Map(length int64) (Mapping, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if err := checkMap(f.Name(), length, size); err != nil {
		return nil, err
	}
	m, err := mmap.MapRegion(f.File, int(length), mmap.RDONLY, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	return &osMapping{name: f.Name(), m: m}, nil
}

type osMapping struct {
	name  string
	m     mmap.MMap
	large sync.Once   // the first Load
	small atomic.Bool // Load does without large pages
}

func (m *osMapping) Bytes() []byte { return m.m }

func (m *osMapping) Unmap() error {
	if m.m == nil {
		return fmt.Errorf("unmap %s: %w", m.name, fs.ErrClosed)
	}
	if err := m.m.Unmap(); err != nil {
		return fmt.Errorf("unmap %s: %w", m.name, err)
	}
	return nil
}
