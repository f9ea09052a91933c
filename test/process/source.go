package process

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// DependOnSource makes a test depend on every source file of the module, for a test that runs what was built from them or asks the go command
// about them. `go test` sees neither, and would repeat a result from its cache after the source has changed; what it sees is that a test lists a
// folder, and it compares names, sizes and times of what is in there.
func DependOnSource(t testing.TB) {
	t.Helper()
	if err := listSource(); err != nil {
		t.Fatalf("list the source: %v", err)
	}
}

var listSource = sync.OnceValue(func() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || name == root {
			return err
		}
		// Hidden folders hold no source, bin and data are of one who works here.
		if below := name[len(root)+1:]; strings.HasPrefix(d.Name(), ".") || below == "bin" || below == "data" {
			return filepath.SkipDir
		}
		return nil
	})
})

// moduleRoot is the folder of the next go.mod upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err = os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir, err = parent, nil
		}
	}
	return "", err
}
