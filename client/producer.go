package client

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/metaq/metaq/protocol"
)

// Producer sends messages to one broker. One goroutine takes them in the order in which they came and pipelines them; nothing is overtaken
// but by a retry: when the broker refuses a message for a while (503), later ones that are already under way may be stored before it.
// After a broken connection everything unanswered is sent again, in order.
type Producer struct {
	addr    string
	options producerOptions
	stop    context.CancelFunc
	ctx     context.Context
	done    sync.WaitGroup

	mu       sync.Mutex
	change   *sync.Cond
	queue    []*sending // to be sent
	failed   []*sending // to be sent again, once nothing is in flight
	inFlight int
	messages int // accepted and not finished
	bytes    int
	seq      uint64
	closing  bool

	// Of the sending goroutine only.
	conn    *Conn
	routes  map[string]route
	backoff *backoff.ExponentialBackOff
}

// sending is a message on its way.
type sending struct {
	message   Message
	topic     protocol.Topic
	data      []byte
	flag      int32
	seq       uint64
	partition int32 // chosen at the first try, -1: not yet
	giveUp    time.Time
	fn        func(Receipt, error)
}

// route is what a producer knows of a topic.
type route struct {
	partitions []int32
	until      time.Time
}

const routeFor = 10 * time.Second // how long the partitions of a topic are not asked for again

// NewProducer makes a producer for the broker at host:port. It connects at the first message.
func NewProducer(addr string, opts ...ProducerOption) (*Producer, error) {
	o := producerOptions{selector: RoundRobin(), window: 4096, maxMessages: 1 << 16, maxBytes: 64 << 20, retryFor: 30 * time.Second, log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(&o)
	}
	if o.window < 1 || o.maxMessages < 1 || o.maxBytes < 1 {
		return nil, fmt.Errorf("metaq: a window of %d and a buffer of %d messages and %d bytes: each must be at least 1", o.window, o.maxMessages, o.maxBytes)
	}
	p := &Producer{addr: addr, options: o, routes: map[string]route{}, backoff: newBackoff()}
	p.change = sync.NewCond(&p.mu)
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.done.Add(1)
	go p.run()
	return p, nil
}

// Send stores a message in a partition that the producer chooses, and waits until the broker has acknowledged it. When ctx ends first, the
// message may be stored all the same.
func (p *Producer) Send(ctx context.Context, topic string, body []byte) (Receipt, error) {
	return p.SendMessage(ctx, Message{Topic: topic, Body: body})
}

// SendMessage is Send for a message with more than a topic and a body.
func (p *Producer) SendMessage(ctx context.Context, m Message) (Receipt, error) {
	type result struct {
		receipt Receipt
		err     error
	}
	got := make(chan result, 1)
	p.SendAsync(m, func(r Receipt, err error) { got <- result{r, err} })
	select {
	case r := <-got:
		return r.receipt, r.err
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}

// SendAsync accepts a message and calls fn exactly once, when it is acknowledged or has failed for good. fn must not block: it runs on a
// goroutine of the producer, or on this one. SendAsync blocks while the buffer is full.
func (p *Producer) SendAsync(m Message, fn func(Receipt, error)) {
	topic, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		fn(Receipt{}, fmt.Errorf("metaq: %w", err))
		return
	}
	s := &sending{message: m, topic: topic, partition: m.Partition.plusOne - 1, fn: fn}
	s.data, s.flag = m.data()
	if len(s.data) > p.options.maxBytes {
		fn(Receipt{}, fmt.Errorf("%w: %d bytes, the limit is %d (WithBuffer)", ErrTooLarge, len(s.data), p.options.maxBytes))
		return
	}
	p.mu.Lock()
	for !p.closing && (p.messages >= p.options.maxMessages || p.bytes+len(s.data) > p.options.maxBytes) {
		p.change.Wait()
	}
	if p.closing {
		p.mu.Unlock()
		fn(Receipt{}, ErrClosed)
		return
	}
	p.seq++
	s.seq = p.seq
	s.giveUp = time.Now().Add(p.options.retryFor)
	p.messages++
	p.bytes += len(s.data)
	p.queue = append(p.queue, s)
	p.mu.Unlock()
	p.change.Broadcast()
}

// Close sends what was accepted, waits until all of it is acknowledged or has failed, and ends the producer. When ctx ends first, what is
// left fails with ErrClosed, and the error of ctx is returned.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.change.Broadcast()
	ended := make(chan struct{})
	go func() {
		p.done.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		p.stop()
		p.change.Broadcast()
		<-ended
		return ctx.Err()
	}
}

