package chaos

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Planted lists the names that stand in the broker's code as fault.Point("NAME") or fault.Mutant("NAME"), in their order and each once. It looks
// from the folder of a test two below the project's root.
func Planted(t testing.TB, hook string) (names []string) {
	t.Helper()
	call := regexp.MustCompile(`fault\.` + hook + `\("([a-z_.]+)"\)`)
	for _, folder := range []string{"store", "server"} {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range call.FindAllSubmatch(text, -1) {
				names = append(names, string(m[1]))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
