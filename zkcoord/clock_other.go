//go:build !linux

package zkcoord

import "time"

// newClock makes a clock that begins at 0. Where Go's stands still while the machine sleeps, so does this one.
func newClock() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}
