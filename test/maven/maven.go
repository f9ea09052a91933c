// Package maven makes what tests need of a Maven project in their folder: the libraries that its pom names, and classes of its sources. Both are kept in the user's
// cache, under the hash of what they were made of.
package maven

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ClassPath fetches and compiles what an earlier run has not. project is the folder of the pom, name that of the cache, and goals those of Maven that put jars into
// the folder ${outputDirectory}.
func ClassPath(t testing.TB, project, name string, goals ...string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, name)
	pom := filepath.Join(project, "pom.xml")
	libraries := made(t, filepath.Join(cache, "lib-"+hash(t, project, pom)), func(dir string) *exec.Cmd {
		return exec.Command("mvn", append([]string{"-q", "-B", "-f", pom, "-Dmaven.main.skip=true", "-DoutputDirectory=" + dir}, goals...)...)
	})
	sources := sourcesOf(t, filepath.Join(project, "src", "main", "java"))
	jars := filepath.Join(libraries, "*")
	classes := made(t, filepath.Join(cache, "classes-"+hash(t, project, append(sources, pom)...)), func(dir string) *exec.Cmd {
		return exec.Command("javac", append([]string{"-nowarn", "-encoding", "UTF-8", "-cp", jars, "-d", dir}, sources...)...)
	})
	settings, err := filepath.Abs(filepath.Join(project, "src", "main", "resources"))
	if err != nil {
		t.Fatal(err)
	}
	return classes + ":" + settings + ":" + jars
}

func sourcesOf(t testing.TB, folder string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".java") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("sources in %s: %q, %v", folder, files, err)
	}
	return files
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

func hash(t testing.TB, project string, files ...string) string {
	t.Helper()
	h := sha256.New()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(project, f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}
