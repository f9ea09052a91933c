package python

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaq/metaq/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// tool runs a tool over the package.
func tool(t *testing.T, env []string, args ...string) string {
	t.Helper()
	src, err := filepath.Abs(filepath.Join(project, "src"))
	if err != nil {
		t.Fatal(err)
	}
	return run(t, project, append(env, "PYTHONPATH="+src, "PYTHONDONTWRITEBYTECODE=1"), Interpreter(t), append([]string{"-m"}, args...)...)
}

func TestStyle(t *testing.T) {
	t.Parallel()
	tool(t, nil, "ruff", "check", "--no-cache", ".")
	tool(t, nil, "ruff", "format", "--no-cache", "--check", ".")
}

func TestTypes(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	tool(t, nil, "mypy", "--cache-dir", cache, "src") // as of the oldest Python, see pyproject.toml
	// What the tests import is written for newer ones.
	tool(t, nil, "mypy", "--cache-dir", cache, "--python-version", "3.11", "tests")
}

// Only newer Pythons are on most machines, so that older ones can run it is seen from the source.
func TestOldestPython(t *testing.T) {
	t.Parallel()
	tools := Interpreter(t)
	run(t, project, nil, tools, filepath.Join(filepath.Dir(tools), "vermin"), "--quiet", "--no-tips", "--violations", "--eval-annotations", "--target=3.9-", "src")
}

func TestPython(t *testing.T) {
	t.Parallel()
	args := []string{"pytest", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=120", "--durations=5"}
	t.Log(tool(t, []string{"TEST_METAQ=" + process.Binary(t, "")}, args...))
}

// program is what somebody writes who has installed the wheel.
const program = `
import sys
import metaq

address: str = sys.argv[1]
with metaq.Producer(address) as producer:
    receipt: metaq.Receipt = producer.send("wheel", "hello")
with metaq.Consumer(address, "wheel", ["wheel"]) as consumer:
    message = consumer.poll(20)
    assert message is not None
    print(message.text, receipt.offset, sorted(m for m in sys.modules if "." not in m and m in ("kazoo", "pytest", "attr")))
`

func TestWheel(t *testing.T) {
	t.Parallel()
	tools, folder := Interpreter(t), t.TempDir()
	// Building writes beside the sources.
	sources := filepath.Join(folder, "sources")
	if err := os.CopyFS(sources, os.DirFS(project)); err != nil {
		t.Fatal(err)
	}
	run(t, folder, nil, tools, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "wheels", sources)
	wheels, err := filepath.Glob(filepath.Join(folder, "wheels", "*.whl"))
	if err != nil || len(wheels) != 1 || !strings.HasSuffix(wheels[0], "-py3-none-any.whl") {
		t.Fatalf("wheels: %q, %v", wheels, err)
	}
	clean := filepath.Join(folder, "clean")
	environment(t, clean)
	python := filepath.Join(clean, "bin", "python")
	run(t, folder, nil, python, "-m", "pip", "install", "-q", "--no-index", wheels[0])

	broker := process.Start(t, process.Options{})
	script := filepath.Join(folder, "program.py")
	if err := os.WriteFile(script, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := run(t, folder, nil, python, script, broker.Addr), "hello 0 []\n"; got != want {
		t.Errorf("a program with the wheel prints %q, want %q", got, want)
	}
	if got, want := run(t, folder, nil, python, "-m", "metaq", "get", "wheel", "--broker", broker.Addr), "hello\n"; got != want {
		t.Errorf("python -m metaq get prints %q, want %q", got, want)
	}
	// The types come with it.
	run(t, folder, nil, tools, "-m", "mypy", "--strict", "--cache-dir", t.TempDir(), "--python-executable", python, script)
}
