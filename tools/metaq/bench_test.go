package main

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestPacer_OpenLoopKeepsItsScheduleWhenLate(t *testing.T) {
	o := benchOptions{connections: 2, rate: 1000, duration: time.Second}
	// The run began half a second ago: everything of that time is due already, at the times that were meant.
	p := o.pacer(time.Now().Add(-500*time.Millisecond), 1)
	for i := range 5 {
		due, ok := p.next()
		want := time.Millisecond + time.Duration(i)*2*time.Millisecond
		if !ok || due != want {
			t.Fatalf("operation %d of connection 1: due %s, %t, want %s", i, due, ok, want)
		}
	}
}

func TestPacer_DurationBoundsTheOperations(t *testing.T) {
	o := benchOptions{connections: 4, rate: 1000, duration: 100 * time.Millisecond}
	total := 0
	for i := range o.connections {
		p := o.pacer(time.Now(), i)
		for {
			if _, ok := p.next(); !ok {
				break
			}
			total++
		}
	}
	if total != 100 {
		t.Fatalf("1000/s for 100 ms made %d operations, want 100", total)
	}
}

func TestBenchOptions_ShareAddsUpToTheCount(t *testing.T) {
	o := benchOptions{connections: 3, count: 10}
	var total int64
	for i := range o.connections {
		total += o.share(i)
	}
	if total != 10 {
		t.Fatalf("the shares add up to %d, want 10", total)
	}
	o.count = 0
	if got := o.share(0); got != math.MaxInt64 {
		t.Fatalf("without a count the share is %d, want no bound", got)
	}
}

func TestTally_LatenciesOutsideTheBoundsCount(t *testing.T) {
	total := newTally()
	total.latency(-time.Second)
	total.latency(time.Hour)
	if got := total.hist.TotalCount(); got != 2 {
		t.Fatalf("%d latencies recorded, want 2", got)
	}
	// Three digits may lose a thousandth.
	if got := total.hist.Max(); got < highestLatency/1000*999 {
		t.Fatalf("the largest is %s, want about %s", time.Duration(got), time.Duration(highestLatency))
	}
}

func TestReport_Quantiles(t *testing.T) {
	total := newTally()
	for i := range 1000 {
		total.latency(time.Duration(i+1) * time.Millisecond)
	}
	total.messages, total.bytes, total.last = 1000, 1000*1e6, 10*time.Second
	r := newReport("put", &benchOptions{size: 1e6, connections: 1}, total)
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want/500 {
			t.Errorf("%s is %g, want about %g", name, got, want)
		}
	}
	near("p50", r.Latency.P50, 500e3)
	near("p90", r.Latency.P90, 900e3)
	near("p99", r.Latency.P99, 990e3)
	near("p99.9", r.Latency.P999, 999e3)
	near("max", r.Latency.Max, 1000e3)
	near("messages a second", r.PerSecond, 100)
	near("MB a second", r.MBPerSecond, 100)
}

func TestSlots_WaitEndsWithTheError(t *testing.T) {
	var s slots
	s.changed.L = &s.mu
	s.give([]int32{1, 2})
	taken, err := s.take(nil)
	if err != nil || len(taken) != 2 {
		t.Fatalf("take: %v, %v, want both slots", taken, err)
	}
	s.give(taken[:1])
	gone := errors.New("the connection is gone")
	go s.close(gone)
	if err := s.wait(2); err != gone {
		t.Fatalf("wait: %v, want %v", err, gone)
	}
}
