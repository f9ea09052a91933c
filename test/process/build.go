package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// folder is where the binary is built; Main makes and removes it.
var folder string

// Main runs the tests of a package and removes the binary that Binary built for them. It returns the exit code.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "metaq-process-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "folder for the binary:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	folder = dir
	return m.Run()
}

var build = sync.OnceValues(func() (string, error) {
	name := filepath.Join(folder, "metaq")
	cmd := exec.Command("go", "build", "-o", name, "github.com/metaq/metaq/tools/metaq")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build metaq: %w\n%s", err, out)
	}
	return name, nil
})

// Binary returns the path of the metaq binary, built from the present source.
func Binary(t testing.TB) string {
	t.Helper()
	if folder == "" {
		t.Fatal("TestMain of this package has to call process.Main")
	}
	name, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return name
}
