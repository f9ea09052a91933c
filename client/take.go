package client

import (
	"context"

	"github.com/metaq/metaq/zkcoord"
)

// WithInHand is how many messages of a partition Take leaves in the hands of the program at the same time. Default: 100.
func WithInHand(n int) ConsumerOption { return func(o *consumerOptions) { o.inHand = n } }

// maxAhead bounds the messages of a partition that are done while one before them is not. They cannot be committed, so that as many may come again after a
// crash. A message that is never done stops its partition after so many others.
const maxAhead = 20_000

// Held is a message that Take has left in the hands of the program.
type Held struct {
	Received
	c     *Consumer
	from  *reader
	place *place
	over  bool // done or returned. Under Consumer.mu
}

// place is that of a message among those of its partition that were taken.
type place struct {
	next zkcoord.Offset // behind it
	done bool
}

// Take waits for the next message and leaves it in the hands of the caller, until that calls its Done or Return. Of each partition so many may be in hand as
// WithInHand says. They are handed out in order, and may be done in any order: the offset that is committed is that of the first one that is not done. The
// error is that of ctx, ErrClosed after Close, or one that no retry mends. Take may be called from several goroutines; a consumer is used either with it or with
// Messages and Run, and WithRecovery is for Run.
func (c *Consumer) Take(ctx context.Context) (*Held, error) {
	for {
		b, err := c.await(ctx)
		switch {
		case err != nil:
			return nil, err
		case b == nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case b == nil:
			return nil, ErrClosed
		}
		h := c.hand(b)
		switch {
		case h == nil:
		case c.wants(ctx, h.Received):
			return h, nil
		default:
			h.settle(true)
		}
	}
}

// Done says that the message is dealt with. The second call for a message does nothing, nor does one for a partition that was given up.
func (h *Held) Done() {
	h.c.remember(h.c.ctx, h.Received)
	h.settle(true)
}

// Return says that the caller will not deal with the message. Take hands it out again, or the next owner of its partition does.
func (h *Held) Return() { h.settle(false) }

// Leaving is closed when the partition of the message is being given up. The next owner gets the message if it is not done soon: it has to wait until nothing
// of the partition is in hand, but at most for the time-out of the session with ZooKeeper. Messages of the same partition have the same channel, as long as this
// consumer has it without interruption.
func (h *Held) Leaving() <-chan struct{} { return h.from.ctx.Done() }

// hand takes the first message of a batch, unless its partition is given up or has as many in hand as it may. The rest of the batch goes on when there is room.
func (c *Consumer) hand(b *batch) *Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := b.from
	switch {
	case c.closing || r.released || !r.claim.Valid():
		c.waitForClaimLocked(b)
		return nil
	case b.place == nil && !c.roomLocked(r):
		r.parked = b
		return nil
	}
	h := &Held{Received: b.messages[0], c: c, from: r, place: b.place}
	c.inHand[r]++
	if b.place != nil { // it was returned
		return h
	}
	h.place = &place{next: zkcoord.Offset{MessageID: h.ID, Offset: h.Next}}
	r.taken = append(r.taken, h.place)
	b.messages = b.messages[1:]
	switch {
	case len(b.messages) == 0:
		<-r.turn
	case c.roomLocked(r):
		c.goOnLocked(b)
	default:
		r.parked = b
	}
	return h
}

func (c *Consumer) roomLocked(r *reader) bool {
	return c.inHand[r] < c.options.inHand && len(r.taken) < maxAhead
}

// goOnLocked lets somebody who waits for a batch have this one.
func (c *Consumer) goOnLocked(b *batch) {
	c.aside = append(c.aside, b)
	c.tellLocked()
}

// tellLocked wakes one of those who wait for a batch.
func (c *Consumer) tellLocked() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// settle ends that the message is in hand.
func (h *Held) settle(done bool) {
	c, r := h.c, h.from
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.over {
		return
	}
	h.over = true
	c.putDownLocked(r)
	if done {
		h.place.done = true
		for len(r.taken) > 0 && r.taken[0].done {
			r.position, r.known, r.changed = r.taken[0].next, true, true
			r.taken = r.taken[1:]
		}
	}
	if r.released {
		return
	}
	if !done {
		c.goOnLocked(&batch{from: r, messages: []Received{h.Received}, place: h.place})
	}
	if b := r.parked; b != nil && c.roomLocked(r) {
		r.parked = nil
		c.goOnLocked(b)
	}
}
