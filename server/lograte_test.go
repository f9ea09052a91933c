package server

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestThrottled_ClockThatIsPutBackKeepsNothingOut(t *testing.T) {
	var back atomic.Bool
	before := zerolog.TimestampFunc
	t.Cleanup(func() { zerolog.TimestampFunc = before })
	zerolog.TimestampFunc = func() time.Time {
		if back.Load() {
			return time.Now().Add(-time.Hour)
		}
		return time.Now()
	}
	var lines lineCounter
	log := throttled(zerolog.New(&lines))
	began := time.Now()
	for range 1000 {
		log.Error().Msg("something")
	}
	first := lines.lines.Load()
	if most := 5 * (int64(time.Since(began)/time.Second) + 1); first == 0 || first > most {
		t.Fatalf("%d lines in the log, want some, and at most %d", first, most)
	}
	back.Store(true)
	waitFor(t, "the log says something again", func() bool {
		log.Error().Msg("something")
		return lines.lines.Load() > first
	})
}
