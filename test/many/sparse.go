package many

import (
	"bytes"

	"github.com/metaq/metaq/store/vfs"
)

// sparseFS makes large logs quickly: it syncs nothing, reserves nothing, and leaves holes where zeros are written.
type sparseFS struct{ vfs.FS }

func (f sparseFS) Create(name string) (vfs.File, error) { return sparse(f.FS.Create(name)) }
func (f sparseFS) Open(name string) (vfs.File, error)   { return sparse(f.FS.Open(name)) }
func (f sparseFS) SyncDir(string) error                 { return nil }

func sparse(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return sparseFile{file}, nil
}

type sparseFile struct{ vfs.File }

func (f sparseFile) Sync() error               { return nil }
func (f sparseFile) Allocate(size int64) error { return f.Truncate(size) }

const page = 4096

var zeroPage [page]byte

func (f sparseFile) WriteAt(b []byte, at int64) (int, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	if end := at + int64(len(b)); end > size {
		if err := f.Truncate(end); err != nil {
			return 0, err
		}
	}
	for n := 0; n < len(b); {
		m := min(page-int((at+int64(n))%page), len(b)-n)
		if part := b[n : n+m]; !bytes.Equal(part, zeroPage[:m]) {
			if _, err := f.File.WriteAt(part, at+int64(n)); err != nil {
				return n, err
			}
		}
		n += m
	}
	return len(b), nil
}
