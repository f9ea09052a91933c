package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// Received is a message that a Consumer delivers. Its slices belong to the caller.
type Received struct {
	Topic     string
	Broker    int // 0 against a broker that stands alone
	Partition int32
	Offset    int64 // where it begins
	Next      int64 // where the next one begins
	ID        int64
	Attribute string
	Body      []byte
}

// Consumer reads topics of one broker for a group. All partitions are read by this consumer: against a single broker a group is one process.
type Consumer struct {
	addr    string
	group   protocol.Group
	topics  []protocol.Topic
	options consumerOptions
	ctx     context.Context
	stop    context.CancelFunc
	done    sync.WaitGroup
	batches chan *batch
	started sync.Once

	offsets    OffsetStore
	recovery   *recovery     // nil without WithRecovery
	committing chan struct{} // of capacity 1: an older offset must not be saved after a newer one

	mu        sync.Mutex
	conn      *Conn
	reading   map[place]bool
	positions map[place]zkcoord.Offset // handed over and done with; where the group goes on
	committed map[place]int64          // logical offsets
	fatal     error
	aside     []*batch // not done with; they go on when somebody asks for messages, at their times
}

// place is a partition of a topic.
type place struct {
	topic     protocol.Topic
	partition int32
}

// NewConsumer makes a consumer of a group for the broker at host:port. It connects when messages are asked for.
func NewConsumer(addr, group string, topics []string, opts ...ConsumerOption) (*Consumer, error) {
	o := consumerOptions{start: FromEarliest(), fetchSize: 1 << 20, wait: 5 * time.Second, commitEvery: 5 * time.Second, refresh: 5 * time.Second, log: slog.New(slog.DiscardHandler), workers: 1}
	for _, opt := range opts {
		opt(&o)
	}
	c := &Consumer{addr: addr, options: o, batches: make(chan *batch), committing: make(chan struct{}, 1), reading: map[place]bool{},
		positions: map[place]zkcoord.Offset{}, committed: map[place]int64{}}
	if c.offsets = o.offsets; c.offsets == nil {
		c.offsets = NewBrokerOffsets(func(ctx context.Context, _ int) (*Conn, error) { return c.connection(ctx) })
	}
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
		c.topics = append(c.topics, topic)
	}
	if o.fetchSize < protocol.RecordHeader {
		return nil, fmt.Errorf("metaq: a fetch size of %d bytes is less than the header of a message", o.fetchSize)
	}
	if o.workers < 1 {
		return nil, fmt.Errorf("metaq: %d workers: at least one is needed", o.workers)
	}
	if o.recovery != nil {
		if c.recovery, err = openRecovery(*o.recovery, c.group, o.log); err != nil {
			return nil, err
		}
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Commit keeps how far the group has come: on the broker, or in the store of WithOffsetStore. It waits until that is done.
func (c *Consumer) Commit(ctx context.Context) error {
	select {
	case c.committing <- struct{}{}:
		defer func() { <-c.committing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	todo := map[OffsetKey]zkcoord.Offset{}
	c.mu.Lock()
	for p, position := range c.positions {
		if at, ok := c.committed[p]; !ok || at != position.Offset {
			todo[c.key(p)] = position
		}
	}
	c.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	if err := c.offsets.Save(ctx, todo); err != nil {
		return c.offsetsError(ctx, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, offset := range todo {
		c.committed[place{key.Topic, key.Partition.Number}] = offset.Offset
	}
	return nil
}

// key names what the store keeps of a partition.
func (c *Consumer) key(p place) OffsetKey {
	return OffsetKey{Group: c.group, Topic: p.topic, Partition: zkcoord.Partition{Number: p.partition}}
}

// offsetsError marks an error of a store that was given to the consumer, unless the caller had enough.
func (c *Consumer) offsetsError(ctx context.Context, err error) error {
	if c.options.offsets == nil || ctx.Err() != nil {
		return err
	}
	return &offsetStoreError{err}
}

// Close commits and ends the consumer and its goroutines.
func (c *Consumer) Close(ctx context.Context) error {
	err := c.Commit(ctx)
	c.stop()
	c.done.Wait()
	c.mu.Lock()
	conn := c.conn
	c.conn = nil
	c.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	if c.recovery != nil {
		err = errors.Join(err, c.recovery.close())
	}
	return err
}

func (c *Consumer) start() {
	c.done.Add(1)
	go c.watch()
}

// watch finds partitions, new ones too, and commits from time to time.
func (c *Consumer) watch() {
	defer c.done.Done()
	refresh := time.NewTimer(0)
	defer refresh.Stop()
	var commit <-chan time.Time
	if c.options.commitEvery > 0 {
		t := time.NewTicker(c.options.commitEvery)
		defer t.Stop()
		commit = t.C
	}
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-commit:
			if err := c.Commit(c.ctx); err != nil && c.ctx.Err() == nil {
				c.options.log.Warn("offsets are not committed", "error", err)
			}
		case <-refresh.C:
			next := c.options.refresh
			if err := c.discover(); err != nil && !c.gaveUp(err) {
				next = min(next, time.Second)
			}
			refresh.Reset(next)
		}
	}
}

// discover starts a reader for each partition that has none.
func (c *Consumer) discover() error {
	conn, err := c.connection(c.ctx)
	if err != nil {
		return err
	}
	for _, topic := range c.topics {
		list, err := conn.Route(c.ctx, topic)
		var status *StatusError
		if errors.As(err, &status) && status.Status == protocol.StatusNotFound {
			continue // nobody has made the topic yet
		}
		if err != nil {
			return err
		}
		for _, r := range list {
			p := place{topic, r.Partition}
			if !c.reading[p] {
				c.reading[p] = true
				c.done.Add(1)
				go c.read(p)
			}
		}
	}
	return nil
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

// connection is the shared connection, made anew if it broke.
func (c *Consumer) connection(ctx context.Context) (*Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		broken := c.conn.Err()
		if broken == nil {
			return c.conn, nil
		}
		c.options.log.Warn("the connection broke", "broker", c.addr, "error", broken)
		c.conn.Close()
		c.conn = nil
	}
	if c.ctx.Err() != nil {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := Dial(ctx, c.addr)
	if err != nil {
		return nil, err
	}
	c.conn = conn
	return conn, nil
}

// read follows one partition: it hands over what it got before it asks for more, so that at most two answers are held.
func (c *Consumer) read(p place) {
	defer c.done.Done()
	wait := newBackoff()
	offset, known := int64(0), false
	size := c.options.fetchSize
	turn := make(chan struct{}, 1)
	for c.ctx.Err() == nil {
		conn, err := c.connection(c.ctx)
		if err == nil && !known {
			offset, err = c.begin(conn, p)
			known = err == nil
		}
		var list []Received
		if err == nil {
			list, err = c.fetch(conn, p, &offset, &size)
		}
		var status *StatusError
		switch {
		case err == nil && len(list) == 0:
			continue
		case err == nil:
			wait.Reset()
			c.deliver(&batch{place: p, messages: list, turn: turn})
			continue
		case errors.As(err, &status) && (status.Status == protocol.StatusNotFound || status.Status == protocol.StatusForbidden):
			// Not written yet, or closed for a while.
		case c.gaveUp(err):
			return
		}
		t := time.NewTimer(wait.NextBackOff())
		select {
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
		}
	}
}

// begin is where the group goes on, or where a new one starts.
func (c *Consumer) begin(conn *Conn, p place) (int64, error) {
	kept, ok, err := c.offsets.Load(c.ctx, c.key(p))
	if err != nil {
		if c.options.offsets != nil && c.ctx.Err() == nil {
			c.options.log.Warn("the offset is not loaded", "topic", p.topic, "partition", p.partition, "error", err)
		}
		return 0, c.offsetsError(c.ctx, err)
	}
	if ok {
		c.mu.Lock()
		c.committed[p] = kept.Offset
		c.mu.Unlock()
		return kept.Offset, nil
	}
	switch s := c.options.start; s.kind {
	case latest:
		return math.MaxInt64, nil // the broker moves it to the end
	case atOffset:
		return s.offset, nil
	case atTime:
		offset, err := conn.Seek(c.ctx, p.topic, p.partition, s.time)
		var status *StatusError
		if errors.As(err, &status) && status.Status == protocol.StatusNotFound {
			return 0, nil // nothing was ever stored there
		}
		return offset, err
	}
	return 0, nil
}

// fetch asks once and moves the offset behind what it got. Nothing without an error: ask again.
func (c *Consumer) fetch(conn *Conn, p place, offset *int64, size *int32) ([]Received, error) {
	// The answer comes at the latest after the wait; a broker that says nothing for much longer is gone.
	ctx, cancel := context.WithTimeout(c.ctx, c.options.wait+dialTimeout)
	defer cancel()
	data, err := conn.Get(ctx, p.topic, string(c.group), p.partition, *offset, *size, c.options.wait)
	var moved *MovedError
	var status *StatusError
	switch {
	case errors.As(err, &moved) && moved.Offset != *offset:
		*offset = moved.Offset
		return nil, nil
	case errors.As(err, &status) && status.Status == protocol.StatusNotFound && *offset != math.MaxInt64 && c.written(conn, p):
		return nil, nil // the wait is over, ask again
	case ctx.Err() != nil && c.ctx.Err() == nil:
		conn.fail(fmt.Errorf("metaq: no answer for %v: %w", c.options.wait+dialTimeout, context.DeadlineExceeded))
		return nil, &StatusError{Status: protocol.StatusTimeout, Text: "no answer to get"}
	case err != nil:
		return nil, err
	}
	list, used, err := decode(p, *offset, data)
	if err != nil {
		return nil, err
	}
	*offset += int64(used)
	if len(list) > 0 {
		*size = c.options.fetchSize
		return list, nil
	}
	// The message is larger than what was asked for.
	need := protocol.MessageSize(data)
	if need == 0 {
		need = 2 * int64(*size)
	}
	*size = int32(min(need, math.MaxInt32))
	return nil, nil
}

// written tells a wait that is over from a partition that nobody has written yet, which is answered at once.
func (c *Consumer) written(conn *Conn, p place) bool {
	_, err := conn.Get(c.ctx, p.topic, string(c.group), p.partition, math.MaxInt64, 1, -1)
	var moved *MovedError
	return errors.As(err, &moved)
}

// decode takes the whole messages out of an answer.
func decode(p place, offset int64, data []byte) (list []Received, used int, err error) {
	for used < len(data) {
		m, size, err := protocol.DecodeMessage(data[used:])
		if err != nil {
			return nil, 0, fmt.Errorf("%s-%d at offset %d: %w", p.topic, p.partition, offset+int64(used), err)
		}
		if size == 0 {
			break
		}
		attribute, payload, err := m.Attribute()
		if err != nil {
			attribute, payload = nil, m.Data // a writer's mistake, and still its message
		}
		list = append(list, Received{Topic: string(p.topic), Partition: p.partition, Offset: offset + int64(used), Next: offset + int64(used+size),
			ID: m.ID, Attribute: string(attribute), Body: payload})
		used += size
	}
	return list, used, nil
}
