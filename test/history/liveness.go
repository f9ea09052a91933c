package history

import (
	"slices"
	"time"
)

// liveness measures how soon the broker is back after each fault.
type liveness struct {
	healed  int64 // when the last fault ended
	waiting bool  // no put was acknowledged since
}

func (l *liveness) nemesis(e Event) {
	switch e.Type {
	case Invoke:
		l.waiting = false
	case OK:
		l.healed, l.waiting = e.T, true
	}
}

func (l *liveness) finish(j *judge) {
	if l.waiting {
		j.v.convict("liveness", "after the last fault, which ended after %s, no put was acknowledged", time.Duration(l.healed))
	}
	for key, line := range j.pending {
		j.v.convict("liveness", "line %d: %s never ended", line, key)
	}
	slices.Sort(j.v.Recovery)
}

// recovered notes an acknowledged put: the first after a fault tells how long the recovery took.
func (j *judge) recovered(t int64) {
	if j.live.waiting {
		j.live.waiting = false
		j.v.Recovery = append(j.v.Recovery, time.Duration(t-j.live.healed))
	}
}
