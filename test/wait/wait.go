// Package wait is how tests wait for what has to be asked for.
package wait

import (
	"testing"
	"time"
)

// Until asks again and again until something is so, and tells how long that took. After patience it ends the test, which says what was waited for.
func Until(t testing.TB, every, patience time.Duration, what string, so func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for bound := time.After(patience); !so(); {
		select {
		case <-tick.C:
		case <-bound:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
	return time.Since(began)
}
