package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/metaq/metaq/protocol"
)

// lane is the way to one broker. One goroutine takes messages in the order in which they came and pipelines them; nothing is overtaken
// but by a retry: when the broker refuses a message for a while (503), later ones that are already under way may be stored before it.
// After a broken connection everything unanswered is sent again, in order.
type lane struct {
	p       *Producer
	broker  int
	breaker *breaker // nil for a broker that stands alone

	// Under Producer.mu.
	wake     *sync.Cond
	addr     string // "" if it is not known
	conn     *Conn  // set by the goroutine alone
	queue    []*sending
	failed   []*sending // to be sent again, once nothing is in flight
	inFlight int
	messages int // queued, failed or in flight
	bytes    int
	heard    time.Time // when the last try ended, or the first began

	// Of the goroutine only.
	at          string // address of conn
	backoff     *backoff.ExponentialBackOff
	unreachable bool // as of the last try
}

var errNoAddress = errors.New("metaq: the address of the broker is not known")

func (p *Producer) newLane(broker int) *lane {
	l := &lane{p: p, broker: broker, wake: sync.NewCond(&p.mu), backoff: newBackoff()}
	if p.cluster.directory != nil {
		l.breaker = newBreaker()
	}
	p.sending.Go(l.run)
	return l
}

// roomLocked says whether a lane takes so many bytes more. In a cluster a lane may hold as much as is still free, so that brokers that are away never take
// everything.
func (l *lane) roomLocked(bytes int) bool {
	messages, left := l.p.options.maxMessages-l.p.messages, l.p.options.maxBytes-l.p.bytes
	if l.breaker == nil {
		return messages > 0 && bytes <= left
	}
	return l.messages < messages && l.bytes+bytes <= left
}

// enqueueLocked puts a message at the end.
func (l *lane) enqueueLocked(s *sending) {
	l.queue = append(l.queue, s)
	l.messages++
	l.bytes += len(s.data)
	l.wake.Signal()
}

// leftLocked notes that a message is no longer in this lane.
func (l *lane) leftLocked(s *sending) {
	l.messages--
	l.bytes -= len(s.data)
}

// run is the sending goroutine.
func (l *lane) run() {
	for {
		batch, ok := l.take()
		if !ok {
			break
		}
		l.send(batch)
	}
	if l.conn != nil {
		l.conn.Close()
	}
	l.p.mu.Lock()
	rest := append(l.failed, l.queue...)
	l.failed, l.queue = nil, nil
	l.p.mu.Unlock()
	for _, s := range rest {
		l.p.finish(s, Receipt{}, ErrClosed)
	}
}

// take waits for something to send, and before a retry; false says that the producer is at its end.
func (l *lane) take() (batch []*sending, ok bool) {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch room := p.options.window - l.inFlight; {
		case p.ctx.Err() != nil:
			return nil, false
		case len(l.failed) > 0 && l.inFlight == 0:
			slices.SortFunc(l.failed, func(a, b *sending) int { return cmp.Compare(a.seq, b.seq) })
			l.queue = append(l.failed, l.queue...)
			l.failed = nil
			p.mu.Unlock()
			l.pause()
			p.mu.Lock()
		case len(l.failed) == 0 && room > 0 && len(l.queue) > 0:
			n := min(room, len(l.queue))
			batch = slices.Clone(l.queue[:n])
			l.queue = append(l.queue[:0], l.queue[n:]...)
			l.beginLocked(batch)
			return batch, true
		case p.closing && p.messages == 0 && l.inFlight == 0 && len(l.queue) == 0:
			return nil, false
		default:
			l.wake.Wait()
		}
	}
}

// beginLocked begins a try of each message.
func (l *lane) beginLocked(batch []*sending) {
	now := time.Now()
	if l.inFlight == 0 {
		l.heard = now
	}
	l.inFlight += len(batch)
	for _, s := range batch {
		s.began = now
		if l.breaker != nil {
			s.verdict = l.breaker.begin()
		}
	}
}

// pause waits before a retry.
func (l *lane) pause() {
	t := time.NewTimer(l.backoff.NextBackOff())
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.p.ctx.Done():
	}
}

// send puts a batch on its way over one connection. After the first failure that is tried again the rest of it fails as well: were it sent, it would overtake
// what failed.
func (l *lane) send(batch []*sending) {
	conn, broken := l.connected()
	for _, s := range batch {
		err := broken
		if err == nil && !s.chosen {
			if err = l.choose(conn, s); Retriable(err) {
				broken = err
			}
		}
		if err != nil {
			l.landed(s, Receipt{}, err)
			continue
		}
		partition := int32(-1)
		if s.chosen {
			partition = s.partition.Number
		}
		conn.do(func(dst []byte, opaque int32) []byte {
			return protocol.AppendPut(dst, s.topic, partition, s.flag, s.data, opaque)
		}, func(r *protocol.Response, err error) {
			var receipt Receipt
			if err == nil {
				receipt, err = parseReceipt(r)
				receipt.Broker = l.broker
			}
			l.landed(s, receipt, err)
		})
	}
}

