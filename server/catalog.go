package server

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/server/config"
	"github.com/metaq/metaq/store"
	"github.com/metaq/metaq/zkcoord"
)

// topic is what the server knows of a topic that is configured by name or has a partition. conf never changes: a reload makes a new topic.
type topic struct {
	name    protocol.Topic
	conf    config.TopicConfig
	accepts int32                         // partitions that take puts: 0..accepts-1; 0 when the configuration does not know the topic
	parts   []atomic.Pointer[store.Queue] // by partition; nil: never written
	counts  *topicCounts                  // outlives a reload
	stale   atomic.Bool                   // a reload has replaced it
}

// queue is a partition, nil if it was never written.
func (t *topic) queue(partition int32) *store.Queue {
	if t == nil || partition < 0 || int(partition) >= len(t.parts) {
		return nil
	}
	return t.parts[partition].Load()
}

// queues are the partitions that were written, in order.
func (t *topic) queues() (list []*store.Queue) {
	for i := range t.parts {
		if q := t.parts[i].Load(); q != nil {
			list = append(list, q)
		}
	}
	return list
}

// draw picks a partition that is not closed; false if all are. Those that were never written count only if they may be made.
func (t *topic) draw(mayMake bool) (int32, bool) {
	if t.accepts == 0 {
		return 0, false
	}
	first := rand.Int32N(t.accepts)
	for i := range t.accepts {
		p := (first + i) % t.accepts
		if q := t.queue(p); q == nil && mayMake || q != nil && !q.Closed() {
			return p, true
		}
	}
	return 0, false
}

// birthWait are the gets that wait for one partition to be made.
type birthWait map[*longPoll]struct{}

// catalog knows the topics. Only topics that are configured by name or have a partition are kept, so that asking for names costs no memory.
type catalog struct {
	store   *store.Store
	changed chan struct{} // has one element when topics have come, gone or changed since somebody took it

	mu     sync.RWMutex
	cfg    *config.Config       // guarded by mu
	topics map[string]*topic    // guarded by mu
	made   int                  // partitions that were written; guarded by mu
	zkSize int                  // what the topics take of the broker's session with ZooKeeper, in bytes; 0 without one; guarded by mu
	births map[string]birthWait // gets that wait for a partition to be made; guarded by mu
}

func newCatalog(st *store.Store, cfg *config.Config) *catalog {
	k := &catalog{store: st, changed: make(chan struct{}, 1), births: map[string]birthWait{}}
	k.load(cfg)
	return k
}

// load takes a configuration.
func (k *catalog) load(cfg *config.Config) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.topics
	k.cfg, k.topics = cfg, map[string]*topic{}
	queues := k.store.Queues()
	k.made = len(queues)
	for _, q := range slices.Backward(queues) { // the last partition of a topic first: it says how many there are
		name := string(q.Topic())
		t := k.topics[name]
		if t == nil {
			t = k.newTopicLocked(q.Topic(), old[name])
			k.topics[name] = t
		}
		if n := int(q.Partition()) + 1; n > len(t.parts) {
			t.parts = make([]atomic.Pointer[store.Queue], n) // of a topic that was just made
		}
		t.parts[q.Partition()].Store(q)
	}
	for _, conf := range cfg.Topics {
		if name, err := protocol.ParseTopic(conf.Name); err == nil && k.topics[conf.Name] == nil {
			k.topics[conf.Name] = k.newTopicLocked(name, old[conf.Name])
		}
	}
	k.zkSize = 0
	for name := range k.topics {
		k.zkSize += k.zkSizeLocked(protocol.Topic(name))
	}
	for _, conf := range cfg.Topics {
		if conf.Wildcard() { // they are registered too
			k.zkSize += k.zkSizeLocked(protocol.Topic(conf.Name))
		}
	}
	for _, t := range old {
		t.stale.Store(true)
	}
	k.tellChange()
}

func (k *catalog) tellChange() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// newTopicLocked makes a topic by the configuration. before is the one that it replaces, or nil.
func (k *catalog) newTopicLocked(name protocol.Topic, before *topic) *topic {
	t := &topic{name: name}
	if conf, ok := k.cfg.Topic(string(name)); ok {
		t.conf, t.accepts = conf, int32(conf.NumPartitions)
	}
	if before != nil {
		t.counts = before.counts
	} else {
		t.counts = newTopicCounts(time.Now())
	}
	t.parts = make([]atomic.Pointer[store.Queue], t.accepts)
	return t
}

// find looks a topic up, nil if it is neither configured by name nor written. It does not allocate.
func (k *catalog) find(name []byte) *topic {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.topics[string(name)]
}

// known is the topic as a put would find it: also one that only a wildcard or autoCreateTopics would let in. It is not kept.
func (k *catalog) known(name []byte) *topic {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if t := k.topics[string(name)]; t != nil {
		return t
	}
	parsed, err := protocol.ParseTopic(string(name))
	if err != nil {
		return nil
	}
	if t := k.newTopicLocked(parsed, nil); t.accepts > 0 {
		return t
	}
	return nil
}

// all lists the topics by name.
func (k *catalog) all() []*topic {
	k.mu.RLock()
	defer k.mu.RUnlock()
	list := make([]*topic, 0, len(k.topics))
	for _, name := range slices.Sorted(maps.Keys(k.topics)) {
		list = append(list, k.topics[name])
	}
	return list
}

