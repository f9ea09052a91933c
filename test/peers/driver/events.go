package main

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// spanLength is the length of the windows in which events are looked for: short enough that most have none.
const spanLength = 100 * time.Millisecond

// What our broker does beside the puts, as seen in its data folder.
const (
	eventRoll       = "roll"       // a new segment
	eventSeal       = "seal"       // the index of a full one
	eventCheckpoint = "checkpoint" // the checkpoint was replaced
	eventRetention  = "retention"  // a segment is gone
)

var eventKinds = []string{eventRoll, eventSeal, eventCheckpoint, eventRetention}

// An event happened at, counted from the beginning of the watch.
type event struct {
	kind string
	at   time.Duration
}

// eventLog is what a watch has seen.
type eventLog struct {
	events []event
	busy   []float64 // CPU seconds of the whole machine at each second
	own    []float64 // those of the broker and the driver
}

// A watch looks at a data folder until it is ended.
type watch struct {
	stop chan struct{}
	done chan eventLog
}

func watchEvents(dir string, pid int) *watch {
	w := &watch{stop: make(chan struct{}), done: make(chan eventLog, 1)}
	go func() { w.done <- w.run(dir, pid) }()
	return w
}

func (w *watch) end() eventLog {
	close(w.stop)
	return <-w.done
}

func (w *watch) run(dir string, pid int) eventLog {
	var log eventLog
	began := time.Now()
	last := lookAt(dir)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		for int(time.Since(began)/time.Second) >= len(log.busy) {
			log.busy = append(log.busy, machineBusy())
			log.own = append(log.own, ownBusy(pid))
		}
		select {
		case <-w.stop:
			return log
		case <-tick.C:
		}
		now := lookAt(dir)
		for _, kind := range last.changes(now) {
			log.events = append(log.events, event{kind, time.Since(began)})
		}
		last = now
	}
}

// look is what the data folder holds at a moment.
type look struct {
	segments, indexes map[string]bool
	checkpoint        time.Time
}

func lookAt(dir string) look {
	l := look{segments: map[string]bool{}, indexes: map[string]bool{}}
	entries, err := os.ReadDir(filepath.Join(dir, "log"))
	if err != nil {
		return l
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".log":
			l.segments[e.Name()] = true
		case ".idx":
			l.indexes[e.Name()] = true
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "checkpoint")); err == nil {
		l.checkpoint = st.ModTime()
	}
	return l
}

func (l look) changes(now look) []string {
	var kinds []string
	for name := range now.segments {
		if !l.segments[name] {
			kinds = append(kinds, eventRoll)
		}
	}
	for name := range now.indexes {
		if !l.indexes[name] {
			kinds = append(kinds, eventSeal)
		}
	}
	for name := range l.segments {
		if !now.segments[name] {
			kinds = append(kinds, eventRetention)
		}
	}
	if !now.checkpoint.Equal(l.checkpoint) {
		kinds = append(kinds, eventCheckpoint)
	}
	return kinds
}

// within are the events of a span of time.
func (l eventLog) within(from, length time.Duration) []string {
	var kinds []string
	for _, e := range l.events {
		if e.at >= from && e.at < from+length {
			kinds = append(kinds, e.kind)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// effect is what events of one kind do to the p99.9 of the windows in which they happen, in microseconds.
type effect struct {
	Count   int     `json:"count"`
	With    float64 `json:"median_p999_with_us"`
	Without float64 `json:"median_p999_without_us"` // of windows without any event
}

// effects compares the windows with an event with those without any.
func (l eventLog) effects(spans []window) map[string]effect {
	kinds := make([]map[string]bool, len(spans))
	for i := range kinds {
		kinds[i] = map[string]bool{}
	}
	count := map[string]int{}
	for _, e := range l.events {
		count[e.kind]++
		if i := int(e.at / spanLength); i < len(spans) {
			kinds[i][e.kind] = true
		}
	}
	var without []float64
	with := map[string][]float64{}
	for i, s := range spans {
		if len(kinds[i]) == 0 {
			without = append(without, s.P999)
		}
		for kind := range kinds[i] {
			with[kind] = append(with[kind], s.P999)
		}
	}
	effects := make(map[string]effect)
	for _, kind := range eventKinds {
		effects[kind] = effect{count[kind], median(with[kind]), median(without)}
	}
	return effects
}

// other is how many cores other processes kept busy in a second.
func (l eventLog) other(second int) float64 {
	if second+1 >= len(l.busy) {
		return 0
	}
	return max(0, l.busy[second+1]-l.busy[second]-(l.own[second+1]-l.own[second]))
}

// ownBusy is the CPU time of this process and of the broker.
func ownBusy(pid int) float64 {
	var sum float64
	for _, pid := range []int{pid, os.Getpid()} {
		if u, err := readUsage(pid); err == nil {
			sum += u.CPU
		}
	}
	return sum
}
