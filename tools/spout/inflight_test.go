package spout

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/test/chaos"
)

// witness is a message that notes what becomes of it.
type witness struct {
	client.Received
	claim *claim

	done, returned int
	tuples         int    // that were emitted
	fails          int    // of them
	open           string // the tuple that may be answered for, "" if there is none
	until          time.Time
	notBefore      time.Time // of the next tuple
	dying, dead    bool
	acked          bool
}

func (w *witness) Done()   { w.done++ }
func (w *witness) Return() { w.returned++ }

// world drives an inFlight as Storm, the brokers and the clock may, and knows what has to come of it.
type world struct {
	t       *testing.T
	r       *rand.Rand
	now     time.Time
	tracker *inFlight
	claims  []*claim
	all     []*witness
	last    map[*claim]int64 // offset of the last message that was emitted for the first time
	tuples  map[string]*witness
	dying   []*flight
}

func (w *world) add() {
	c := w.claims[w.r.IntN(len(w.claims))]
	m := &witness{Received: client.Received{Topic: "t", Partition: int32(slices.Index(w.claims, c)), Offset: int64(len(w.all)), Body: make([]byte, w.r.IntN(9))}, claim: c}
	w.all = append(w.all, m)
	w.tracker.add(c, m, m.Received)
}

func (w *world) emit() {
	f := w.tracker.next()
	if f == nil {
		return
	}
	m := f.held.(*witness)
	if w.r.IntN(20) == 0 {
		w.tracker.unreadable(f, "why not")
		m.dying = true
		w.dying = append(w.dying, f)
		return
	}
	id := w.tracker.emit(f, w.now)
	switch {
	case m.open != "" || m.dying || m.done+m.returned > 0:
		w.t.Fatalf("%s is emitted, and message %d is not there to be emitted", id, m.Offset)
	case w.now.Before(m.notBefore):
		w.t.Fatalf("%s is emitted %s too early", id, m.notBefore.Sub(w.now))
	case w.tuples[id] != nil && w.tuples[id] != m:
		w.t.Fatalf("two messages have a tuple %s", id)
	case m.tuples == 0 && m.Offset < w.last[m.claim]:
		w.t.Fatalf("message %d is emitted after %d", m.Offset, w.last[m.claim])
	}
	if m.tuples == 0 {
		w.last[m.claim] = m.Offset
	}
	m.tuples++
	m.open, m.until = id, w.now.Add(w.tracker.answerIn)
	w.tuples[id] = m
	open := 0
	for _, m := range w.all {
		if m.open != "" {
			open++
		}
	}
	if open > w.tracker.most {
		w.t.Fatalf("Storm has %d tuples, want at most %d", open, w.tracker.most)
	}
}

// answer is one of Storm, for a tuple that it has, or had once.
func (w *world) answer() {
	if len(w.tuples) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(w.tuples))
	id := ids[w.r.IntN(len(ids))]
	m := w.tuples[id]
	if w.r.IntN(3) > 0 {
		w.tracker.ack(id)
		if m.open == id {
			m.open, m.acked = "", true
		}
		return
	}
	dead := w.tracker.fail(id, w.now)
	if m.open == id {
		w.failed(m, dead)
	} else if dead != nil {
		w.t.Fatalf("%s is dead by an answer that came too late", id)
	}
}

func (w *world) failed(m *witness, dead *flight) {
	m.open = ""
	m.fails++
	switch wants := m.fails == w.tracker.tries && !m.claim.leaving; {
	case wants != (dead != nil):
		w.t.Fatalf("message %d has failed %d times; that it goes to the dead-letter topic is %v", m.Offset, m.fails, dead != nil)
	case wants:
		m.dying = true
		w.dying = append(w.dying, dead)
	default:
		m.notBefore = w.now.Add(min(w.tracker.retryFrom<<(m.fails-1), w.tracker.retryTo))
	}
}

func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	dead := map[*witness]*flight{}
	for _, f := range w.tracker.expire(w.now) {
		dead[f.held.(*witness)] = f
	}
	for _, m := range w.all {
		if m.open != "" && !m.until.After(w.now) {
			w.failed(m, dead[m])
			delete(dead, m)
		}
	}
	if len(dead) > 0 {
		w.t.Fatalf("messages are dead that Storm may still answer for")
	}
}

func (w *world) bury() {
	if len(w.dying) == 0 {
		return
	}
	f := w.dying[0]
	w.dying = w.dying[1:]
	w.tracker.buried(f)
	f.held.(*witness).dead = true
}

// leave lets a partition be given up, and taken again.
func (w *world) leave() {
	i := w.r.IntN(len(w.claims))
	w.tracker.leave(w.claims[i])
	w.claims[i] = &claim{}
}

