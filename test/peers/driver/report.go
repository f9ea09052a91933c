package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cmdReport renders the figures of a document from the results: everything between `<!-- figures: NAME -->` and the
// next `<!-- end -->`.
func cmdReport(args []string) error {
	fl := flag.NewFlagSet("report", flag.ExitOnError)
	in := fl.String("in", "", "files of `matrix --out`, separated by commas; a cell is taken from the last that has it")
	doc := fl.String("doc", "", "document to render into")
	phys := fl.String("phys", "", "file of `phys --out`")
	tried := fl.String("tried", "", "folder of the pages of what was tried")
	fl.Parse(args)
	r, err := readResults(strings.Split(*in, ","))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(*doc)
	if err != nil {
		return err
	}
	parts := map[string]func() (string, error){
		"about":   func() (string, error) { return r.aboutTable(), nil },
		"targets": func() (string, error) { return r.goalTable(), nil },
		"w9":      func() (string, error) { return r.flatTables(), nil },
		"phys":    func() (string, error) { return physTable(*phys) },
		"tried":   func() (string, error) { return triedPages(*tried) },
	}
	for _, w := range []string{"w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w10"} {
		parts[w] = func() (string, error) { return r.workloadTable(strings.ToUpper(w) + " "), nil }
	}
	out, err := fillMarkers(string(text), parts)
	if err != nil {
		return fmt.Errorf("%s: %w", *doc, err)
	}
	return os.WriteFile(*doc, []byte(out), 0o644)
}

const (
	markBegin = "<!-- figures: "
	markEnd   = "<!-- end -->"
)

// fillMarkers replaces what stands between markers. A part that renders to nothing leaves what is there: a run of a few
// workloads must not wipe out the others.
func fillMarkers(text string, parts map[string]func() (string, error)) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, markBegin)
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, rest, ok := strings.Cut(rest, " -->\n")
		old, rest, ended := strings.Cut(rest, markEnd)
		if !ok || !ended {
			return "", fmt.Errorf("marker %q has no end", name)
		}
		part := parts[name]
		if part == nil {
			return "", fmt.Errorf("marker %q: there is no such part", name)
		}
		body, err := part()
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if body == "" {
			body = old
		}
		out.WriteString(markBegin + name + " -->\n" + body + markEnd)
		text = rest
	}
}

func (r *results) aboutTable() string {
	var b strings.Builder
	for _, a := range r.about {
		fmt.Fprintf(&b, "* %s, commit `%s`, mode %s (%d rounds, runs of %s s):\n  `%s`\n", a.At, a.Commit, a.Mode, a.Rounds, num(a.Seconds), a.Command)
	}
	if len(r.about) > 0 {
		a := r.about[len(r.about)-1]
		fmt.Fprintf(&b, "* %d cores %s, %s GiB memory, kernel %s, disk %s, %s", a.Cores, a.CPU, num(a.MemoryGB), a.Kernel, a.Disk, a.Go)
		if a.Java != "" {
			fmt.Fprintf(&b, ", %s", a.Java)
		}
		b.WriteString("\n")
	}
	versions := make(map[string]string)
	for _, a := range r.about {
		for n, v := range a.Versions {
			versions[n] = v
		}
	}
	var list []string
	for n, v := range versions {
		list = append(list, n+" "+v)
	}
	if len(list) > 0 {
		slices.Sort(list)
		fmt.Fprintf(&b, "* %s\n", strings.Join(list, ", "))
	}
	n, suspect := r.suspects()
	fmt.Fprintf(&b, "* %d runs, %d of them suspect: other processes kept more than %s cores busy (marked in the tables with \\*)\n", n, suspect, num(suspectCores))
	return b.String()
}

// suspectCores is how many cores other processes may keep busy before a run is suspect.
const suspectCores = 0.2

func (r *results) suspects() (all, suspect int) {
	for _, targets := range r.runs {
		for _, runs := range targets {
			for _, g := range runs {
				all++
				if g.Other > suspectCores {
					suspect++
				}
			}
		}
	}
	return all, suspect
}

// triedPages joins the pages of what was tried, in the order of their names.
func triedPages(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		b.WriteString("\n" + strings.TrimSpace(string(text)) + "\n")
	}
	return b.String(), nil
}
