package spout

import (
	"context"
	"errors"
	"time"

	"github.com/metaq/metaq/client"
)

// maxBytes bounds the bodies of messages in hand, of all partitions together.
const maxBytes = 64 << 20

// The pauses after the consumer has ended with an error.
const (
	consumeFrom = time.Second
	consumeTo   = 30 * time.Second
)

// drainFor is how long tuples are waited for that Storm has when the topology is deactivated, before the partitions are given up.
const drainFor = 10 * time.Second

// closeFor bounds that the consumer leaves its group.
const closeFor = 8 * time.Second

// An intake takes messages from the client from when the topology is activated until it is deactivated.
type intake struct {
	s      *spout
	stop   context.CancelFunc
	ended  chan struct{}
	claims map[<-chan struct{}]*claim // by the channel that says that it ends. Under spout.mu
}

// begin starts an intake when the one before it, which may be nil, has ended: two consumers of the same program would each get half of the partitions.
func (s *spout) begin(before *intake) *intake {
	ctx, stop := context.WithCancel(s.ctx)
	i := &intake{s: s, stop: stop, ended: make(chan struct{}), claims: map[<-chan struct{}]*claim{}}
	go func() {
		defer close(i.ended)
		if before != nil {
			<-before.ended
		}
		for pause := consumeFrom; ctx.Err() == nil; pause = min(2*pause, consumeTo) {
			switch err := i.consume(ctx); {
			case err == nil:
			case ctx.Err() != nil:
				s.log.Warn("the last acknowledged messages may come again: the consumer could not end in order", "error", err)
			default:
				s.log.Error("the consumer has ended and begins again", "error", err, "again_in", pause)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}()
	return i
}

// consume takes messages until ctx ends, or something fails for good.
func (i *intake) consume(ctx context.Context) error {
	s := i.s
	consumer, err := s.newConsumer()
	if err != nil {
		return err
	}
	for err == nil {
		if err = i.room(ctx); err != nil {
			break
		}
		var h *client.Held
		if h, err = consumer.Take(ctx); err == nil {
			i.take(h)
		}
	}
	if ctx.Err() != nil {
		err = nil
		i.drain()
	}
	i.abandon()
	closing, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	return errors.Join(err, consumer.Close(closing))
}

// room waits until there is some for a message.
func (i *intake) room(ctx context.Context) error {
	for {
		i.s.mu.Lock()
		full := i.s.inFlight.bytes >= maxBytes
		i.s.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-i.s.less:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take takes one message over.
func (i *intake) take(h *client.Held) {
	s := i.s
	s.mu.Lock()
	c := i.claims[h.Leaving()]
	if c == nil {
		c = &claim{}
		i.claims[h.Leaving()] = c
		go i.watch(c, h.Leaving())
	}
	s.inFlight.add(c, h, h.Received)
	s.mu.Unlock()
	wake(s.news)
}

// watch gives back what Storm does not have of a partition as soon as that is given up.
func (i *intake) watch(c *claim, leaving <-chan struct{}) {
	<-leaving // at the latest when the consumer is closed
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	i.s.inFlight.leave(c)
	delete(i.claims, leaving)
	wake(i.s.less)
}

// drain waits until Storm has answered for what it has, unless the spout ends or that takes too long.
func (i *intake) drain() {
	s := i.s
	s.mu.Lock()
	for _, c := range i.claims {
		s.inFlight.leave(c)
	}
	s.mu.Unlock()
	bound := time.After(drainFor)
	for i.flying() {
		select {
		case <-s.less:
		case <-bound:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

func (i *intake) flying() bool {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	return len(i.s.inFlight.all) > 0
}

// abandon gives back everything.
func (i *intake) abandon() {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	i.s.inFlight.abandon()
}

// wake wakes whoever waits, now or next.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
