package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// results are the runs of one or more files of JSON lines, by cell and target.
type results struct {
	about []machine // one a file
	cells []string  // in the order in which they came
	names []string
	runs  map[string]map[string][]figures
}

// readResults reads files of `matrix --out`. A cell that is in several files is taken from the last one as a whole, so
// that what is compared stems from one run.
func readResults(files []string) (*results, error) {
	r := &results{runs: make(map[string]map[string][]figures)}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		mine := make(map[string]bool)
		for lines := json.NewDecoder(f); lines.More(); {
			var line struct {
				About *machine `json:"about"`
				figures
			}
			if err := lines.Decode(&line); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if line.About != nil {
				r.about = append(r.about, *line.About)
				continue
			}
			g := line.figures
			if !mine[g.Cell] {
				mine[g.Cell] = true
				if !slices.Contains(r.cells, g.Cell) {
					r.cells = append(r.cells, g.Cell)
				}
				r.runs[g.Cell] = make(map[string][]figures)
			}
			if !slices.Contains(r.names, g.Target) {
				r.names = append(r.names, g.Target)
			}
			r.runs[g.Cell][g.Target] = append(r.runs[g.Cell][g.Target], g)
		}
	}
	return r, nil
}

// A spread of figures.
type spreadOf struct{ min, median, max float64 }

func spreadOfValues(v []float64) spreadOf {
	if len(v) == 0 {
		return spreadOf{}
	}
	return spreadOf{slices.Min(v), median(v), slices.Max(v)}
}

// sound are the runs that have a figure.
func sound(runs []figures) []figures {
	return slices.DeleteFunc(slices.Clone(runs), func(g figures) bool { return g.Err != "" && g.Msgs == 0 && g.StartSec == 0 })
}

func spreadOfRuns(runs []figures, of func(figures) float64) spreadOf {
	var v []float64
	for _, g := range sound(runs) {
		v = append(v, of(g))
	}
	return spreadOfValues(v)
}

// best is the peer with the best median of a metric in a cell.
func (r *results) best(cell string, m metric) string {
	name, value := "", 0.0
	for _, n := range r.names {
		if n == "ours" || n == "gnet-echo" {
			continue
		}
		v := spreadOfRuns(r.runs[cell][n], m.of).median
		if v > 0 && (name == "" || m.more == (v > value)) {
			name, value = n, v
		}
	}
	return name
}

// ratios divides our runs by the others' of the same round.
func ratios(ours, theirs []figures, of func(figures) float64) []float64 {
	var v []float64
	for _, g := range sound(ours) {
		for _, o := range sound(theirs) {
			if o.Run == g.Run && of(o) > 0 {
				v = append(v, of(g)/of(o))
			}
		}
	}
	return v
}
