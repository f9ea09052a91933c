package server

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/metaq/metaq/protocol"
)

// longPoll is a get that waits for a message. It is a task: it runs on the loop when there is something, or when the time is over.
type longPoll struct {
	conn   *conn
	get    getRequest
	name   []byte // of the topic, while the partition does not exist
	part   int32
	cancel func() // forgets the watch; nil before it is set
	timer  *time.Timer
	fired  atomic.Bool
}

// poll has a get wait for the end of its partition to move.
func (c *conn) poll(l *loop, g *getRequest) {
	if p := c.newPoll(l, *g); p != nil {
		p.cancel = g.queue.Watch(g.offset, p.fire)
	}
}

// waitBirth has a get wait for a partition that a put would make; false if none would.
func (c *conn) waitBirth(r *protocol.Request, g getRequest) bool {
	if t := c.server.catalog.known(r.Topic); t == nil || r.Partition < 0 || r.Partition >= t.accepts || r.MaxSize <= 0 {
		return false
	}
	p := c.newPoll(c.loop.Load(), g)
	if p == nil {
		return true // it was refused
	}
	p.name, p.part = slices.Clone(r.Topic), r.Partition
	if !c.server.catalog.await(p.name, p.part, p) {
		p.fire()
	}
	return true
}

// newPoll enters a waiting get, or refuses it and returns nil.
func (c *conn) newPoll(l *loop, g getRequest) *longPoll {
	if !c.mayWait(g.opaque) {
		return nil
	}
	l.counts.longPolls.Add(1)
	p := &longPoll{conn: c, get: g}
	c.polls = append(c.polls, p)
	c.waiting++
	p.timer = time.AfterFunc(time.Until(g.deadline), p.fire)
	return p
}

// mayWait says whether one more command may wait; if not it is answered.
func (c *conn) mayWait(opaque int32) bool {
	lim := c.server.limits.Load()
	if c.waiting >= lim.inFlight {
		c.answer(protocol.StatusUnavailable, opaque, fmt.Sprintf("%d commands of this connection are waiting, which is the limit (maxCommandsInFlight); read some answers first", lim.inFlight))
		return false
	}
	if b := &c.server.budget; c.waiting*waitCost >= freeShare && b.spent(lim) {
		c.answer(protocol.StatusUnavailable, opaque, b.refusal(lim))
		return false
	}
	return true
}

// fire has the get tried again. It may be called from any goroutine, and does nothing the second time.
func (p *longPoll) fire() {
	if !p.fired.Swap(true) {
		p.conn.loop.Load().post(p)
	}
}

// fireOwn has the gets tried again that waited for the puts of their connection, which are all answered now.
func (c *conn) fireOwn() {
	for _, p := range c.polls {
		if p.get.own {
			p.fire()
		}
	}
}

// forget releases what waits for the get.
func (p *longPoll) forget() {
	p.timer.Stop()
	if p.cancel != nil {
		p.cancel()
	}
}

func (p *longPoll) run(l *loop) {
	c := p.conn
	if now := c.loop.Load(); now != l {
		now.post(p)
		return
	}
	if c.closed {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			c.panicked(protocol.VerbGet, p.get.opaque, r)
			c.finish()
		}
	}()
	p.forget()
	if i := slices.Index(c.polls, p); i >= 0 {
		c.polls = slices.Delete(c.polls, i, i+1)
	}
	c.waiting--
	g := &p.get
	if c.ending || g.own || !time.Now().Before(g.deadline) {
		g.deadline = time.Time{}
	}
	l.began = time.Now() // a duration without the wait: waiting is what was asked for
	if g.queue == nil {
		g.topic = c.server.catalog.find(p.name)
		g.queue = g.topic.queue(p.part)
	}
	switch {
	case g.queue == nil:
		l.counts.missed(g.topic)
		c.answer(protocol.StatusNotFound, g.opaque, notExists(p.name, p.part))
	case g.queue.Closed():
		c.answer(protocol.StatusForbidden, g.opaque, c.server.closedToGets(g.queue.Partition()))
	case c.congested():
		c.enqueueRead(l, *g)
	default:
		c.read(l, g)
	}
	c.sendLate(l.out)
	l.out = l.out[:0]
}
