package soak

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gauge is one thing that must not grow.
type gauge struct {
	name, unit string
	scale      float64 // from what is read to the unit
	grows      float64 // at most, over the whole run, in the unit
	read       func(s *source) (float64, error)
	values     []float64
}

// source is where the figures of a process come from.
type source struct {
	pid     int
	metrics string // address of its HTTP side
}

// gauges are the things that are watched. The limits leave room for what comes and goes: a garbage collection, a segment more or less.
func gauges() []*gauge {
	return []*gauge{
		{name: "goroutines", scale: 1, grows: 8, read: func(s *source) (float64, error) { return s.metric("go_goroutines") }},
		{name: "open files", scale: 1, grows: 8, read: (*source).files},
		{name: "mappings", scale: 1, grows: 24, read: (*source).mappings},
		{name: "anonymous memory", unit: " MiB", scale: 1.0 / 1024, grows: 24, read: func(s *source) (float64, error) { return s.status("RssAnon:") }},
		{name: "threads", scale: 1, grows: 6, read: func(s *source) (float64, error) { return s.status("Threads:") }},
	}
}

func (s *source) metric(name string) (float64, error) {
	resp, err := http.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

func (s *source) files() (float64, error) {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	return float64(len(names)), err
}

func (s *source) mappings() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.pid))
	return float64(strings.Count(string(b), "\n")), err
}

// status reads a number of /proc/PID/status.
func (s *source) status(key string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("no %s in the status of process %d", key, s.pid)
}

// sample adds a value to each gauge.
func (s *source) sample(list []*gauge) error {
	for _, g := range list {
		v, err := g.read(s)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		g.values = append(g.values, v*g.scale)
	}
	return nil
}

// growth is by how much a gauge grew over its values, as the median of the slopes of all pairs says: single values far off do not count.
func growth(values []float64) float64 {
	var slopes []float64
	for i := range values {
		for j := i + 1; j < len(values); j++ {
			slopes = append(slopes, (values[j]-values[i])/float64(j-i))
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	return slopes[len(slopes)/2] * float64(len(values)-1)
}

// perHour is a growth over a time as a slope.
func perHour(growth float64, over time.Duration) float64 {
	return growth * float64(time.Hour) / float64(over)
}
