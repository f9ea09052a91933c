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

// builds holds the binaries that were built, by their tags.
var builds struct {
	sync.Mutex
	done map[string]*built
}

type built struct {
	name string
	err  error
}

func build(tags string) (string, error) {
	builds.Lock()
	defer builds.Unlock()
	b := builds.done[tags]
	if b == nil {
		if builds.done == nil {
			builds.done = map[string]*built{}
		}
		b = &built{name: filepath.Join(folder, fmt.Sprintf("metaq%d", len(builds.done)))}
		builds.done[tags] = b
		cmd := exec.Command("go", "build", "-tags", tags, "-o", b.name, "github.com/metaq/metaq/tools/metaq")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build metaq: %w\n%s", err, out)
		}
	}
	return b.name, b.err
}

// Binary returns the path of the metaq binary, built from the present source with these tags ("" for none).
func Binary(t testing.TB, tags string) string {
	t.Helper()
	DependOnSource(t)
	if folder == "" {
		t.Fatal("TestMain of this package has to call process.Main")
	}
	name, err := build(tags)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
