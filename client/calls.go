package client

import (
	"maps"
	"slices"

	"github.com/metaq/metaq/protocol"
)

// call takes an answer, or why there is none.
type call func(*protocol.Response, error)

// calls are the requests of a connection that wait for their answers, by opaque. Opaques are given in turn, and most answers come in the order of their requests. So
// the calls are kept in a ring: finding one costs a subtraction. The few that wait long, a get for messages that are still to come, are put aside when the ring has
// come round to them. The zero value has none.
type calls struct {
	ring  []call // its length is a power of two; nil where the answer has come
	start int    // place of the first
	count int    // places that are used, the answered ones among them
	live  int    // those that are not answered
	first int32  // opaque of the first
	late  map[int32]call
}

const (
	leastRing = 64
	// opaques is how many there are: all that are not negative, but protocol.NoOpaque.
	opaques = int64(protocol.NoOpaque)
)

// add keeps a call and tells the opaque of its request.
func (c *calls) add(fn call) (opaque int32) {
	if c.count == len(c.ring) {
		c.makeRoom()
	}
	opaque = c.opaque(c.count)
	*c.at(c.count) = fn
	c.count++
	c.live++
	return opaque
}

// take gives back the call of an opaque, nil if none waits.
func (c *calls) take(opaque int32) call {
	n := int64(opaque) - int64(c.first)
	if n < 0 {
		n += opaques
	}
	if opaque < 0 || n >= int64(c.count) {
		fn := c.late[opaque]
		delete(c.late, opaque)
		return fn
	}
	fn := *c.at(int(n))
	if fn == nil {
		return nil
	}
	*c.at(int(n)) = nil
	c.live--
	for c.count > 0 && *c.at(0) == nil {
		c.dropFirst()
	}
	return fn
}

// takeAll gives back all that wait, the oldest first.
func (c *calls) takeAll() (all []call) {
	age := func(opaque int32) int64 { // how long before the first it was given
		return (int64(c.first) - int64(opaque) + opaques) % opaques
	}
	for _, opaque := range slices.SortedFunc(maps.Keys(c.late), func(a, b int32) int { return int(age(b) - age(a)) }) {
		all = append(all, c.late[opaque])
	}
	for n := range c.count {
		if fn := *c.at(n); fn != nil {
			all = append(all, fn)
		}
	}
	*c = calls{}
	return all
}

// makeRoom puts what has waited long aside when most of the ring is answered, and makes it larger otherwise.
func (c *calls) makeRoom() {
	if 2*c.live < len(c.ring) {
		if c.late == nil {
			c.late = map[int32]call{}
		}
		for half := c.count / 2; c.count > half; c.dropFirst() {
			if fn := *c.at(0); fn != nil {
				c.late[c.first] = fn
				c.live--
				*c.at(0) = nil
			}
		}
		return
	}
	larger := make([]call, max(leastRing, 2*len(c.ring)))
	for n := range c.count {
		larger[n] = *c.at(n)
	}
	c.ring, c.start = larger, 0
}

func (c *calls) dropFirst() {
	c.start = (c.start + 1) & (len(c.ring) - 1)
	c.first = c.opaque(1)
	c.count--
}

// opaque is that of the nth call.
func (c *calls) opaque(n int) int32 { return int32((int64(c.first) + int64(n)) % opaques) }

// at is where the nth call is.
func (c *calls) at(n int) *call { return &c.ring[(c.start+n)&(len(c.ring)-1)] }
