package python

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/metaq/metaq/test/cache"
)

// The package, relative to this one.
const (
	project      = "../../client/python"
	requirements = project + "/requirements-test.txt"
)

// Interpreter is the Python of an environment with the tools and what the client needs for a cluster, which an earlier run may have made. Tools are run as its
// modules: scripts of an environment hold the path at which it was made. The test's package has to be beside this one.
func Interpreter(t testing.TB) string {
	t.Helper()
	folder := cache.Folder(t, filepath.Join("metaq-python", "tools-"+cache.Hash(t, project, requirements)), func(dir string) *exec.Cmd {
		return exec.Command("sh", "-c", `python3 -m venv "$0" && "$0/bin/python" -m pip install -q -r "$1"`, dir, requirements)
	})
	return filepath.Join(folder, "bin", "python")
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
