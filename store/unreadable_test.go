package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

// unreadable is a file system whose disk cannot read what lies behind the first page of a segment: its mapping faults there.
type unreadable struct{ vfs.FS }

func (u unreadable) OpenRead(name string) (vfs.File, error) {
	f, err := u.FS.OpenRead(name)
	if err != nil || filepath.Ext(name) != ".log" {
		return f, err
	}
	return unreadableFile{f, name}, nil
}

type unreadableFile struct {
	vfs.File
	name string
}

func (f unreadableFile) Map(length int64) (vfs.Mapping, error) {
	m, err := f.File.Map(length)
	if err == nil {
		err = os.Truncate(f.name, 4096)
	}
	return m, err
}

// A start that meets a part of the disk that cannot be read says where, instead of ending with the signal that the kernel sends.
func TestOpen_TheDiskCannotRead(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(vfs.OS(), groupCommit)
	o.Dir = dir
	s := mustOpen(t, o)
	want := numbered(0, 400)
	put(t, s, mustQueue(t, s, "t", 0), want...)
	killed := func(readOnly bool) Options {
		o.Dir, o.FS, o.ReadOnly = t.TempDir(), unreadable{vfs.OS()}, readOnly
		if err := os.CopyFS(o.Dir, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return o
	}
	_, err := Open(killed(false))
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || filepath.Ext(corrupt.File) != ".log" || corrupt.Offset == 0 || corrupt.Offset > 4096 || !strings.Contains(err.Error(), "cannot read") {
		t.Fatalf("open: %v", err)
	}
	s = mustOpen(t, killed(true))
	got := bodies(t, s.Queue([]byte("t"), 0), 0)
	if len(got) == 0 || len(got) == len(want) {
		t.Fatalf("%d messages of %d can be read", len(got), len(want))
	}
	equal(t, "what lies before", got, want[:len(got)])
}
