package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// Received is a message that a Consumer delivers. Its slices belong to the caller.
type Received struct {
	Topic     string
	Broker    int // id of the broker in a cluster; 0 if it stands alone
	Partition int32
	Offset    int64 // where it begins
	Next      int64 // where the next one begins
	ID        int64
	Attribute string
	Body      []byte
}

// Consumer reads topics for a group. Which partitions, its assignment says: all of a broker that stands alone; in a cluster those that it has got as a member of
// the group, or with WithBroadcast all that there are. Each partition has a reader, a goroutine that fetches ahead; the goroutine that iterates, or those of Run, hand over.
type Consumer struct {
	group      protocol.Group
	topics     []protocol.Topic
	options    consumerOptions
	cluster    *cluster
	assignment assignment
	offsets    OffsetStore
	ctx        context.Context
	stop       context.CancelFunc
	done       sync.WaitGroup
	started    sync.Once
	began      time.Time // when messages were asked for first
	batches    chan *batch
	recovery   *recovery     // nil without WithRecovery
	committing chan struct{} // of capacity 1: an older offset must not be saved after a newer one
	leaving    chan struct{} // of capacity 1: a Close is under way
	closed     bool          // whoever has put something into leaving may look

	mu      sync.Mutex
	readers map[zkcoord.TopicPartition]*reader
	been    map[zkcoord.TopicPartition]zkcoord.Offset // where this consumer was in partitions that it no longer reads
	inHand  map[*reader]int                           // how many messages have been handed over and are not done
	free    chan struct{}                             // closed when a message is put down; nil while nobody waits for that
	aside   []*batch                                  // not done with; they go on when messages are asked for, at their times
	more    chan struct{}                             // of capacity 1: one of these may go on at once
	closing bool
	fatal   error
}

// An assignment says what a consumer reads: it calls acquire and release.
type assignment interface {
	// start is called when messages are asked for the first time.
	start()
	// leave gives everything up when the consumer is closed.
	leave(ctx context.Context) error
	// replicas is where a partition can be read: the master's address, if there is a master, and those of slaves.
	replicas(p zkcoord.TopicPartition) (master string, slaves []string)
}

