// Package maven makes what tests need of a Maven project in their folder: the libraries that its pom names, and classes of its sources. Both are kept in the user's
// cache.
package maven

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaq/metaq/test/cache"
)

// ClassPath fetches and compiles what an earlier run has not. project is the folder of the pom, name that of the cache, and goals those of Maven that put jars into
// the folder ${outputDirectory}.
func ClassPath(t testing.TB, project, name string, goals ...string) string {
	t.Helper()
	pom := filepath.Join(project, "pom.xml")
	libraries := cache.Folder(t, filepath.Join(name, "lib-"+cache.Hash(t, project, pom)), func(dir string) *exec.Cmd {
		return exec.Command("mvn", append([]string{"-q", "-B", "-f", pom, "-Dmaven.main.skip=true", "-DoutputDirectory=" + dir}, goals...)...)
	})
	sources := sourcesOf(t, filepath.Join(project, "src", "main", "java"))
	jars := filepath.Join(libraries, "*")
	classes := cache.Folder(t, filepath.Join(name, "classes-"+cache.Hash(t, project, append(sources, pom)...)), func(dir string) *exec.Cmd {
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
