package main

// A goal is one cell of the table of targets: our figure in a cell divided by that of somebody else, or as it is.
type goal struct {
	cell   string
	metric string // name in metrics
	// against is "best" (the best peer of the cell), a target's name, "" for our figure as it is, or "cell:" and another
	// cell of ours.
	against string
	atLeast bool // else: at most
	value   float64
}

// A metric is a figure that goals are about.
type metric struct {
	text string
	unit string
	more bool // a larger one is the better one
	of   func(figures) float64
}

var metrics = map[string]metric{
	"rate":  {"messages/s", "", true, func(g figures) float64 { return g.MsgsSec }},
	"p50":   {"p50", "µs", false, func(g figures) float64 { return g.P50 }},
	"p99":   {"p99", "µs", false, func(g figures) float64 { return g.P99 }},
	"p99.9": {"p99.9", "µs", false, func(g figures) float64 { return g.P999 }},
	"cpu":   {"broker CPU a million", "s", false, func(g figures) float64 { return g.CPUPerM }},
	"anon":  {"anonymous memory", "MB", false, func(g figures) float64 { return g.AnonMB }},
	"files": {"open files", "", false, func(g figures) float64 { return float64(g.Files) }},
	"start": {"start after a clean stop", "s", false, func(g figures) float64 { return g.StartSec }},
	"kill":  {"start after kill -9", "s", false, func(g figures) float64 { return g.KillSec }},
	"again": {"kill -9 to the next put", "s", false, func(g figures) float64 { return g.StartSec }},
	"roll":  effectOf(eventRoll), "seal": effectOf(eventSeal), "checkpoint": effectOf(eventCheckpoint), "retention": effectOf(eventRetention),
}

// effectOf is the p99.9 of the windows with an event, divided by that of the windows without any.
func effectOf(kind string) metric {
	return metric{"p99.9 of 100 ms with a " + kind + " / without any event", "", false, func(g figures) float64 {
		if e := g.Effects[kind]; e.Without > 0 {
			return e.With / e.Without
		}
		return 0
	}}
}

var goals = []goal{
	{"W1 100B w1", "rate", "best", true, 2.4},
	{"W1 100B w1", "rate", "gnet-echo", true, 0.9},
	{"W1 100B w64", "rate", "best", true, 3},
	{"W1 1024B w1", "rate", "best", true, 2.6},
	{"W1 1024B w1", "rate", "gnet-echo", true, 0.85},
	{"W1 1024B w64", "rate", "best", true, 4},
	{"W1 16384B w1", "rate", "best", true, 2},
	{"W1 16384B w64", "rate", "best", true, 2},
	{"W1 1024B w64", "cpu", "", false, 1.3},
	{"W1 1024B w64", "anon", "", false, 60},
	{"W2 1part 16prod", "rate", "best", true, 2.2},
	{"W2 1part 64prod", "rate", "best", true, 2.5},
	{"W2 16part 16prod", "rate", "best", true, 4},
	{"W2 16part 64prod", "rate", "best", true, 4},
	{"W3 1cons", "rate", "best", true, 1.1},
	{"W3 1cons", "rate", "kafka", true, 2},
	{"W3 1cons", "cpu", "", false, 0.30},
	{"W3 4cons", "rate", "best", true, 1.0},
	{"W3 4cons", "rate", "kafka", true, 2},
	{"W3 4cons", "cpu", "", false, 0.30},
	{"W4 5k/s os", "p50", "nats", false, 0.3},
	{"W4 5k/s os", "p99", "nats", false, 0.3},
	{"W4 5k/s os", "p99.9", "nats", false, 0.4},
	{"W4 5k/s fsync", "p50", "best", false, 0.4},
	{"W4 5k/s fsync", "p99", "best", false, 0.5},
	{"W5 10000 queues", "rate", "best", true, 6},
	{"W5 50000 queues", "rate", "cell:W5 1 queues", true, 0.8},
	{"W5 50000 queues", "anon", "", false, 100},
	{"W5 50000 queues", "files", "", false, 64},
	{"W5 50000 queues", "start", "", false, 0.3},
	{"W5 50000 queues", "kill", "", false, 2},
	{"W6 recovery", "again", "", false, 0.3},
	{"W7 4 parts all", "rate", "best", true, 0.8},
	{"W7 4 parts one", "rate", "cell:W7 4 parts own log", true, 1.0 / 3},
	{"W7 1000 parts all", "rate", "best", true, 0.8},
	{"W7 1000 parts one", "rate", "cell:W7 1000 parts own log", true, 1.0 / 3},
	{"W8 beside catch-up", "p99.9", "cell:W8 alone", false, 2},
	// "Invisible" taken as a number: such short windows differ by half among themselves.
	{"W9 half of it os", "roll", "", false, 1.5},
	{"W9 half of it os", "seal", "", false, 1.5},
	{"W9 half of it os", "checkpoint", "", false, 1.5},
	{"W9 half of it os", "retention", "", false, 1.5},
	{"W10 full put", "cpu", "cell:W10 tenth put", false, 1.15},
	{"W10 full drain", "cpu", "cell:W10 tenth drain", false, 1.15},
	{"W10 full put", "anon", "", false, 60},
}