// each calls fn for every topic, in no order.
func (k *catalog) each(fn func(*topic)) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, t := range k.topics {
		fn(t)
	}
}

// target finds the partition of a put and makes it if this is the first one. partition -1 draws one. The error is a *refusal with the cause only,
// or an error of the store.
func (k *catalog) target(name []byte, partition int32) (t *topic, q *store.Queue, p int32, err error) {
	parsed, err := protocol.ParseTopic(string(name))
	if err != nil {
		return nil, nil, 0, &refusal{protocol.StatusBadRequest, err.Error()}
	}
	t = k.known(name)
	if t == nil || t.accepts == 0 {
		return nil, nil, 0, refusef(protocol.StatusError, "The server do not accept topic %s", name)
	}
	if partition < -1 || partition >= t.accepts {
		return nil, nil, 0, refusef(protocol.StatusError, "wrong partition %d", partition)
	}
	if p = partition; partition == -1 {
		var ok bool
		if p, ok = t.draw(k.hasRoom()); !ok {
			p, ok = t.draw(true) // none is made, and why none will be is told below
		}
		if !ok {
			return nil, nil, 0, refusef(protocol.StatusForbidden, "all partitions of %s have been closed", name)
		}
	}
	if q = t.queue(p); q != nil {
		return t, q, p, nil
	}
	t, q, err = k.create(parsed, p)
	return t, q, p, err
}

// create makes a partition and wakes those who wait for it.
func (k *catalog) create(name protocol.Topic, partition int32) (*topic, *store.Queue, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.topics[string(name)]
	if q := t.queue(partition); q != nil {
		return t, q, nil // somebody else has made it
	}
	if err := k.roomLocked(name, partition, t == nil); err != nil {
		return nil, nil, err
	}
	if t == nil {
		t = k.newTopicLocked(name, nil)
	}
	if int(partition) >= len(t.parts) {
		return nil, nil, refusef(protocol.StatusError, "wrong partition %d", partition)
	}
	q, err := k.store.CreateQueue(name, partition)
	if err != nil {
		return nil, nil, err
	}
	t.parts[partition].Store(q)
	k.made++
	if k.topics[string(name)] == nil {
		k.topics[string(name)] = t
		k.zkSize += k.zkSizeLocked(name)
		k.tellChange()
	}
	key := birthKey(string(name), partition)
	for p := range k.births[key] {
		p.fire()
	}
	delete(k.births, key)
	return t, q, nil
}

// roomLocked is the refusal of a partition, perhaps the first of a new topic, beyond a limit. A limit that was lowered takes nothing away.
func (k *catalog) roomLocked(name protocol.Topic, partition int32, isNew bool) error {
	lim := k.cfg.Limits
	switch {
	case isNew && len(k.topics) >= lim.MaxTopics:
		return refusef(protocol.StatusError, "The server do not accept topic %s: it has as many topics as it may (maxTopics %d); put to one that is there, or have the limit raised", name, lim.MaxTopics)
	case isNew && k.cfg.InCluster() && k.zkSize+k.zkSizeLocked(name) > zkcoord.MaxTopicBytes:
		return refusef(protocol.StatusError, "The server do not accept topic %s: it has %d topics, and their names take as much of ZooKeeper as is safe for one broker (%d bytes); put to one that is there, or to another broker", name, len(k.topics), zkcoord.MaxTopicBytes)
	case k.made >= lim.MaxPartitions:
		return refusef(protocol.StatusError, "partition %d of %s is not made: the broker has as many partitions as it may (maxPartitions %d); put to one that is there, or have the limit raised", partition, name, lim.MaxPartitions)
	}
	return nil
}

// zkSizeLocked is what the name of a topic adds to zkSize.
func (k *catalog) zkSizeLocked(name protocol.Topic) int {
	if !k.cfg.InCluster() {
		return 0
	}
	_, chroot, err := zkcoord.ParseConnect(k.cfg.ZooKeeper.Connect)
	if err != nil {
		return 0 // such a configuration does not start
	}
	return zkcoord.Layout(k.cfg.ZooKeeper.Root).TopicBytes(chroot, k.cfg.BrokerID, name)
}

// hasRoom says whether a partition may be made.
func (k *catalog) hasRoom() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.made < k.cfg.Limits.MaxPartitions
}

// await tells p when a partition is made; false if it is there by now.
func (k *catalog) await(name []byte, partition int32, p *longPoll) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.topics[string(name)].queue(partition) != nil {
		return false
	}
	key := birthKey(string(name), partition)
	if k.births[key] == nil {
		k.births[key] = birthWait{}
	}
	k.births[key][p] = struct{}{}
	p.cancel = func() { k.unawait(key, p) }
	return true
}

func (k *catalog) unawait(key string, p *longPoll) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.births[key], p)
	if len(k.births[key]) == 0 {
		delete(k.births, key)
	}
}

func birthKey(topic string, partition int32) string {
	return topic + " " + strconv.Itoa(int(partition))
}

// lookup finds a topic for a connection, which mostly names the same one again.
func (c *conn) lookup(name []byte) *topic {
	if t := c.topic; t != nil && string(name) == string(t.name) && !t.stale.Load() {
		return t
	}
	t := c.server.catalog.find(name)
	if t != nil {
		c.topic = t
	}
	return t
}
