// Package cache keeps what tests make once for all of their runs, such as libraries that are fetched: in the user's cache, under the hash of what it was made of.
package cache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var making sync.Mutex // for tests that run beside each other

// Folder returns a folder that a command fills, and has it filled if it is not there yet. It is there whole or not at all. The command fills another folder first,
// so nothing in it may hold its path.
func Folder(t testing.TB, name string, command func(dir string) *exec.Cmd) string {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, name)
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	half, err := os.MkdirTemp(filepath.Dir(folder), "half-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(half)
	cmd := command(half)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v (scripts/test-setup.sh installs what it needs)\n%s", cmd, err, out)
	}
	if err := os.Rename(half, folder); err != nil && !errors.Is(err, fs.ErrExist) { // another run may have been first
		t.Fatal(err)
	}
	return folder
}

// Hash is that of files, with their names below a folder.
func Hash(t testing.TB, below string, files ...string) string {
	t.Helper()
	h := sha256.New()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(below, f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}
