package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// column is one of a table; its figure is the median of the runs.
type column struct {
	title string
	of    func(figures) float64
}

var (
	rateColumns = []column{
		{"MB/s", func(g figures) float64 { return g.MBSec }},
	}
	latencyColumns = []column{
		{"p50 µs", func(g figures) float64 { return g.P50 }}, {"p99", func(g figures) float64 { return g.P99 }},
		{"p99.9", func(g figures) float64 { return g.P999 }}, {"max", func(g figures) float64 { return g.Max }},
	}
	costColumns = []column{
		{"RSS MB", func(g figures) float64 { return g.RSSMB }}, {"anonymous MB", func(g figures) float64 { return g.AnonMB }},
		{"broker CPU s/M", func(g figures) float64 { return g.CPUPerM }}, {"driver CPU s/M", func(g figures) float64 { return g.DrvPerM }},
	}
	diskColumn    = column{"disk B/msg", func(g figures) float64 { return g.DiskPerM }}
	queuesColumns = []column{
		{"p50 µs", func(g figures) float64 { return g.P50 }}, {"p99", func(g figures) float64 { return g.P99 }},
		{"RSS MB", func(g figures) float64 { return g.RSSMB }}, {"anonymous MB", func(g figures) float64 { return g.AnonMB }},
		{"open files", func(g figures) float64 { return float64(g.Files) }}, {"mappings", func(g figures) float64 { return float64(g.Maps) }},
		{"threads", func(g figures) float64 { return float64(g.Threads) }}, {"making s", func(g figures) float64 { return g.MakeSec }},
		{"start after stop s", func(g figures) float64 { return g.StartSec }}, {"after kill -9 s", func(g figures) float64 { return g.KillSec }},
		{"disk MB", func(g figures) float64 { return g.DiskMB }},
	}
	besideColumn = column{"read beside MB", func(g figures) float64 { return g.ReadMB }}
	cpuColumn    = column{"µs a message", func(g figures) float64 {
		if g.MsgsSec == 0 {
			return 0
		}
		return 1e6 / g.MsgsSec
	}}
)

func join(groups ...[]column) []column {
	var all []column
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// columnsOf are the columns of a workload, besides the rate.
func columnsOf(workload string) []column {
	switch workload {
	case "W3 ", "W7 ":
		return join(rateColumns, costColumns)
	case "W5 ":
		return queuesColumns
	case "W8 ":
		return join(latencyColumns, []column{besideColumn}, costColumns)
	case "W10 ":
		return join([]column{cpuColumn}, rateColumns, latencyColumns, costColumns)
	}
	return join(rateColumns, latencyColumns, costColumns, []column{diskColumn})
}

// workloadTable is a table of the cells that begin with the workload's name, "" if there are none.
func (r *results) workloadTable(workload string) string {
	if workload == "W6 " {
		return r.crashTable()
	}
	columns := columnsOf(workload)
	var b strings.Builder
	for _, cell := range r.cells {
		if !strings.HasPrefix(cell, workload) {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("| cell | broker | msgs/s median [min – max] |")
			for _, c := range columns {
				b.WriteString(" " + c.title + " |")
			}
			b.WriteString(" note |\n|---|---|---:|" + strings.Repeat("---:|", len(columns)) + "---|\n")
		}
		for _, name := range r.names {
			runs := r.runs[cell][name]
			if len(runs) == 0 {
				continue
			}
			fmt.Fprintf(&b, "| %s | %s | %s |", cell, name, showSpread(spreadOfRuns(runs, metrics["rate"].of)))
			for _, c := range columns {
				fmt.Fprintf(&b, " %s |", num(spreadOfRuns(runs, c.of).median))
			}
			fmt.Fprintf(&b, " %s |\n", noteOf(runs))
		}
	}
	return b.String()
}

func (r *results) crashTable() string {
	var b strings.Builder
	for _, name := range r.names {
		runs := r.runs["W6 recovery"][name]
		if len(runs) == 0 {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("| broker | kill -9 to the next accepted put, s: median [min – max] | log MB | note |\n|---|---:|---:|---|\n")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, showSpread(spreadOfRuns(runs, func(g figures) float64 { return g.StartSec })),
			num(spreadOfRuns(runs, func(g figures) float64 { return g.DiskMB }).median), noteOf(runs))
	}
	return b.String()
}

func showSpread(s spreadOf) string {
	return fmt.Sprintf("%s [%s – %s]", num(s.median), num(s.min), num(s.max))
}

// noteOf tells what has to be known about runs: errors, lost messages, a star for each run beside which others worked.
func noteOf(runs []figures) string {
	var notes []string
	var lost int64
	stars := ""
	for _, g := range runs {
		if g.Err != "" {
			e := strings.NewReplacer("|", "/", "\n", " ").Replace(g.Err)
			notes = []string{e[:min(len(e), 120)]}
		}
		lost += g.Errors
		if g.Other > suspectCores {
			stars += `\*`
		}
	}
	if lost != 0 {
		notes = append(notes, fmt.Sprintf("%d failed or unseen", lost))
	}
	if stars != "" {
		notes = append(notes, stars)
	}
	return strings.Join(notes, "; ")
}

// goalTable compares with the targets.
func (r *results) goalTable() string {
	var b strings.Builder
	met, of := 0, 0
	for _, g := range goals {
		row, ok := r.goalRow(g)
		if row == "" {
			continue
		}
		of++
		if ok {
			met++
		}
		b.WriteString(row)
	}
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d met.\n\n| cell | figure | against | theirs | ours | target | measured: median [min – max] | met |\n|---|---|---|---:|---:|---:|---:|---|\n%s", met, of, b.String())
}

func (r *results) goalRow(g goal) (string, bool) {
	m := metrics[g.metric]
	ours := r.runs[g.cell]["ours"]
	if len(sound(ours)) == 0 {
		return "", false
	}
	mine := spreadOfRuns(ours, m.of)
	got, against, theirs := mine, "", ""
	if g.against != "" {
		others := r.runs[g.cell][g.against]
		against = g.against
		if cell, ok := strings.CutPrefix(g.against, "cell:"); ok {
			others, against = r.runs[cell]["ours"], "ours, "+cell
		} else if g.against == "best" {
			against = r.best(g.cell, m)
			others = r.runs[g.cell][against]
			against = "best: " + against
		}
		if len(sound(others)) == 0 {
			return "", false
		}
		got = spreadOfValues(ratios(ours, others, m.of))
		theirs = num(spreadOfRuns(others, m.of).median)
	}
	sign, ok := "≤", got.median <= g.value
	if g.atLeast {
		sign, ok = "≥", got.median >= g.value
	}
	unit := m.unit
	if g.against != "" {
		unit = "x"
	}
	verdict := "**no**"
	if ok {
		verdict = "yes"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s %s %s | %s | %s |\n", g.cell, m.text, against, theirs, num(mine.median), sign, num(g.value), unit, showSpread(got), verdict), ok
}

func physTable(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var rows []physRow
	if err := json.Unmarshal(text, &rows); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return physRows(rows), nil
}
