package interop

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The Maven project, relative to the package.
const (
	project   = "java"
	pom       = "pom.xml"
	sources   = "src/main/java/com/github/metaq/interop"
	resources = "src/main/resources"
)

// classPath fetches the client and compiles the agent, unless an earlier run has. Both are kept in the user's cache, under the hash of what they
// were made of.
func classPath(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "metaq-interop")
	pomFile := filepath.Join(project, pom)
	libraries := made(t, filepath.Join(cache, "lib-"+hash(t, pomFile)), func(dir string) *exec.Cmd {
		return exec.Command("mvn", "-q", "-B", "-f", pomFile, "dependency:copy-dependencies", "-DoutputDirectory="+dir)
	})
	files, err := filepath.Glob(filepath.Join(project, sources, "*.java"))
	if err != nil || len(files) == 0 {
		t.Fatalf("sources of the agent: %q, %v", files, err)
	}
	jars := filepath.Join(libraries, "*")
	classes := made(t, filepath.Join(cache, "classes-"+hash(t, append(files, pomFile)...)), func(dir string) *exec.Cmd {
		return exec.Command("javac", append([]string{"-nowarn", "-encoding", "UTF-8", "-cp", jars, "-d", dir}, files...)...)
	})
	settings, err := filepath.Abs(filepath.Join(project, resources))
	if err != nil {
		t.Fatal(err)
	}
	return classes + ":" + settings + ":" + jars
}

// made returns a folder that a command fills, and has it filled if it is not there yet. It is there whole or not at all.
func made(t testing.TB, folder string, command func(dir string) *exec.Cmd) string {
	t.Helper()
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

func hash(t testing.TB, files ...string) string {
	t.Helper()
	h := sha256.New()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %d\n%s", filepath.Base(f), len(text), text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}
