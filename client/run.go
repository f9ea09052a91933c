package client

import (
	"bytes"
	"context"
	"iter"

	"golang.org/x/sync/errgroup"
)

// WithWorkers is how many messages Run handles at the same time: one of a partition, and the next one of it when that is done. Default: 1.
func WithWorkers(n int) ConsumerOption { return func(o *consumerOptions) { o.workers = n } }

// Messages iterates over the messages of all partitions as they come, those of a partition in order. It waits for more until ctx ends or
// the consumer is closed, which ends the iteration without an error. An error that a retry cannot mend is yielded once and ends it. A
// message counts as done when the next one is asked for. One goroutine may iterate at a time; a later iteration goes on where one ended.
func (c *Consumer) Messages(ctx context.Context) iter.Seq2[Received, error] {
	return func(yield func(Received, error) bool) {
		for {
			b, err := c.await(ctx)
			if err != nil {
				yield(Received{}, err)
			}
			if b == nil || !c.each(ctx, b, func(m Received) bool { return yield(m, nil) }) {
				return
			}
		}
	}
}

// Run calls handler for each message until ctx ends (nil), the consumer is closed (nil), something fails for good, or the handler returns
// an error, which is returned; its message does not count as done and comes again. With WithRecovery the errors of the handler do not end Run.
func (c *Consumer) Run(ctx context.Context, handler func(context.Context, Received) error) error {
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for range c.options.workers {
		g.Go(func() error {
			defer stop() // one that ends has a reason that is one for all
			return c.work(ctx, handler)
		})
	}
	if c.recovery != nil {
		g.Go(func() error {
			c.recovery.run(ctx, handler)
			return nil
		})
	}
	return g.Wait()
}

// work handles one batch after the other.
func (c *Consumer) work(ctx context.Context, handler func(context.Context, Received) error) (failed error) {
	for {
		b, err := c.await(ctx)
		if b == nil {
			return err
		}
		ok := c.each(ctx, b, func(m Received) bool {
			if c.recovery != nil && c.recovery.store.has(m) {
				return true // it comes again because its offset was not committed
			}
			given := m
			if c.recovery != nil {
				given.Body = bytes.Clone(m.Body) // the handler may write into it, and fail
			}
			err := handler(ctx, given)
			switch {
			case err == nil:
				return true
			case c.recovery == nil:
				failed = err
				return false
			case ctx.Err() != nil:
				return false // it was told to stop, and comes again
			}
			return c.recovery.failed(b, m, err)
		})
		if failed != nil || !ok && ctx.Err() != nil {
			return failed
		}
	}
}

// wants says whether a message is for the program: what a filter leaves out, and what was handled before, is not.
func (c *Consumer) wants(ctx context.Context, m Received) bool {
	for _, f := range c.options.filters {
		if !f(m) {
			return false
		}
	}
	if c.options.seen == nil {
		return true
	}
	seen, err := c.options.seen.Seen(ctx, m.key())
	if err != nil {
		c.options.log.Warn("whether a message was handled before is not known; it is handled", "topic", m.Topic, "id", m.ID, "error", err)
	}
	return err != nil || !seen
}

// remember notes that a message was handled.
func (c *Consumer) remember(ctx context.Context, m Received) {
	if c.options.seen == nil {
		return
	}
	if err := c.options.seen.Add(ctx, m.key()); err != nil {
		c.options.log.Warn("that a message was handled is not noted", "topic", m.Topic, "id", m.ID, "error", err)
	}
}
