package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in nanoseconds with three digits, from a microsecond to two minutes; what is outside counts
// as the nearest of the two.
const (
	lowestLatency  = int64(time.Microsecond)
	highestLatency = int64(2 * time.Minute)
	latencyDigits  = 3
)

// tally is what one connection measured. It belongs to one goroutine until the run is over.
type tally struct {
	hist     *hdrhistogram.Histogram
	messages int64
	bytes    int64 // of the messages' data
	errors   int64
	first    string        // the first error's text
	last     time.Duration // when the last answer came, since the start
}

func newTally() *tally {
	return &tally{hist: hdrhistogram.New(lowestLatency, highestLatency, latencyDigits)}
}

func (t *tally) latency(d time.Duration) {
	// Within the bounds RecordValue cannot fail.
	_ = t.hist.RecordValue(min(max(int64(d), lowestLatency), highestLatency))
}

func (t *tally) failed(text string) {
	if t.errors == 0 {
		t.first = text
	}
	t.errors++
}

func (t *tally) add(o *tally) {
	t.hist.Merge(o.hist)
	t.messages += o.messages
	t.bytes += o.bytes
	if t.errors == 0 {
		t.first = o.first
	}
	t.errors += o.errors
	t.last = max(t.last, o.last)
}

// benchReport is the result of a run, as -o json prints it.
type benchReport struct {
	Bench       string       `json:"bench"`
	Topic       string       `json:"topic"`
	Size        int          `json:"size"`
	Connections int          `json:"connections"`
	Window      int          `json:"window"`
	Rate        float64      `json:"rate"`
	Seconds     float64      `json:"seconds"`
	Messages    int64        `json:"messages"`
	Bytes       int64        `json:"bytes"`
	PerSecond   float64      `json:"messages_per_second"`
	MBPerSecond float64      `json:"megabytes_per_second"`
	Latency     benchLatency `json:"latency_us"`
	Errors      int64        `json:"errors"`
	FirstError  string       `json:"first_error,omitempty"`
	Lost        int64        `json:"lost"`
}

type benchLatency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

func newReport(bench string, o *benchOptions, t *tally) *benchReport {
	micros := func(ns int64) float64 { return float64(ns) / 1e3 }
	r := &benchReport{
		Bench: bench, Topic: string(o.topic), Size: o.size, Connections: o.connections, Window: o.window, Rate: o.rate,
		Seconds: t.last.Seconds(), Messages: t.messages, Bytes: t.bytes, Errors: t.errors, FirstError: t.first,
		Latency: benchLatency{
			Count: t.hist.TotalCount(),
			Mean:  t.hist.Mean() / 1e3,
			P50:   micros(t.hist.ValueAtQuantile(50)),
			P90:   micros(t.hist.ValueAtQuantile(90)),
			P99:   micros(t.hist.ValueAtQuantile(99)),
			P999:  micros(t.hist.ValueAtQuantile(99.9)),
			Max:   micros(t.hist.Max()),
		},
	}
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Messages) / r.Seconds
		r.MBPerSecond = float64(r.Bytes) / r.Seconds / 1e6
	}
	return r
}

// print writes the report to w and returns an error if the run had failures.
func (r *benchReport) print(w io.Writer, output string) error {
	if output == "json" {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return err
		}
	} else {
		millis := func(us float64) time.Duration { return time.Duration(us * 1e3).Round(time.Microsecond) }
		fmt.Fprintf(w, "messages   %d in %.2f s\n", r.Messages, r.Seconds)
		fmt.Fprintf(w, "rate       %.0f msgs/s, %.2f MB/s\n", r.PerSecond, r.MBPerSecond)
		fmt.Fprintf(w, "latency    p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n",
			millis(r.Latency.P50), millis(r.Latency.P90), millis(r.Latency.P99), millis(r.Latency.P999), millis(r.Latency.Max))
		fmt.Fprintf(w, "errors     %d\n", r.Errors)
		if r.Bench == "e2e" {
			fmt.Fprintf(w, "lost       %d\n", r.Lost)
		}
	}
	switch {
	case r.Errors > 0:
		return fmt.Errorf("%d operations failed, the first with: %s", r.Errors, r.FirstError)
	case r.Lost > 0:
		return fmt.Errorf("%d acknowledged messages did not come back", r.Lost)
	}
	return nil
}
