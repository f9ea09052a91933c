//go:build linux

package ship

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	// stamp is what rotation puts behind a name: a number, a date, a time, or several of these.
	stamp = regexp.MustCompile(`[-._][0-9][-_.:+TZ0-9]*$`)
	// extension is one that a date may stand before, as in app-2026-11-21.log.
	extension = regexp.MustCompile(`\.[A-Za-z][A-Za-z0-9]*$`)
	// packed are the endings of compressed files. Of these only .gz can be read.
	packed = []string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".Z"}
	// kept are endings that stand for a number.
	kept = []string{".old", ".bak", ".prev"}
)

// counted are names that rotation counts up.
var counted = regexp.MustCompile(`\.([0-9]{1,4})(?:\.[a-z0-9]+)?$`)

// compareRotated tells which of two rotated files is the older one by their names, when their times are the same: that of the larger number, or of the earlier date.
func compareRotated(a, b string) int {
	x, y := counted.FindStringSubmatch(a), counted.FindStringSubmatch(b)
	if x == nil || y == nil {
		return strings.Compare(a, b)
	}
	return cmp.Or(cmp.Compare(len(y[1]), len(x[1])), strings.Compare(y[1], x[1]))
}

// isPacked says whether a name is of a compressed file.
func isPacked(name string) bool { return slices.Contains(packed, filepath.Ext(name)) }

// writtenAs lists the paths under which a file may have been written before rotation gave it its name, the likeliest first: logrotate's access.log.1 and
// access.log-20261121, log4j's app.log.2026-11-21, logback's app-2026-11-21.log, and all of these compressed.
func writtenAs(path string) []string {
	dir, name := filepath.Split(path)
	for _, e := range packed {
		name = strings.TrimSuffix(name, e)
	}
	var names []string
	add := func(n string) {
		if n != "" && n != name && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, e := range kept {
		if n, ok := strings.CutSuffix(name, e); ok {
			add(n)
		}
	}
	add(stamp.ReplaceAllString(name, ""))
	for _, n := range append([]string{name}, names...) {
		if e := extension.FindString(n); e != "" {
			if before := stamp.ReplaceAllString(strings.TrimSuffix(n, e), ""); before != "" {
				add(before + e)
			}
		}
	}
	for i, n := range names {
		names[i] = dir + n
	}
	if name != filepath.Base(path) {
		names = append(names, dir+name) // app.log.gz of app.log
	}
	return names
}