// NewConsumer makes a consumer of a group for the broker at host:port, or for a cluster: zk://host:2181,host:2181[/chroot][?root=/meta] names its ZooKeeper. It
// joins its group and connects to brokers when messages are asked for.
func NewConsumer(addr, group string, topics []string, opts ...ConsumerOption) (*Consumer, error) {
	o := consumerOptions{
		start: FromEarliest(), fetchSize: 1 << 20, wait: 5 * time.Second, commitEvery: 5 * time.Second, refresh: 5 * time.Second,
		assign: zkcoord.AssignRanges, workers: 1, inHand: 100, log: slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		opt(&o)
	}
	c := &Consumer{options: o, batches: make(chan *batch), committing: make(chan struct{}, 1), leaving: make(chan struct{}, 1), more: make(chan struct{}, 1), readers: map[zkcoord.TopicPartition]*reader{},
		been: map[zkcoord.TopicPartition]zkcoord.Offset{}, inHand: map[*reader]int{}}
	var err error
	if c.group, err = protocol.ParseGroup(group); err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	if len(topics) == 0 {
		return nil, errors.New("metaq: a consumer needs a topic")
	}
	for _, name := range topics {
		topic, err := protocol.ParseTopic(name)
		if err != nil {
			return nil, fmt.Errorf("metaq: %w", err)
		}
		if !slices.Contains(c.topics, topic) {
			c.topics = append(c.topics, topic)
		}
	}
	if o.fetchSize < protocol.RecordHeader {
		return nil, fmt.Errorf("metaq: a fetch size of %d bytes is less than the header of a message", o.fetchSize)
	}
	if strings.ContainsFunc(o.id, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
		return nil, fmt.Errorf("metaq: the consumer id %q: it is one word without a slash", o.id)
	}
	if o.broadcast && o.offsets == nil {
		return nil, errors.New("metaq: each broadcast consumer keeps its own offsets: give it a store of its own (WithOffsetStore), for example a file of package offsetfile")
	}
	if o.onBrokers && o.offsets != nil {
		return nil, errors.New("metaq: offsets cannot be both on the brokers (WithBrokerOffsets) and in a store of the program (WithOffsetStore)")
	}
	if o.workers < 1 {
		return nil, fmt.Errorf("metaq: %d workers: at least one is needed", o.workers)
	}
	if o.inHand < 1 {
		return nil, fmt.Errorf("metaq: %d messages of a partition in hand: at least one is needed", o.inHand)
	}
	if c.cluster, err = openCluster(addr, o.zookeeper, o.log); err != nil {
		return nil, err
	}
	if o.recovery != nil {
		if c.recovery, err = openRecovery(*o.recovery, c.group, o.log); err != nil {
			c.cluster.close()
			return nil, err
		}
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.assign()
	return c, nil
}

// assign makes the assignment, and the store of offsets that goes with it.
func (c *Consumer) assign() {
	if c.options.onBrokers && c.cluster.directory != nil {
		c.options.offsets = NewBrokerOffsets(c.connectionTo)
	}
	c.offsets = c.options.offsets
	switch {
	case c.cluster.directory == nil:
		c.assignment = &wholeBroker{c}
		if c.offsets == nil {
			c.offsets = NewBrokerOffsets(func(ctx context.Context, _ int) (*Conn, error) { return c.connection(ctx, c.cluster.alone) })
		}
	case c.options.broadcast:
		c.assignment = &wholeCluster{follower: newFollower(c)}
	default:
		c.assignment = newShare(c)
	}
	if c.offsets == nil {
		c.offsets = newZooKeeperOffsets(c.cluster, c.group)
	}
}

// take says whether the next message of a batch may be handed over, which is so only while its partition is this consumer's for sure. done: the one before it,
// which is still in the batch, is done.
func (c *Consumer) take(b *batch, done bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := b.from
	if done {
		m := &b.messages[0]
		r.position, r.known, r.changed = zkcoord.Offset{MessageID: m.ID, Offset: m.Next}, true, true
		b.messages = b.messages[1:]
		b.tries = 0
	}
	if len(b.messages) == 0 || c.closing || r.released || !r.claim.Valid() {
		c.putDownLocked(r)
		return false
	}
	c.inHand[r] = 1
	return true
}

// putDown notes that whoever had a message of a batch has not done it. The batch goes on when its time has come and messages are asked for.
func (c *Consumer) putDown(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putDownLocked(b.from)
	c.aside = append(c.aside, b)
}

func (c *Consumer) putDownLocked(r *reader) {
	if c.inHand[r]--; c.inHand[r] <= 0 {
		delete(c.inHand, r)
	}
	if c.free != nil {
		close(c.free)
		c.free = nil
	}
}

// awaitDone waits until no message of some readers is in somebody's hands. By then nothing of them is handed over any more.
func (c *Consumer) awaitDone(ctx context.Context, concerns func(*reader) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	inHand := func() bool {
		for r := range c.inHand {
			if concerns(r) {
				return true
			}
		}
		return false
	}
	for inHand() {
		if c.free == nil {
			c.free = make(chan struct{})
		}
		free := c.free
		c.mu.Unlock()
		var err error
		select {
		case <-free:
		case <-ctx.Done():
			err = ctx.Err()
		}
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Close commits and ends the consumer and its goroutines. A member of a group gives up its partitions: it waits until the message that is in the hands of a
// handler is done, at most for the time-out of the session with ZooKeeper, so a handler must not call it. A second call waits for the first one, and does nothing.
func (c *Consumer) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	select {
	case c.leaving <- struct{}{}:
		defer func() { <-c.leaving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.closed {
		return nil
	}
	c.closed = true
	err := c.assignment.leave(ctx)
	c.stop()
	c.done.Wait()
	c.cluster.close()
	if c.recovery != nil {
		err = errors.Join(err, c.recovery.close())
	}
	return err
}

func (c *Consumer) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	c.began = time.Now()
	c.assignment.start()
	if c.options.commitEvery > 0 {
		c.done.Go(c.commitOften)
	}
}

// connection is the one to a broker. That there is none within dialTimeout is an error of the broker, not of ctx.
func (c *Consumer) connection(ctx context.Context, addr string) (*Conn, error) {
	within, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.cluster.conn(within, addr)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = &StatusError{Status: protocol.StatusTimeout, Text: "no connection to " + addr}
	}
	return conn, err
}

// connectionTo is the one to the master of a broker.
func (c *Consumer) connectionTo(ctx context.Context, broker int) (*Conn, error) {
	for _, topic := range c.topics {
		if master, _ := c.assignment.replicas(zkcoord.TopicPartition{Topic: topic, Partition: Partition{Broker: broker}}); master != "" {
			return c.connection(ctx, master)
		}
	}
	return nil, fmt.Errorf("broker %d: %w", broker, errNoAddress)
}

// gaveUp ends the consumer with an error that no retry mends.
func (c *Consumer) gaveUp(err error) bool {
	if Retriable(err) || c.ctx.Err() != nil {
		return false
	}
	c.mu.Lock()
	if c.fatal == nil {
		c.fatal = err
	}
	c.mu.Unlock()
	c.stop()
	return true
}

// acquire begins to read partitions.
func (c *Consumer) acquire(claims ...claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, claim := range claims {
		if r := c.readers[claim.place]; r != nil {
			c.endLocked(r)
		}
		c.beginLocked(claim)
	}
}

func (c *Consumer) beginLocked(claim claimed) {
	if c.closing {
		return
	}
	r := newReader(c, claim)
	c.readers[claim.place] = r
	c.done.Go(r.run)
}

// endLocked ends a reader: from now on nothing of it is handed over.
func (c *Consumer) endLocked(r *reader) {
	r.released, r.parked = true, nil
	r.stop()
	if r.known {
		c.been[r.claim.place] = r.position
	}
	if c.readers[r.claim.place] == r {
		delete(c.readers, r.claim.place)
	}
}

// drop ends the readers of partitions, whatever is in hand, and keeps nothing.
func (c *Consumer) drop(places []zkcoord.TopicPartition) (ended []*reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range places {
		if r := c.readers[p]; r != nil {
			c.endLocked(r)
			ended = append(ended, r)
		}
	}
	return ended
}

// lastCommit is how long the offsets of partitions that are given up may take, also when nobody waits any longer for what is in hand.
const lastCommit = 5 * time.Second

// release ends the readers of partitions, waits until no message of them is in hand, but not after ctx has ended, and commits how far they came. An error says that
// one of these did not happen.
func (c *Consumer) release(ctx context.Context, places []zkcoord.TopicPartition) error {
	ended := c.drop(places)
	err := c.awaitDone(ctx, func(r *reader) bool { return slices.Contains(ended, r) })
	c.mu.Lock()
	for _, r := range ended {
		if r.known {
			c.been[r.claim.place] = r.position
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCommit)
	defer cancel()
	return errors.Join(err, c.commit(ctx, ended))
}