const dialTimeout = 3 * time.Second

// connected is the connection, made anew if there is none. That the last one broke is an error once: what was in flight on it has to be
// sent again before anything else.
func (l *lane) connected() (*Conn, error) {
	l.p.mu.Lock()
	addr := l.addr
	l.p.mu.Unlock()
	if l.conn != nil {
		if addr != l.at {
			// Whoever is there yet, and takes messages, is not the broker that others read from.
			l.conn.fail(fmt.Errorf("metaq: broker %d is at %s now: %w", l.broker, addr, net.ErrClosed))
		}
		broken := l.conn.Err()
		if broken == nil {
			return l.conn, nil
		}
		l.p.options.log.Warn("the connection broke", "broker", l.broker, "error", broken)
		l.setConn(nil)
		return nil, broken
	}
	if addr == "" {
		return nil, errNoAddress
	}
	ctx, cancel := context.WithTimeout(l.p.ctx, dialTimeout)
	defer cancel()
	conn, err := l.p.cluster.conn(ctx, addr)
	if err != nil {
		if !l.unreachable && l.p.ctx.Err() == nil {
			l.unreachable = true
			l.p.options.log.Warn("the broker cannot be reached, it is tried again", "broker", l.broker, "address", addr, "error", err)
		}
		return nil, err
	}
	if l.unreachable {
		l.unreachable = false
		l.p.options.log.Info("the broker can be reached again", "broker", l.broker, "address", addr)
	}
	l.setConn(conn)
	l.at = addr
	return conn, nil
}

func (l *lane) setConn(c *Conn) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.conn = c
}

// choose picks the partition of a message for a broker that stands alone. It asks for them if need be. A broker that does not tell them, such as one of the original,
// chooses itself, but only for what may go anywhere: messages of a key would go to several partitions.
func (l *lane) choose(conn *Conn, s *sending) error {
	p := l.p
	anywhere := p.options.anywhere && s.free()
	p.mu.Lock()
	t := p.publishingLocked(s.topic)
	if !s.began.After(t.until) && (anywhere || len(t.partitions) > 0) {
		defer p.mu.Unlock()
		return p.chooseLocked(s, t, anywhere, nil)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	list, err := conn.Route(ctx, s.topic)
	switch {
	case p.ctx.Err() != nil:
		return ErrClosed
	case err != nil && ctx.Err() != nil:
		return &StatusError{Status: protocol.StatusTimeout, Text: "no answer to route"}
	case Retriable(err):
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil { // otherwise what was known before may be right
		t.partitions = make([]Partition, len(list))
		for i, r := range list {
			t.partitions[i] = Partition{Number: r.Partition}
		}
	}
	t.until = time.Now().Add(routeFor)
	return p.chooseLocked(s, t, anywhere, err)
}

// chooseLocked picks a partition of those that are known. refused is why they could not be had.
func (p *Producer) chooseLocked(s *sending, t *publishing, anywhere bool, refused error) error {
	switch {
	case len(t.partitions) > 0:
		s.partition, s.chosen = p.options.selector(&s.message, t.partitions), true
	case anywhere: // the broker chooses, or says what is wrong with the topic
	case refused != nil:
		return fmt.Errorf("metaq: the partitions of %s are not known: %w", s.topic, refused)
	default:
		return &StatusError{Status: protocol.StatusForbidden, Text: fmt.Sprintf("all partitions of %s are closed", s.topic)}
	}
	return nil
}

// landed takes the end of a try.
func (l *lane) landed(s *sending, receipt Receipt, err error) {
	p := l.p
	p.mu.Lock()
	now := time.Now()
	l.inFlight--
	l.heard = now
	if s.verdict != nil {
		s.verdict(verdict(err, now.Sub(s.began)))
		s.verdict = nil
	}
	again := err != nil && !s.once && now.Before(s.giveUp) && p.ctx.Err() == nil && p.againLocked(l, s, err)
	if !again {
		l.leftLocked(s)
	}
	if err == nil {
		l.backoff.Reset()
	}
	p.mu.Unlock()
	l.wake.Signal()
	if !again {
		p.finish(s, receipt, err)
	}
}

// lookLocked looks for a broker that says nothing although something is on its way there. The connection that it tells, if any, has to be broken.
func (l *lane) lookLocked(now time.Time) *Conn {
	if l.inFlight == 0 {
		return nil
	}
	silent := now.Sub(l.heard)
	dead := silent >= l.p.options.timeout
	if l.breaker != nil && silent >= slowAfter {
		// Whatever tries it after a while is not kept waiting as long as the first ones.
		dead = l.breaker.trip() || dead
		l.p.moveQueueLocked(l)
	}
	if dead {
		return l.conn
	}
	return nil
}
