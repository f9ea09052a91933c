package main

import "time"

// windows are the latencies of a run cut into equal spans of time, by when the answer came.
type windows struct {
	every time.Duration
	done  []window
	now   hist
}

// window is one of them. Quantiles are microseconds.
type window struct {
	Msgs  uint64  `json:"msgs"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
	Other float64 `json:"other_cpu_cores,omitempty"`
	// Events are what the broker did meanwhile.
	Events []string `json:"events,omitempty"`
}

// add counts an answer that came at, in nanoseconds since the start.
func (w *windows) add(at int64, latency time.Duration) {
	for at >= int64(len(w.done)+1)*int64(w.every) {
		w.end()
	}
	w.now.add(latency)
}

// end closes the window that is under way.
func (w *windows) end() {
	h := &w.now
	w.done = append(w.done, window{Msgs: h.total, P50: h.quantile(.5), P99: h.quantile(.99), P999: h.quantile(.999), Max: float64(h.maxVal) / 1e3})
	w.now = hist{}
}
