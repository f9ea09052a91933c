package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/metaq/metaq/protocol"
)

// Producer sends messages to a broker that stands alone, or to all brokers of a cluster. It has a lane for each broker, see lane: the messages of a partition
// are stored in the order in which they came, and a broker that is away holds up nothing but what has to go there.
//
// A message without a Partition and without a Key may go anywhere: it goes where a broker works, and when it fails there it is tried at another partition,
// where later ones may be before it. Messages of a Key go elsewhere when the partitions of their topic change. WithOrdered is for whoever
// needs a fixed order over outages.
type Producer struct {
	options producerOptions
	cluster *cluster
	stop    context.CancelFunc
	ctx     context.Context
	sending sync.WaitGroup // lanes and tracks
	others  sync.WaitGroup

	mu       sync.Mutex
	room     *sync.Cond // a message is finished, a topic has become known, or the producer is closing
	messages int        // accepted and not finished
	bytes    int
	seq      uint64
	closing  bool
	lanes    map[int]*lane // by broker
	topics   map[protocol.Topic]*publishing
	ordered  *ordered // nil without WithOrdered
	offered  []Partition
}

// sending is a message on its way.
type sending struct {
	message   Message
	topic     protocol.Topic
	data      []byte
	flag      int32
	seq       uint64
	partition Partition
	chosen    bool        // partition counts; otherwise it is chosen at the first try, or by the broker
	tried     []Partition // where it failed, of what may go anywhere; Number is anyNumber for the whole broker
	mayHelp   bool        // one of these failures may pass
	once      bool        // it is a try of a track, which sees to everything else
	began     time.Time   // the try
	giveUp    time.Time
	verdict   func(error) // to the breaker
	fn        func(Receipt, error)
}

// free says that the message may go to any partition.
func (s *sending) free() bool { return !s.message.Partition.made && s.message.Key == "" && !s.once }

// NewProducer makes a producer for the broker at host:port, or for a cluster: zk://host:2181,host:2181[/chroot][?root=/meta] names its ZooKeeper. Brokers are
// connected at the first message for them.
func NewProducer(addr string, opts ...ProducerOption) (*Producer, error) {
	o := producerOptions{
		window: 4096, maxMessages: 1 << 16, maxBytes: 64 << 20, retryFor: 30 * time.Second, timeout: 5 * time.Second,
		log: slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		opt(&o)
	}
	if o.selector == nil {
		o.selector, o.anywhere = RoundRobin(), true
	}
	if o.window < 1 || o.maxMessages < 1 || o.maxBytes < 1 {
		return nil, fmt.Errorf("metaq: a window of %d and a buffer of %d messages and %d bytes: each must be at least 1", o.window, o.maxMessages, o.maxBytes)
	}
	if o.timeout <= 0 {
		return nil, fmt.Errorf("metaq: a time-out of %s: it must be more than 0", o.timeout)
	}
	p := &Producer{options: o, lanes: map[int]*lane{}, topics: map[protocol.Topic]*publishing{}}
	p.room = sync.NewCond(&p.mu)
	p.ctx, p.stop = context.WithCancel(context.Background())
	var err error
	if p.cluster, err = openCluster(addr, o.zookeeper, o.log); err != nil {
		p.stop()
		return nil, err
	}
	if p.cluster.directory == nil {
		p.lanes[0] = p.newLane(0)
		p.lanes[0].addr = addr
	}
	if o.ordered != nil {
		if err := p.openOrdered(*o.ordered); err != nil {
			p.end()
			return nil, err
		}
	}
	p.others.Go(p.watch)
	// Whoever waits has to see that the producer is stopped hard.
	context.AfterFunc(p.ctx, p.wakeAll)
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
	p.send(ctx, m, func(r Receipt, err error) { got <- result{r, err} })
	select {
	case r := <-got:
		return r.receipt, r.err
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}

// SendAsync accepts a message and calls fn exactly once, when it is acknowledged or has failed for good. fn must not block: it runs on a
// goroutine of the producer, or on this one. SendAsync blocks while the buffer is full and, in a cluster, until the brokers of the topic are known.
func (p *Producer) SendAsync(m Message, fn func(Receipt, error)) {
	p.send(context.Background(), m, fn)
}

func (p *Producer) send(ctx context.Context, m Message, fn func(Receipt, error)) {
	topic, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		fn(Receipt{}, fmt.Errorf("metaq: %w", err))
		return
	}
	s := &sending{message: m, topic: topic, partition: m.Partition.partition, chosen: m.Partition.made, fn: fn}
	s.data, s.flag = m.data()
	if len(s.data) > p.options.maxBytes {
		fn(Receipt{}, fmt.Errorf("%w: %d bytes, the limit is %d (WithBuffer)", ErrTooLarge, len(s.data), p.options.maxBytes))
		return
	}
	if err := p.accept(ctx, s); err != nil {
		fn(Receipt{}, err)
	}
}