func (w *world) check() {
	t := w.t
	bytes, hand := 0, 0
	for _, m := range w.all {
		settled := m.done + m.returned
		if settled == 0 {
			hand++
			bytes += len(m.Body)
		}
		switch may := m.acked || m.dead; {
		case settled > 1:
			t.Fatalf("message %d is done %d times and returned %d times", m.Offset, m.done, m.returned)
		case (m.done == 1) != may:
			t.Fatalf("message %d: that it is done is %v; acknowledged %v, in the dead-letter topic %v", m.Offset, m.done == 1, m.acked, m.dead)
		case m.returned == 1 && !m.claim.leaving:
			t.Fatalf("message %d is returned, and its partition is still ours", m.Offset)
		case m.claim.leaving && settled == 0 && m.open == "" && !m.dying:
			t.Fatalf("message %d is kept although its partition is given up and Storm does not have it", m.Offset)
		}
	}
	if hand != w.tracker.counts.InFlight || bytes != w.tracker.bytes {
		t.Fatalf("%d messages of %d bytes are said to be in hand, it is %d of %d", w.tracker.counts.InFlight, w.tracker.bytes, hand, bytes)
	}
}

// Whatever Storm, the brokers and the clock do, each message is done once if Storm has acknowledged it or the dead-letter topic has it, and else is emitted again or
// given back.
func TestInFlight_WhateverHappens(t *testing.T) {
	seed := chaos.Seed(t)
	for round := range chaos.Pick(300, 10_000) {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		w := &world{t: t, r: r, now: time.Unix(0, 0), last: map[*claim]int64{}, tuples: map[string]*witness{},
			tracker: newInFlight(policy{tries: 1 + r.IntN(4), retryFrom: time.Second, retryTo: 3 * time.Second, answerIn: 7 * time.Second, most: 1 + r.IntN(9)})}
		for range 1 + r.IntN(3) {
			w.claims = append(w.claims, &claim{})
		}
		for range 300 {
			switch n := r.IntN(100); {
			case n < 30:
				w.add()
			case n < 60:
				w.emit()
			case n < 80:
				w.answer()
			case n < 90:
				w.pass(time.Duration(r.IntN(3000)) * time.Millisecond)
			case n < 98:
				w.bury()
			default:
				w.leave()
			}
			w.check()
		}
		// Storm answers for nothing any more, and nothing is stuck: it all ends in the dead-letter topic, or with the next owner.
		for i := 0; w.tracker.counts.InFlight > 0; i++ {
			w.emit()
			w.pass(time.Second)
			w.bury()
			w.check()
			if i > 100_000 {
				t.Fatalf("%d messages are stuck", w.tracker.counts.InFlight)
			}
		}
		if n := len(w.tracker.due) + len(w.tracker.emitted) + len(w.tracker.all); n > 0 {
			t.Fatalf("%d entries are left of messages that are done", n)
		}
	}
}

func TestInFlight_AbandonReturnsEverything(t *testing.T) {
	tracker := newInFlight(policy{tries: 1, retryFrom: time.Second, retryTo: time.Second, answerIn: time.Second})
	c := &claim{}
	var all []*witness
	for i := range 4 {
		m := &witness{Received: client.Received{Topic: "t", Offset: int64(i)}}
		all = append(all, m)
		tracker.add(c, m, m.Received)
	}
	now := time.Now()
	tracker.emit(tracker.next(), now)
	dying := tracker.fail(tracker.emit(tracker.next(), now), now)
	tracker.abandon()
	tracker.buried(dying) // too late
	for _, m := range all {
		if m.done != 0 || m.returned != 1 {
			t.Errorf("message %d is done %d times and returned %d times, want it returned", m.Offset, m.done, m.returned)
		}
	}
	if tracker.next() != nil {
		t.Error("there is still something to emit")
	}
}

// A partition that went and came back brings messages that Storm has yet: its answer says that a message is dealt with, whichever of its tuples it is for.
func TestInFlight_AMessageThatComesBack(t *testing.T) {
	tracker := newInFlight(policy{retryFrom: time.Second, retryTo: time.Second}) // of a topology without time-outs
	var all []*witness
	for range 2 {
		c := &claim{}
		m := &witness{Received: client.Received{Topic: "t", Body: []byte("x")}, claim: c}
		all = append(all, m)
		tracker.add(c, m, m.Received)
		id := tracker.emit(tracker.next(), time.Now())
		if len(all) == 1 {
			tracker.leave(c)
		} else {
			tracker.ack(id)
		}
	}
	if all[0].returned != 1 || all[1].done != 1 {
		t.Errorf("the first is returned %d times, the second is done %d times, want 1 and 1", all[0].returned, all[1].done)
	}
	if n := len(tracker.all) + len(tracker.emitted) + tracker.bytes; n > 0 {
		t.Errorf("%d messages of %d bytes are in hand for ever", len(tracker.all), tracker.bytes)
	}
}

func TestInFlight_NamesTuples(t *testing.T) {
	tracker := newInFlight(policy{retryFrom: time.Second, retryTo: time.Second})
	m := &witness{Received: client.Received{Topic: "orders", Broker: 2, Partition: 3, Offset: 1024}}
	tracker.add(&claim{}, m, m.Received)
	now := time.Now()
	for try := 1; try < 4; try++ {
		id := tracker.emit(tracker.next(), now)
		if want := fmt.Sprintf("orders:2-3:1024#%d", try); id != want {
			t.Errorf("the tuple is %s, want %s", id, want)
		}
		tracker.fail(id, now)
		now = now.Add(time.Second)
		tracker.expire(now)
	}
}
