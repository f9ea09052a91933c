package spout

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/metaq/metaq/client"
)

// held is a message that the client has left in our hands: *client.Held, or a test's.
type held interface {
	Done()
	Return()
}

// state is where a message is.
type state uint8

const (
	ready   state = iota // Storm may have it
	emitted              // Storm has it, until due at most
	pausing              // Storm may have it again when it is due
	dying                // it is being sent to the dead-letter topic
	over                 // it is none of ours any more
)

// flight is a message from the moment that it is taken from the client to that when it is done or returned.
type flight struct {
	held     held
	message  client.Received
	claim    *claim
	state    state
	failures int
	why      string // of the last failure
	id       string // of the last tuple
	due      time.Time
	place    int // in the heap of those that are due, -1 if it is not there
}

// claim is a partition as long as it is ours without interruption.
type claim struct{ leaving bool }

// policy says how often a message is tried.
type policy struct {
	tries              int           // before it goes to the dead-letter topic; 0: no limit
	retryFrom, retryTo time.Duration // pauses after a failure; each is twice as long as the one before
	answerIn           time.Duration // how long Storm may take; 0: for ever
	most               int           // tuples that Storm may have at the same time; 0: no limit
}

// inFlight says of each message in our hands where it is. It is not safe for concurrent use, and reads no clock.
type inFlight struct {
	policy
	all          map[*flight]bool
	fresh, again []*flight // ready: for the first time, and after a failure
	emitted      map[string]*flight
	due          schedule
	bytes        int
	counts       Counts
}

func newInFlight(p policy) *inFlight {
	return &inFlight{policy: p, all: map[*flight]bool{}, emitted: map[string]*flight{}}
}

// add takes a message over.
func (t *inFlight) add(c *claim, h held, m client.Received) {
	f := &flight{held: h, message: m, claim: c, place: -1}
	t.counts.Received++
	t.counts.InFlight++
	t.bytes += len(m.Body)
	t.all[f] = true
	if c.leaving {
		t.giveBack(f)
		return
	}
	t.fresh = append(t.fresh, f)
}

// next is a message that Storm may have now, nil if there is none: what has failed first, then in the order of its partition.
func (t *inFlight) next() *flight {
	if t.most > 0 && len(t.emitted) >= t.most {
		return nil
	}
	for _, queue := range []*[]*flight{&t.again, &t.fresh} {
		for len(*queue) > 0 {
			f := (*queue)[0]
			(*queue)[0] = nil
			*queue = (*queue)[1:]
			if f.state == ready {
				return f
			}
		}
	}
	return nil
}

// emit notes that Storm has got a message, and names the tuple. Of a partition that went and came back Storm may have one of the same name; its answer for either
// says that the message is dealt with, and the one that is waited for is this.
func (t *inFlight) emit(f *flight, now time.Time) (id string) {
	m := f.message
	f.id = fmt.Sprintf("%s:%s:%d#%d", m.Topic, partition(m), m.Offset, f.failures+1)
	if before := t.emitted[f.id]; before != nil {
		t.giveBack(before)
	}
	f.state = emitted
	t.emitted[f.id] = f
	if t.answerIn > 0 {
		t.at(f, now.Add(t.answerIn))
	}
	t.counts.Emitted++
	if f.failures > 0 {
		t.counts.Replayed++
	}
	return f.id
}

// ack takes Storm's word that a tuple is dealt with. An answer that comes too late for its tuple counts for nothing.
func (t *inFlight) ack(id string) {
	f := t.emitted[id]
	if f == nil {
		t.counts.Late++
		return
	}
	t.counts.Acked++
	t.end(f)
	f.held.Done()
}

// fail takes Storm's word that a tuple has failed. It returns the message if that is to go to the dead-letter topic.
func (t *inFlight) fail(id string, now time.Time) (dead *flight) {
	f := t.emitted[id]
	if f == nil {
		t.counts.Late++
		return nil
	}
	t.counts.Failed++
	return t.failed(f, "it failed in the topology", now)
}

func (t *inFlight) failed(f *flight, why string, now time.Time) (dead *flight) {
	delete(t.emitted, f.id)
	t.unschedule(f)
	f.failures++
	f.why = why
	switch {
	case f.claim.leaving:
		t.giveBack(f)
	case t.tries > 0 && f.failures >= t.tries:
		t.bury(f, why)
		return f
	default:
		f.state = pausing
		t.at(f, now.Add(t.pause(f.failures)))
	}
	return nil
}

// pause is the one after so many failures.
func (t *inFlight) pause(failures int) time.Duration {
	d := t.retryFrom
	for range failures - 1 {
		if d >= t.retryTo {
			break
		}
		d *= 2
	}
	return min(d, t.retryTo)
}

// unreadable notes that the scheme does not read a message, which no further try would change.
func (t *inFlight) unreadable(f *flight, why string) {
	t.counts.Unreadable++
	t.bury(f, why)
}

// bury notes that a message is on its way to the dead-letter topic.
func (t *inFlight) bury(f *flight, why string) { f.state, f.why = dying, why }

// buried notes that the dead-letter topic has the message.
func (t *inFlight) buried(f *flight) {
	if f.state != dying {
		return
	}
	t.counts.Dead++
	t.end(f)
	f.held.Done()
}

// expire lets those whose pause is over be ready, and takes those for failed that Storm has not answered for. It returns those that are to go to the dead-letter
// topic.
func (t *inFlight) expire(now time.Time) (dead []*flight) {
	for len(t.due) > 0 && !t.due[0].due.After(now) {
		f := t.due[0]
		t.unschedule(f)
		switch f.state {
		case pausing:
			f.state = ready
			t.again = append(t.again, f)
		case emitted:
			t.counts.TimedOut++
			if f = t.failed(f, fmt.Sprintf("Storm gave no answer for it in %s", t.answerIn), now); f != nil {
				dead = append(dead, f)
			}
		}
	}
	return dead
}

// leave gives back what Storm does not have of a partition that is being given up. What Storm has may still be acknowledged.
func (t *inFlight) leave(c *claim) {
	c.leaving = true
	for f := range t.all {
		if f.claim == c && (f.state == ready || f.state == pausing) {
			t.giveBack(f)
		}
	}
}

// giveBack drops a message without its being done.
func (t *inFlight) giveBack(f *flight) {
	t.counts.Dropped++
	t.end(f)
	f.held.Return()
}

// abandon drops everything.
func (t *inFlight) abandon() {
	for f := range t.all {
		t.giveBack(f)
	}
}

// end forgets a message.
func (t *inFlight) end(f *flight) {
	if t.emitted[f.id] == f {
		delete(t.emitted, f.id)
	}
	t.unschedule(f)
	f.state = over
	delete(t.all, f)
	t.bytes -= len(f.message.Body)
	t.counts.InFlight--
}

// schedule is a heap of messages by the time at which something is due.
type schedule []*flight

func (t *inFlight) at(f *flight, due time.Time) {
	f.due = due
	heap.Push(&t.due, f)
}

func (t *inFlight) unschedule(f *flight) {
	if f.place >= 0 {
		heap.Remove(&t.due, f.place)
	}
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

// Push and Pop are for package heap.
func (s *schedule) Push(x any) {
	f := x.(*flight)
	f.place = len(*s)
	*s = append(*s, f)
}

func (s *schedule) Pop() any {
	last := len(*s) - 1
	f := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	f.place = -1
	return f
}
