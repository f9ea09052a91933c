package server

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// throttled logs at most some lines a second, so that a flood outside is not a flood in the log.
func throttled(log zerolog.Logger) zerolog.Logger {
	return log.Sample(&logRate{burst: 5, period: time.Second})
}

// logRate lets burst lines pass a period. zerolog's own sampler compares times of the wall clock, so a clock that is put back would keep everything out of
// the log for as long.
type logRate struct {
	burst  int
	period time.Duration

	mu    sync.Mutex
	began time.Time // of this period; guarded by mu
	count int       // of it; guarded by mu
}

// Sample is part of zerolog.Sampler.
func (r *logRate) Sample(zerolog.Level) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.began) >= r.period {
		r.began, r.count = now, 0
	}
	r.count++
	return r.count <= r.burst
}
