package server

import (
	"context"
	"sync"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// routes keeps for a moment what other brokers have of the topics that were asked for, so that many questions about one topic are one for ZooKeeper.
type routes struct {
	mu sync.Mutex
	of map[protocol.Topic]*routeEntry // guarded by mu; at most maxRoutes
}

// routeEntry is what is known of a topic, or will be when ready is closed.
type routeEntry struct {
	asked    time.Time
	ready    chan struct{}
	masters  []zkcoord.Offer // that take puts
	replicas []zkcoord.Offer // that can be read from, slaves too
	err      error
}

const (
	maxRoutes   = 1024
	routeFresh  = time.Second // how long an answer of ZooKeeper is good
	routeWait   = time.Second // how long an answer of ZooKeeper is waited for
	routeLookup = 5 * time.Second
)

// lookup tells what brokers offer a topic. It waits, at most routeWait; what was known before is used when ZooKeeper does not answer, and nothing is known
// of a topic that is asked for the first time then.
func (k *cluster) lookup(topic protocol.Topic) *routeEntry {
	now := time.Now()
	k.routes.mu.Lock()
	e := k.routes.of[topic]
	before := e
	if e == nil || now.Sub(e.asked) > routeFresh && e.done() {
		e = &routeEntry{asked: now, ready: make(chan struct{})}
		k.routes.putLocked(topic, e)
		go k.ask(topic, e, before)
	}
	k.routes.mu.Unlock()
	timer := time.NewTimer(routeWait)
	defer timer.Stop()
	select {
	case <-e.ready:
		return e
	case <-timer.C:
	case <-k.quit:
	}
	if before != nil && before.done() {
		return before
	}
	return &routeEntry{}
}

// slavesOf are the addresses of a broker's slaves.
func (e *routeEntry) slavesOf(broker int) (addresses []string) {
	for _, o := range e.replicas {
		if o.Replica.Broker == broker && !o.Replica.IsMaster() {
			addresses = append(addresses, o.Addr)
		}
	}
	return addresses
}

func (e *routeEntry) done() bool {
	select {
	case <-e.ready:
		return true
	default:
		return false
	}
}

// ask asks ZooKeeper about a topic. before is what was known.
func (k *cluster) ask(topic protocol.Topic, e, before *routeEntry) {
	defer close(e.ready)
	ctx, cancel := context.WithTimeout(context.Background(), routeLookup)
	defer cancel()
	if status, _ := k.session.Status(); status.State != zkcoord.Connected {
		cancel() // an answer may be long in coming
	}
	if e.masters, e.err = k.directory.Lookup(ctx, zkcoord.UsePublish, topic); e.err == nil {
		e.replicas, e.err = k.directory.Lookup(ctx, zkcoord.UseSubscribe, topic)
	}
	if e.err != nil && before != nil {
		e.masters, e.replicas = before.masters, before.replicas
	}
}

// putLocked keeps an entry, in the place of the one that was asked for longest ago if there are too many.
func (r *routes) putLocked(topic protocol.Topic, e *routeEntry) {
	if r.of[topic] == nil && len(r.of) >= maxRoutes {
		var oldest protocol.Topic
		for name, o := range r.of {
			if r.of[oldest] == nil || o.asked.Before(r.of[oldest].asked) {
				oldest = name
			}
		}
		delete(r.of, oldest)
	}
	r.of[topic] = e
}