// accept waits until there is a place for a message, and room, and puts it there.
func (p *Producer) accept(ctx context.Context, s *sending) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var unknownUntil time.Time
	for {
		if p.closing {
			return ErrClosed
		}
		enqueue, err := p.placeLocked(s)
		switch {
		case errors.Is(err, errNotKnown):
			if unknownUntil.IsZero() {
				wait := max(p.options.retryFor, dialTimeout)
				unknownUntil = time.Now().Add(wait)
				defer time.AfterFunc(wait, p.wakeAll).Stop()
			} else if !time.Now().Before(unknownUntil) {
				return err
			}
		case err != nil:
			return err
		case enqueue != nil:
			p.seq++
			s.seq = p.seq
			s.giveUp = time.Now().Add(p.options.retryFor)
			p.messages++
			p.bytes += len(s.data)
			enqueue(s)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		stop := context.AfterFunc(ctx, p.wakeAll)
		p.room.Wait()
		stop()
	}
}

// wakeAll lets everybody who waits look again.
func (p *Producer) wakeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room.Broadcast()
	for _, l := range p.lanes {
		l.wake.Signal()
	}
	if p.ordered != nil {
		p.ordered.wakeLocked()
	}
}

// Close sends what was accepted, waits until all of it is acknowledged or has failed, and ends the producer. When ctx ends first, what is
// left fails with ErrClosed, and the error of ctx is returned.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.wakeAll()
	ended := make(chan struct{})
	go func() {
		p.sending.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = ctx.Err()
		p.stop()
		<-ended
	}
	return errors.Join(err, p.end())
}

// end ends what is left when nothing is sent any more.
func (p *Producer) end() error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.stop()
	p.wakeAll()
	p.sending.Wait()
	p.others.Wait()
	p.cluster.close()
	if p.ordered != nil {
		return p.ordered.close()
	}
	return nil
}

// finish tells the caller and makes room.
func (p *Producer) finish(s *sending, receipt Receipt, err error) {
	s.fn(receipt, err)
	if s.once {
		return // what it is a try of is accounted for
	}
	p.mu.Lock()
	p.messages--
	p.bytes -= len(s.data)
	last := p.closing && p.messages == 0
	p.mu.Unlock()
	p.room.Broadcast()
	if last {
		p.wakeAll()
	}
}

// watchEvery is how often the lanes are looked at.
const watchEvery = slowAfter / 10

// watch sees to brokers that say nothing.
func (p *Producer) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case now := <-tick.C:
			var dead []*Conn
			p.mu.Lock()
			for _, l := range p.lanes {
				if c := l.lookLocked(now); c != nil {
					dead = append(dead, c)
				}
			}
			p.mu.Unlock()
			for _, c := range dead {
				c.fail(fmt.Errorf("metaq: no answer from the broker at %s: %w", c.net.RemoteAddr(), os.ErrDeadlineExceeded))
			}
		}
	}
}
