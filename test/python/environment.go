package python

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

// The package, relative to this one.
const (
	project      = "../../client/python"
	requirements = project + "/requirements-test.txt"
)

var making sync.Mutex // of interpreter, for tests that run beside each other

// interpreter is the Python of an environment with the tools, which an earlier run may have made. Tools are run as its modules: scripts of an
// environment hold the path at which it was made.
func interpreter(t testing.TB) string {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	wanted, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, "metaq-python", fmt.Sprintf("tools-%x", sha256.Sum256(wanted))[:22])
	inside := filepath.Join(folder, "bin", "python")
	if _, err := os.Stat(folder); err == nil {
		return inside
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	half, err := os.MkdirTemp(filepath.Dir(folder), "half-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(half)
	environment(t, half)
	run(t, "", nil, filepath.Join(half, "bin", "python"), "-m", "pip", "install", "-q", "-r", requirements)
	if err := os.Rename(half, folder); err != nil && !errors.Is(err, fs.ErrExist) { // another run may have been first
		t.Fatal(err)
	}
	return inside
}

// environment makes a virtual environment with nothing but pip in it.
func environment(t testing.TB, folder string) {
	t.Helper()
	run(t, "", nil, "python3", "-m", "venv", folder)
}

// run runs a command in a folder, with more variables of the environment, and returns what it wrote. A failure ends the test.
func run(t testing.TB, folder string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v (scripts/test-setup.sh installs what it needs)\n%s", cmd, err, out)
	}
	return string(out)
}
