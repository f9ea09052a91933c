package server

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"math"
)

// The realtime numbers are those of about the last minute: the difference between now and a sample of the counters taken then.
const (
	sampleTime  = 15 * time.Second
	windowSlots = 4
)

// sample is what the realtime lines show, as counted since the start.
type sample struct {
	put, get, offset, miss, putFailed, size, sizeBytes int64
}

// window keeps the samples of the last minute.
type window struct {
	mu      sync.Mutex
	samples [windowSlots]sample
	times   [windowSlots]time.Time
	n       int // samples taken, since the last reset
	base    sample
	baseAt  time.Time
}

// reset forgets what was counted before now.
func (w *window) reset(now time.Time, s sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.base, w.baseAt = 0, s, now
}

// take keeps a sample.
func (w *window) take(now time.Time, s sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.n % windowSlots
	w.samples[i], w.times[i] = s, now
	w.n++
}

// lines are the six values of a window: put, get, offset, get_miss, put_failed, message_size. absent is what a value
// reads that was never counted since the last reset.
func (w *window) lines(now time.Time, s sample, absent func(key string) string) [6]string {
	w.mu.Lock()
	old, at, base := w.base, w.baseAt, w.base
	if w.n >= windowSlots {
		i := w.n % windowSlots // the oldest
		old, at = w.samples[i], w.times[i]
	}
	w.mu.Unlock()
	seconds := int64(max(now.Sub(at).Round(time.Second)/time.Second, 1))
	line := func(key string, all, before, now, value int64) string {
		if all == 0 {
			return absent(key)
		}
		count := now - before
		return fmt.Sprintf("Count=%d,Value=%d,Value/Count=%s,Count/Duration=%s,Duration=%d", count, value, ratio(value, count), ratio(count, seconds), seconds)
	}
	return [6]string{
		line("cmd_put", s.put-base.put, old.put, s.put, s.put-old.put),
		line("cmd_get", s.get-base.get, old.get, s.get, s.get-old.get),
		line("cmd_offset", s.offset-base.offset, old.offset, s.offset, s.offset-old.offset),
		line("get_miss", s.miss-base.miss, old.miss, s.miss, s.miss-old.miss),
		line("put_failed", s.putFailed-base.putFailed, old.putFailed, s.putFailed, s.putFailed-old.putFailed),
		line("message_size", s.size-base.size, old.size, s.size, s.sizeBytes-old.sizeBytes),
	}
}

// ratio is a quotient with at most two digits behind the point.
func ratio(a, b int64) string {
	if b == 0 {
		return "0"
	}
	return strconv.FormatFloat(math.Round(float64(a)/float64(b)*100)/100, 'f', -1, 64)
}
