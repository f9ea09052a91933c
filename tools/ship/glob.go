//go:build linux

package ship

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// anyDepth is the element of a pattern that stands for any number of directories, none included.
const anyDepth = "**"

// glob lists the paths of an absolute pattern, as filepath.Glob does, and knows anyDepth. Directories that cannot be read are told to unreadable: what is in them is not known.
func glob(pattern string, unreadable func(dir string, err error)) []string {
	g := globber{unreadable: unreadable}
	g.list("/", strings.Split(strings.TrimPrefix(pattern, "/"), "/"))
	slices.Sort(g.paths)
	return slices.Compact(g.paths) // several anyDepth may find the same
}

// matches says whether a pattern stands for a path, whether there is such a file or not.
func matches(pattern, path string) bool {
	return matchElements(strings.Split(pattern, "/"), strings.Split(path, "/"))
}

func matchElements(pattern, path []string) bool {
	switch {
	case len(pattern) == 0 || len(path) == 0:
		return len(pattern) == len(path)
	case pattern[0] == anyDepth && len(pattern) > 1:
		return matchElements(pattern[1:], path) || matchElements(pattern, path[1:])
	}
	ok, err := filepath.Match(pattern[0], path[0])
	return ok && err == nil && matchElements(pattern[1:], path[1:])
}

type globber struct {
	unreadable func(string, error)
	paths      []string
}

func (g *globber) list(dir string, elements []string) {
	element, rest := elements[0], elements[1:]
	switch {
	case element == anyDepth && len(rest) > 0:
		g.list(dir, rest)
		for _, e := range g.read(dir) {
			if e.IsDir() { // not a link to one, which may lead back
				g.list(filepath.Join(dir, e.Name()), elements)
			}
		}
	case !strings.ContainsAny(element, `*?[\`):
		g.found(filepath.Join(dir, element), rest, false)
	default:
		for _, e := range g.read(dir) {
			if ok, err := filepath.Match(element, e.Name()); ok && err == nil { // the pattern was checked
				g.found(filepath.Join(dir, e.Name()), rest, true)
			}
		}
	}
}

// found goes on below a path, or takes it if it is there.
func (g *globber) found(path string, rest []string, there bool) {
	if len(rest) > 0 {
		g.list(path, rest)
		return
	}
	if !there {
		switch _, err := os.Lstat(path); {
		case isNothing(err):
			return
		case err != nil:
			g.unreadable(path, err)
			return
		}
	}
	g.paths = append(g.paths, path)
}

func (g *globber) read(dir string) []fs.DirEntry {
	list, err := os.ReadDir(dir)
	if err != nil && !isNothing(err) {
		g.unreadable(dir, err)
	}
	return list
}

// isNothing says that there is nothing of a name, or no directory.
func isNothing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
