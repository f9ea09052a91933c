package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The Python client, what it needs for a cluster, and what drives it, relative to the package.
const (
	pythonSources = "../../client/python/src"
	pythonAgent   = "python/agent.py"
	pythonNeeds   = "python/requirements.txt"
)

// The faces of the Python client.
const (
	blocking = "blocking"
	asyncio  = "asyncio"
)

// pythonStarts makes what runs agents in Python that use one face.
func pythonStarts(face string) func(t testing.TB, home string) *agent {
	return func(t testing.TB, home string) *agent {
		t.Helper()
		sources, err := filepath.Abs(pythonSources)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(interpreter(t), pythonAgent, face)
		cmd.Env = append(os.Environ(), "HOME="+home, "PYTHONPATH="+sources, "PYTHONDONTWRITEBYTECODE=1")
		return startAgent(t, home, cmd)
	}
}

// interpreter is the Python of a virtual environment with what the client needs, which is made unless an earlier run has, as classPath does.
func interpreter(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	environment := made(t, filepath.Join(cache, "metaq-interop", "python-"+hash(t, pythonNeeds)), func(dir string) *exec.Cmd {
		return exec.Command("sh", "-c", `python3 -m venv "$0" && "$0/bin/python" -m pip install --quiet --requirement "$1"`, dir, pythonNeeds)
	})
	return filepath.Join(environment, "bin", "python")
}
