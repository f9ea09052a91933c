package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/metaq/metaq/test/python"
)

// The Python client, and what drives it, relative to the package.
const (
	pythonSources = "../../client/python/src"
	pythonAgent   = "python/agent.py"
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
		cmd := exec.Command(python.Interpreter(t), pythonAgent, face)
		cmd.Env = append(os.Environ(), "HOME="+home, "PYTHONPATH="+sources, "PYTHONDONTWRITEBYTECODE=1")
		return startAgent(t, home, cmd)
	}
}
