package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
		cmd := exec.Command("python3", pythonAgent, face)
		cmd.Env = append(os.Environ(), "HOME="+home, "PYTHONPATH="+pythonPath(t))
		return startAgent(t, home, cmd)
	}
}

// pythonPath fetches what the client needs, unless an earlier run has, as classPath does.
func pythonPath(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	libraries := made(t, filepath.Join(cache, "metaq-interop", "python-"+hash(t, pythonNeeds)), func(dir string) *exec.Cmd {
		return exec.Command("python3", "-m", "pip", "install", "--quiet", "--target", dir, "--requirement", pythonNeeds)
	})
	sources, err := filepath.Abs(pythonSources)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join([]string{sources, libraries}, string(filepath.ListSeparator))
}
