package partition

import (
	"testing"
	"time"
)

// What must not be is seen: two that have a partition at a time, and messages that one hands over while another one has the partition.
func TestLedger_Double(t *testing.T) {
	for name, c := range map[string]struct {
		spans   []*span
		twice   time.Duration
		outside int
	}{
		"one after the other":         {spans: []*span{{"c1", 1, 10, 100}, {"c2", 1, 100, 200}, {"c1", -1, 99, 99}, {"c2", -1, 101, 101}}},
		"both at a time":              {spans: []*span{{"c1", 1, 10, 100}, {"c2", 1, 90, 200}}, twice: 10},
		"handed over beyond its time": {spans: []*span{{"c1", 1, 10, 100}, {"c2", 1, 100, 200}, {"c1", -1, 150, 150}}, outside: 1},
		"again by the same one":       {spans: []*span{{"c1", 1, 10, 100}, {"c1", 2, 90, 200}}},
	} {
		l := &ledger{}
		l.spans[3] = c.spans
		if twice, outside := l.double(); twice != c.twice || outside != c.outside {
			t.Errorf("%s: %s and %d, want %s and %d", name, twice, outside, c.twice, c.outside)
		}
	}
}