// run is the sending goroutine.
func (p *Producer) run() {
	defer p.done.Done()
	defer p.stop()
	// Waking the goroutine when the producer is stopped hard.
	defer context.AfterFunc(p.ctx, p.change.Broadcast)()
	for {
		batch, again, ok := p.take()
		if !ok {
			break
		}
		if again {
			p.pause()
		}
		p.send(batch)
	}
	if p.conn != nil {
		p.conn.Close()
	}
	p.mu.Lock()
	rest := append(p.failed, p.queue...)
	p.failed, p.queue = nil, nil
	p.mu.Unlock()
	for _, s := range rest {
		p.finish(s, Receipt{}, ErrClosed)
	}
}

// take waits for something to send. again says that it was sent before and a pause is due; false that the producer is at its end.
func (p *Producer) take() (batch []*sending, again, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.ctx.Err() != nil {
			return nil, false, false
		}
		if len(p.failed) > 0 {
			if p.inFlight == 0 {
				slices.SortFunc(p.failed, func(a, b *sending) int { return cmp.Compare(a.seq, b.seq) })
				p.queue = append(p.failed, p.queue...)
				p.failed = nil
				again = true
			}
		} else if room := p.options.window - p.inFlight; room > 0 && len(p.queue) > 0 {
			n := min(room, len(p.queue))
			batch = slices.Clone(p.queue[:n])
			p.queue = append(p.queue[:0], p.queue[n:]...)
			p.inFlight += n
			return batch, again, true
		} else if p.closing && p.messages == 0 {
			return nil, false, false
		}
		if !again {
			p.change.Wait()
		}
	}
}

// pause waits before a retry.
func (p *Producer) pause() {
	t := time.NewTimer(p.backoff.NextBackOff())
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
}

// send puts a batch on its way over one connection. After the first failure the rest of it fails as well: were it sent over a new
// connection, it would overtake what failed.
func (p *Producer) send(batch []*sending) {
	conn, err := p.connected()
	for _, s := range batch {
		if err == nil && s.partition < 0 {
			s.partition, err = p.choose(conn, s)
		}
		if err != nil {
			p.landed(s, Receipt{}, err)
			continue
		}
		conn.do(func(dst []byte, opaque int32) []byte {
			return protocol.AppendPut(dst, s.topic, s.partition, s.flag, s.data, opaque)
		}, func(r *protocol.Response, err error) {
			var receipt Receipt
			if err == nil {
				receipt, err = parseReceipt(r)
			}
			p.landed(s, receipt, err)
		})
	}
}

// connected is the connection, made anew if there is none. That the last one broke is an error once: what was in flight on it has to be
// sent again before anything else.
func (p *Producer) connected() (*Conn, error) {
	if p.conn != nil {
		broken := p.conn.Err()
		if broken == nil {
			return p.conn, nil
		}
		p.options.log.Warn("the connection broke", "broker", p.addr, "error", broken)
		p.conn.Close()
		p.conn = nil
		return nil, broken
	}
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	conn, err := Dial(ctx, p.addr)
	if err != nil {
		return nil, err
	}
	p.conn = conn
	return conn, nil
}

const dialTimeout = 3 * time.Second

// choose picks the partition of a message.
func (p *Producer) choose(conn *Conn, s *sending) (int32, error) {
	r, ok := p.routes[s.message.Topic]
	if !ok || time.Now().After(r.until) {
		ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
		defer cancel()
		list, err := conn.Route(ctx, s.topic)
		switch {
		case err == nil:
			r.partitions = nil
			for _, x := range list {
				r.partitions = append(r.partitions, x.Partition)
			}
		case ctx.Err() != nil && p.ctx.Err() == nil:
			return -1, &StatusError{Status: protocol.StatusTimeout, Text: "no answer to route"}
		case Retriable(err):
			return -1, err
		default:
			r.partitions = nil // the put itself will say what is wrong with the topic
		}
		r.until = time.Now().Add(routeFor)
		p.routes[s.message.Topic] = r
	}
	if len(r.partitions) == 0 {
		return -1, nil // the broker chooses
	}
	return p.options.selector(&s.message, r.partitions), nil
}

// landed takes the end of a try.
func (p *Producer) landed(s *sending, receipt Receipt, err error) {
	again := err != nil && Retriable(err) && time.Now().Before(s.giveUp) && p.ctx.Err() == nil
	p.mu.Lock()
	p.inFlight--
	if again {
		p.failed = append(p.failed, s)
	} else if err == nil {
		p.backoff.Reset()
	}
	p.mu.Unlock()
	if !again {
		p.finish(s, receipt, err)
	}
	p.change.Broadcast()
}

// finish tells the caller and makes room.
func (p *Producer) finish(s *sending, receipt Receipt, err error) {
	s.fn(receipt, err)
	p.mu.Lock()
	p.messages--
	p.bytes -= len(s.data)
	p.mu.Unlock()
	p.change.Broadcast()
}
