package main

import (
	"os"
	"path/filepath"
	"testing"
)

// diskFolder is a folder on the disk of the checkout: one for temporary files may be in memory, where no cache can be dropped.
func diskFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(".", "data-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestDropCache_LeavesNothingOfAFlushedFile(t *testing.T) {
	dir := diskFolder(t)
	f, err := os.Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	cached, total, err := dropCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	if total != 8<<20 || cached > total/20 {
		t.Fatalf("%d of %d bytes are still cached", cached, total)
	}
}
