package history

import (
	"fmt"
	"slices"
	"sort"
	"time"
)

// losses counts the puts, and those that are not where they were acknowledged.
func (j *judge) losses() {
	taken := map[string]int{} // by partition and cut
	for id, p := range j.puts {
		state := p.state
		if state == Invoke {
			state = Info
		}
		j.v.Puts[state]++
		if state == Info && p.found > 0 {
			j.v.Kept++
		}
		if p.state != OK || p.atPlace {
			continue
		}
		l := j.parts[p.at]
		cut, allowed := j.cutAfter(p.acked)
		switch {
		case p.off < l.first && slices.Contains(j.head.Expires, p.at.topic):
			j.v.Expired++
		case p.level == Accepted && allowed && p.found == 0:
			p.lost = true
			j.v.Allowed++
			j.v.WorstWindow = max(j.v.WorstWindow, time.Duration(cut.begun-p.acked))
			key := fmt.Sprint(p.at, cut.begun)
			taken[key]++
			j.v.WorstLoss = max(j.v.WorstLoss, taken[key])
		case p.found > 0:
			j.v.convict("lost-acked", "%s: %s was acknowledged at %d with id %d and is elsewhere, or has another id", p.at, id, p.off, p.mid)
		default:
			j.v.convict("lost-acked", "%s: %s, acknowledged at %d after %s, is not there", p.at, id, p.off, time.Duration(p.acked))
		}
	}
}

// cutAfter finds the first power cut after a moment, if what was acknowledged then may be lost by it.
func (j *judge) cutAfter(t int64) (next cut, allowed bool) {
	i := sort.Search(len(j.cuts), func(i int) bool { return j.cuts[i].healed >= t })
	if i == len(j.cuts) {
		return cut{}, false
	}
	return j.cuts[i], j.head.Window > 0 && j.cuts[i].begun-t <= j.head.Window.Nanoseconds()
}

// mayBeLost says whether a message that was read at a time may be gone in the end.
func (j *judge) mayBeLost(p *put, read int64) bool {
	_, allowed := j.cutAfter(read)
	return p.level == Accepted && allowed
}
