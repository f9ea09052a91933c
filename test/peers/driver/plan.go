package main

import (
	"fmt"
	"os"
	"slices"
)

// What a target needs, in seconds, as measured on a machine of two cores; the plan is an estimate.
var cost = map[string]struct{ start, fillGiB, queues float64 }{
	"metaq-java": {4, 12, 5},
	"kafka":      {6, 10, 60},
	"rocketmq":   {8, 22, 10},
	"nats":       {1, 12, 35},
	"ours":       {0.5, 3, 4},
	"echo":       {0.2, 0, 0},
}

// seconds is how long the chosen workloads from the given one on will take.
func (m *matrix) seconds(chosen []string, from int) float64 {
	var sum float64
	for _, w := range workloads[from:] {
		if slices.Contains(chosen, w.name) {
			for _, t := range m.targets {
				sum += m.secondsOf(w.name, t)
			}
		}
	}
	return sum
}

func (m *matrix) secondsOf(workload string, t *target) float64 {
	c := cost[t.kind]
	runs, run, warm := float64(m.rounds), m.dur.Seconds()+0.3, m.warmFor.Seconds()+c.start
	gib := func(bytes int64) float64 { return float64(bytes) / (1 << 30) }
	drain := func(bytes int64) float64 { return 0.3 + 1.5*gib(bytes) }
	plain := t.kind != "echo" && t.sync == "" && t.opts["linger"] == ""
	ours := t.kind == "ours"
	switch {
	case workload == "w1":
		return 6*(runs+1)*run + 3*warm
	case !plain:
		return 0
	case workload == "w2":
		return 4*(runs+1)*run + warm
	case workload == "w3":
		return c.start + c.fillGiB*gib(m.backlog) + 2*(runs+1)*drain(m.backlog)
	case workload == "w4":
		return float64(len(m.syncs)) * (warm + (runs+1)*(4*m.dur.Seconds()+2.5))
	case workload == "w5":
		var sum float64
		for _, n := range m.queues {
			if n <= peerQueues || ours {
				sum += 4*c.start + runs*run + c.queues*float64(n)/peerQueues
			}
		}
		return sum
	case workload == "w6":
		return c.fillGiB*gib(m.crash) + runs*(2*c.start+2)
	case workload == "w7" && (ours || t.kind == "kafka" || t.kind == "metaq-java"):
		return 2 * (c.start + 2*c.fillGiB*gib(m.cold) + 15 + (runs+1)*(4*drain(m.cold)+2))
	case workload == "w8" && (ours || t.kind == "nats"):
		return c.start + c.fillGiB*gib(m.catchUp) + 2*(runs+1)*(4*m.dur.Seconds()+2)
	case workload == "w9" && ours:
		return 1.2 * m.flat.Seconds() * float64(len(m.flatSyncs))
	case workload == "w10" && ours:
		return 3 * (1.1*(c.fillGiB+1.5)*gib(m.growth) + 2*warm)
	}
	return 0
}

func (m *matrix) printPlan(chosen []string) {
	fmt.Fprintf(os.Stderr, "mode %s: about %.0f min in all\n", m.mode, m.seconds(chosen, 0)/60)
	for i, w := range workloads {
		if slices.Contains(chosen, w.name) {
			fmt.Fprintf(os.Stderr, "  %-4s %5.1f min\n", w.name, (m.seconds(chosen, i)-m.seconds(chosen, i+1))/60)
		}
	}
}
