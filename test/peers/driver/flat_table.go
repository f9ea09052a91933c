package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const worstShown = 10

// flatTables shows w9: the whole, what each kind of event does, and the worst seconds.
func (r *results) flatTables() string {
	table := r.workloadTable("W9 ")
	if table == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString(table)
	for _, cell := range r.cells {
		for _, g := range r.runs[cell]["ours"] {
			if len(g.Windows) == 0 || !strings.HasPrefix(cell, "W9 ") {
				continue
			}
			fmt.Fprintf(&b, "\n%s, what events do to the p99.9 of the 100 ms in which they happen:\n\n| event | how often | p99.9 µs with it, median | without any event, median |\n|---|---:|---:|---:|\n", cell)
			for _, kind := range eventKinds {
				e := g.Effects[kind]
				fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", kind, e.Count, num(e.With), num(e.Without))
			}
			b.WriteString(secondsTable(cell, g.Windows))
		}
	}
	return b.String()
}

// secondsTable tells how the seconds differ, and what happened in the worst ones.
func secondsTable(cell string, seconds []window) string {
	var p99, p999 []float64
	type numbered struct {
		second int
		window
	}
	var all []numbered
	for i, s := range seconds {
		p99, p999 = append(p99, s.P99), append(p999, s.P999)
		all = append(all, numbered{i, s})
	}
	slices.SortStableFunc(all, func(a, b numbered) int { return cmp.Compare(b.P999, a.P999) })
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %d seconds: p99 of a second %s µs, p99.9 %s µs (median [min – max]). The worst ones:\n\n", cell, len(seconds), showSpread(spreadOfValues(p99)), showSpread(spreadOfValues(p999)))
	b.WriteString("| second | msgs | p50 µs | p99 | p99.9 | max | others' cores | what happened |\n|---:|---:|---:|---:|---:|---:|---:|---|\n")
	for _, s := range all[:min(worstShown, len(all))] {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s | %s |\n", s.second, num(float64(s.Msgs)), num(s.P50), num(s.P99), num(s.P999), num(s.Max), num(s.Other), strings.Join(s.Events, ", "))
	}
	return b.String()
}
