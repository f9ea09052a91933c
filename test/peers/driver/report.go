package main

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

func (m *matrix) report() {
	type key struct{ cell, target string }
	runs := map[key][]figures{}
	var cells, names []string
	seen := map[string]bool{}
	for _, g := range m.all {
		if !seen["c"+g.Cell] {
			seen["c"+g.Cell] = true
			cells = append(cells, g.Cell)
		}
		if !seen["t"+g.Target] {
			seen["t"+g.Target] = true
			names = append(names, g.Target)
		}
		k := key{g.Cell, g.Target}
		runs[k] = append(runs[k], g)
	}
	col := func(gs []figures, f func(figures) float64) (lo, md, hi float64) {
		var v []float64
		for _, g := range gs {
			v = append(v, f(g))
		}
		if len(v) == 0 {
			return
		}
		sort.Float64s(v)
		return v[0], v[len(v)/2], v[len(v)-1]
	}
	for _, c := range cells {
		w5, w6 := strings.HasPrefix(c, "W5"), strings.HasPrefix(c, "W6")
		switch {
		case w6:
			fmt.Printf("\n### %s\n\n| broker | s to the next accepted put, median | min | max | log MB |\n|---|---:|---:|---:|---:|\n", c)
		case w5:
			fmt.Printf("\n### %s\n\n| broker | msgs/s median | min | max | p50 us | p99 us | RSS MB | open files | mappings | threads | make s | restart s | disk MB | note |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n", c)
		default:
			fmt.Printf("\n### %s\n\n| broker | msgs/s median | min | max | MB/s | p50 us | p99 us | p99.9 us | max us | RSS MB | anon MB | broker CPU s/M | driver CPU s/M | disk B/msg | note |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n", c)
		}
		for _, n := range names {
			gs := runs[key{c, n}]
			if len(gs) == 0 {
				continue
			}
			med := func(f func(figures) float64) string { _, v, _ := col(gs, f); return num(v) }
			lo, md, hi := col(gs, func(g figures) float64 { return g.MsgsSec })
			note := ""
			var lost int64
			for _, g := range gs {
				if g.Err != "" {
					note = strings.ReplaceAll(g.Err, "|", "/")
				}
				lost += g.Errors
			}
			if lost != 0 {
				note += fmt.Sprintf(" %d failed or unseen", lost)
			}
			if len(note) > 120 {
				note = note[:120]
			}
			switch {
			case w6:
				lo, md, hi := col(gs, func(g figures) float64 { return g.StartSec })
				fmt.Printf("| %s | %.2f | %.2f | %.2f | %s | %s\n", n, md, lo, hi, med(func(g figures) float64 { return g.DiskMB }), note)
			case w5:
				fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", n, num(md), num(lo), num(hi),
					med(func(g figures) float64 { return g.P50 }), med(func(g figures) float64 { return g.P99 }), med(func(g figures) float64 { return g.RSSMB }),
					med(func(g figures) float64 { return float64(g.Files) }), med(func(g figures) float64 { return float64(g.Maps) }),
					med(func(g figures) float64 { return float64(g.Threads) }), med(func(g figures) float64 { return g.MakeSec }),
					med(func(g figures) float64 { return g.StartSec }), med(func(g figures) float64 { return g.DiskMB }), note)
			default:
				fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", n, num(md), num(lo), num(hi),
					med(func(g figures) float64 { return g.MBSec }), med(func(g figures) float64 { return g.P50 }), med(func(g figures) float64 { return g.P99 }),
					med(func(g figures) float64 { return g.P999 }), med(func(g figures) float64 { return g.Max }), med(func(g figures) float64 { return g.RSSMB }),
					med(func(g figures) float64 { return g.AnonMB }), med(func(g figures) float64 { return g.CPUPerM }), med(func(g figures) float64 { return g.DrvPerM }),
					med(func(g figures) float64 { return g.DiskPerM }), note)
			}
		}
		// ratios of ours to each peer, run by run (runs of one round stand side by side in time)
		ours := runs[key{c, "ours"}]
		if len(ours) == 0 {
			continue
		}
		type dim struct {
			name string
			f    func(figures) float64
		}
		dims := []dim{{"msgs/s", func(g figures) float64 { return g.MsgsSec }}, {"p99", func(g figures) float64 { return g.P99 }}, {"RSS", func(g figures) float64 { return g.RSSMB }}, {"CPU/M", func(g figures) float64 { return g.CPUPerM }}}
		if w5 {
			dims = append(dims, dim{"restart s", func(g figures) float64 { return g.StartSec }}, dim{"open files", func(g figures) float64 { return float64(g.Files) }})
		}
		if w6 {
			dims = []dim{{"recovery s", func(g figures) float64 { return g.StartSec }}}
		}
		fmt.Printf("\nours / peer (min median max over paired runs):\n\n")
		for _, n := range names {
			if n == "ours" || len(runs[key{c, n}]) == 0 {
				continue
			}
			var parts []string
			for _, d := range dims {
				var v []float64
				for i, g := range runs[key{c, n}] {
					if i < len(ours) && d.f(g) > 0 {
						v = append(v, d.f(ours[i])/d.f(g))
					}
				}
				if len(v) == 0 {
					continue
				}
				sort.Float64s(v)
				if md := v[len(v)/2]; !math.IsNaN(md) {
					parts = append(parts, fmt.Sprintf("%s %.2f %.2f %.2f", d.name, v[0], md, v[len(v)-1]))
				}
			}
			fmt.Printf("- %s: %s\n", n, strings.Join(parts, "; "))
		}
	}
}
