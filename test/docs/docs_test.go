package docs

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/metaq/metaq/test/process"
)

const root = "../.."

// pages are all pages of the repository, by their path below its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	process.DependOnSource(t)
	texts := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path) // both are relative
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || name == "bin"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		b, err := os.ReadFile(path)
		texts[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 15 {
		t.Fatalf("only %d pages", len(texts))
	}
	return texts
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the headings of a page as links name them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		found[strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return found
}

// brokenLinks are the links of a page to what is not there. read gives another page.
func brokenLinks(name, text string, read func(name string) (string, error)) (broken []string) {
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
			continue
		}
		path, anchor, _ := strings.Cut(m[1], "#")
		target := text
		if path != "" {
			var err error
			if target, err = read(filepath.Join(filepath.Dir(name), path)); err != nil {
				broken = append(broken, fmt.Sprintf("%s: %v", m[1], err))
				continue
			}
		}
		if anchor != "" && !anchors(target)[anchor] {
			broken = append(broken, m[1]+": there is no such heading")
		}
	}
	return broken
}

func TestLinks(t *testing.T) {
	read := func(name string) (string, error) {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.IsDir() {
			return "", err
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		return string(b), err
	}
	for name, text := range pages(t) {
		for _, b := range brokenLinks(name, text, read) {
			t.Errorf("%s links to %s", name, b)
		}
	}
}

func TestLinks_CheckerFindsMistakes(t *testing.T) {
	read := func(name string) (string, error) {
		if name != "docs/there.md" {
			return "", fmt.Errorf("%s: %w", name, os.ErrNotExist)
		}
		return "## A slow or *stuck* disk\n", nil
	}
	text := "[a](there.md) [b](there.md#a-slow-or-stuck-disk) [c](https://x.org/) [d](#here)\n# Here\n [e](there.md#else) [f](../gone.md) [g](#gone)"
	want := "there.md#else: there is no such heading; ../gone.md: gone.md: file does not exist; #gone: there is no such heading"
	if got := strings.Join(brokenLinks("docs/x.md", text, read), "; "); got != want {
		t.Errorf("the broken links are\n%s\nwant\n%s", got, want)
	}
}

// Targets that a page names are targets of the Makefile, and its list of them is readable.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	// In code alone: "make sure" is no target.
	named := regexp.MustCompile("(?m)(?:`|^    )make ([a-z0-9-]+)")
	found := 0
	for name, text := range pages(t) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			found++
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
				t.Errorf("%s names make %s, which is no target", name, m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d targets were found in the pages", found)
	}
}

// A test that somebody is told to run is where they are told; with another name `go test` passes with nothing done.
func TestGoTestCommands(t *testing.T) {
	texts := pages(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	texts["Makefile"] = string(makefile)
	command := regexp.MustCompile(`(?m)test .*-run (Test\w+) \./(\S+)`)
	found := 0
	for name, text := range texts {
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			found++
			files, err := filepath.Glob(filepath.Join(root, m[2], "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(files, func(file string) bool {
				b, err := os.ReadFile(file)
				return err == nil && strings.Contains(string(b), "\nfunc "+m[1])
			}) {
				t.Errorf("%s names %s of %s, which has no such test", name, m[1], m[2])
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d commands were found", found)
	}
}

// Metrics that the pages name for alarms are told by the broker and the shipper.
func TestMetrics(t *testing.T) {
	known := map[string]bool{}
	for prefix, file := range map[string]string{"metaq_": "server/metrics.go", "metaq_ship_": "tools/ship/metrics.go"} {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`desc\("(\w+)"`).FindAllStringSubmatch(string(b), -1) {
			known[prefix+m[1]] = true
		}
	}
	found := 0
	for name, text := range pages(t) {
		for _, m := range regexp.MustCompile("`(metaq_\\w+)").FindAllStringSubmatch(text, -1) {
			found++
			if !known[m[1]] {
				t.Errorf("%s names the metric %s, which is none", name, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d metrics were found in the pages", found)
	}
}

// prelude declares what the examples take for given. Each example is a function of its own.
const prelude = `package example

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/offsetfile"
	"github.com/metaq/metaq/client/offsetsql"
)

var (
	ctx       context.Context
	addr      string
	logger    *slog.Logger
	yesterday time.Time
	store     client.OffsetStore
	consumer  *client.Consumer
	pool      interface{ Submit(body []byte, done func(err error)) }
)

func example() {
%s
}
`

var fencedGo = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestGoExamples checks the types of every block of Go. What is declared and not used, and declared again, is left to the reader.
func TestGoExamples(t *testing.T) {
	imports := exports(t)
	found := 0
	for name, text := range pages(t) {
		for _, m := range fencedGo.FindAllStringSubmatch(text, -1) {
			found++
			if err := checkGo(m[1], imports); err != nil {
				t.Errorf("%s has an example that does not compile:\n%s\n%v", name, m[1], err)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d examples were found", found)
	}
	if err := checkGo(`c, err := client.NewConsumer(addr, "g", "topic")`, imports); err == nil {
		t.Error("an example with a wrong argument passes")
	}
	if err := checkGo("producer.Sent()", imports); err == nil {
		t.Error("an example with an unknown name passes")
	}
}

func checkGo(text string, imports types.Importer) error {
	if !strings.HasPrefix(text, "package ") {
		text = fmt.Sprintf(prelude, strings.ReplaceAll(text, "\t...\n", ""))
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "example.go", text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	var errs []error
	config := types.Config{Importer: imports, Error: func(err error) {
		if e, ok := err.(types.Error); !ok || !e.Soft {
			errs = append(errs, err)
		}
	}}
	config.Check("example", fset, []*ast.File{file}, nil) // its errors went to errs
	return errors.Join(errs...)
}

// exports imports packages as they are compiled.
func exports(t *testing.T) types.Importer {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./client/...", "database/sql", "os/signal")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}
