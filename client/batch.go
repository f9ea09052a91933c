package client

import (
	"context"
	"slices"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// batch is what came at once from a partition. While somebody has it, and while it is set aside, no other batch of the partition is handed over: that
// keeps the messages of a partition in order, however many goroutines handle messages.
type batch struct {
	place    place
	messages []Received    // those that are not done with
	turn     chan struct{} // of the partition, room for one: full while a batch of it is not done with
	resume   time.Time     // if it is set aside: not before
	tries    int           // of the first message, which have failed
	stopped  bool          // the first message can be put nowhere
}

// deliver hands a batch over when the one before it is done with.
func (c *Consumer) deliver(b *batch) {
	select {
	case b.turn <- struct{}{}:
	case <-c.ctx.Done():
		return
	}
	select {
	case c.batches <- b:
	case <-c.ctx.Done():
	}
}

// take waits for a batch. It is nil when ctx has ended, or the consumer, which may have an error.
func (c *Consumer) take(ctx context.Context) (*batch, error) {
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
		if left <= 0 {
			c.aside = slices.Delete(c.aside, i, i+1)
			return b, 0
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return nil, wait
}

// setAside gives a batch back: it goes on when its time has come and messages are asked for.
func (c *Consumer) setAside(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aside = append(c.aside, b)
}

// finish counts the first message of a batch as done.
func (c *Consumer) finish(b *batch) {
	m := &b.messages[0]
	c.mu.Lock()
	c.positions[place{protocol.Topic(m.Topic), m.Partition}] = zkcoord.Offset{MessageID: m.ID, Offset: m.Next}
	c.mu.Unlock()
	b.messages = b.messages[1:]
	b.tries, b.stopped = 0, false
	if len(b.messages) == 0 {
		<-b.turn
	}
}
