package client

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// A MessageKey names a message. Ids are unique for a broker; different brokers may give the same.
type MessageKey struct {
	Topic  string
	Broker int
	ID     int64
}

func (m Received) key() MessageKey { return MessageKey{m.Topic, m.Broker, m.ID} }

// Seen remembers messages that were handled. Its methods may be called from several goroutines. When one fails, the message is handled: rather twice than never.
type Seen interface {
	// Seen says whether a message was added.
	Seen(ctx context.Context, key MessageKey) (bool, error)
	// Add remembers a message that was handled, or is safe in the store of WithRecovery.
	Add(ctx context.Context, key MessageKey) error
}

// WithSeen leaves out messages that were handled before, for example by the member of the group that had the partition, if the cache is shared: they count as
// done. A message that its producer has sent twice has two ids, and is two messages.
func WithSeen(s Seen) ConsumerOption { return func(o *consumerOptions) { o.seen = s } }

// SeenCache is a Seen in memory. It forgets the messages that it has not met for the longest time.
type SeenCache struct {
	max int
	age time.Duration

	mu    sync.Mutex
	met   map[MessageKey]*list.Element
	order list.List // of metMessage, the latest first
}

type metMessage struct {
	key MessageKey
	at  time.Time
}

// NewSeenCache makes a cache of at most so many messages (about 200 bytes each), that were met within a time; 0 is any time.
func NewSeenCache(messages int, age time.Duration) (*SeenCache, error) {
	if messages < 1 || age < 0 {
		return nil, fmt.Errorf("metaq: a cache for %d messages of the last %v: at least one message, and no negative time", messages, age)
	}
	return &SeenCache{max: messages, age: age, met: map[MessageKey]*list.Element{}}, nil
}

// Seen implements the interface Seen.
func (c *SeenCache) Seen(_ context.Context, key MessageKey) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked()
	e := c.met[key]
	if e != nil {
		c.meetLocked(e, key)
	}
	return e != nil, nil
}

// Add implements the interface Seen.
func (c *SeenCache) Add(_ context.Context, key MessageKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.met[key]
	if e == nil {
		e = c.order.PushFront(nil)
		c.met[key] = e
	}
	c.meetLocked(e, key)
	c.forgetLocked()
	return nil
}

// Len is how many messages are remembered.
func (c *SeenCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked()
	return len(c.met)
}

func (c *SeenCache) meetLocked(e *list.Element, key MessageKey) {
	e.Value = metMessage{key, time.Now()}
	c.order.MoveToFront(e)
}

func (c *SeenCache) forgetLocked() {
	for e := c.order.Back(); e != nil; e = c.order.Back() {
		last := e.Value.(metMessage)
		if len(c.met) <= c.max && (c.age == 0 || time.Since(last.at) <= c.age) {
			return
		}
		c.order.Remove(e)
		delete(c.met, last.key)
	}
}
