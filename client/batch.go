package client

import (
	"context"
	"slices"
	"time"
)

// batch is what a reader got with one answer. Until it is done with, the reader hands over no other: that keeps the messages of a partition in order, however
// many goroutines handle messages.
type batch struct {
	from     *reader
	messages []Received // those that are not done with
	resume   time.Time  // if it is set aside: not before
	tries    int        // of the first message, which have failed
	stopped  bool       // the first message can be put nowhere
	place    *place     // of its one message, if Take has handed that out before; nil otherwise
}

// deliver hands messages over when those before them are done with.
func (r *reader) deliver(list []Received) {
	select {
	case r.turn <- struct{}{}:
	case <-r.ctx.Done():
		return
	}
	select {
	case r.c.batches <- &batch{from: r, messages: list}:
	case <-r.ctx.Done():
	}
}

// await waits for a batch. It is nil when ctx has ended, or the consumer, which may have an error.
func (c *Consumer) await(ctx context.Context) (*batch, error) {
	c.started.Do(c.start)
	for ctx.Err() == nil && c.ctx.Err() == nil {
		b, wait := c.takeAside()
		if b != nil {
			return b, nil
		}
		var due <-chan time.Time // never, if nothing is set aside
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case b := <-c.batches:
			return b, nil
		case <-due:
		case <-c.more:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return nil, c.fatal
}

// takeAside takes a batch that was set aside and may go on, or tells how long it is until one may; 0 if there is none.
func (c *Consumer) takeAside() (b *batch, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range c.aside {
		left := time.Until(b.resume)
		if left <= 0 || b.from.released {
			c.aside = slices.Delete(c.aside, i, i+1)
			if len(c.aside) > 0 {
				c.tellLocked() // another one may go on too
			}
			return b, 0
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return nil, wait
}

// each calls do with the messages of a batch that are wanted. When do says that one is not done, the rest is set aside. What is no longer this consumer's is
// dropped.
func (c *Consumer) each(ctx context.Context, b *batch, do func(Received) bool) (ok bool) {
	defer func() {
		if !ok { // also after a panic
			c.putDown(b)
		}
	}()
	for more := c.take(b, false); more; more = c.take(b, true) {
		m := b.messages[0]
		if ctx.Err() != nil {
			return false
		}
		if c.wants(ctx, m) {
			if !do(m) {
				return false
			}
			c.remember(ctx, m)
		}
		c.recovery.goesOn(b)
	}
	c.recovery.goesOn(b) // elsewhere, if it stopped here
	if len(b.messages) == 0 {
		<-b.from.turn
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitForClaimLocked(b)
	return true
}

// claimPause is how long a batch waits until it is looked at again whether its partition is this consumer's for sure.
const claimPause = 100 * time.Millisecond

// waitForClaimLocked sets a batch aside whose partition may be somebody else's by now, and need not be: a session that counts as lost is had back if ZooKeeper
// answers before it ends. A partition that is given up drops it.
func (c *Consumer) waitForClaimLocked(b *batch) {
	if c.closing || b.from.released {
		return
	}
	b.resume = time.Now().Add(claimPause)
	c.aside = append(c.aside, b)
}
