package client

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// publishing is what a producer knows of a topic.
type publishing struct {
	topic      protocol.Topic
	partitions []Partition            // sorted; empty if nothing is known
	until      time.Time              // when a broker that stands alone is asked again
	followed   *zkcoord.FollowedTopic // in a cluster
}

const (
	routeFor = 10 * time.Second // how long the partitions of a topic are not asked for again
	// anyNumber stands for all partitions of a broker.
	anyNumber = -1
)

// errNotKnown is wrapped when no broker is known for a message.
var errNotKnown = errors.New("metaq: no broker is known for the topic")

// publishingLocked is what is known of a topic. In a cluster it is followed from now on.
func (p *Producer) publishingLocked(topic protocol.Topic) *publishing {
	t := p.topics[topic]
	if t == nil {
		t = &publishing{topic: topic}
		p.topics[topic] = t
		if d := p.cluster.directory; d != nil {
			t.followed = d.Follow(zkcoord.UsePublish, topic)
			p.others.Go(func() { p.follow(t) })
		}
	}
	return t
}

// follow keeps up with who takes messages of a topic.
func (p *Producer) follow(t *publishing) {
	defer t.followed.Close()
	for {
		offers, _, changed := t.followed.Offers()
		p.learn(t, offers)
		select {
		case <-changed:
		case <-p.ctx.Done():
			return
		}
	}
}

// learn takes what ZooKeeper says. When it knows nobody, those that were there last are tried on: they may be there, and register again after
// ZooKeeper has lost everything.
func (p *Producer) learn(t *publishing, offers []zkcoord.Offer) {
	if len(offers) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil || p.closing && p.messages == 0 {
		return // no more lanes
	}
	t.partitions = nil
	for _, o := range offers {
		l := p.lanes[o.Replica.Broker]
		if l == nil {
			l = p.newLane(o.Replica.Broker)
			p.lanes[l.broker] = l
		}
		l.addr = o.Addr
		for n := range o.Partitions {
			t.partitions = append(t.partitions, Partition{Broker: l.broker, Number: n})
		}
	}
	slices.SortFunc(t.partitions, zkcoord.ComparePartitions)
	p.room.Broadcast()
}

// placeLocked finds the lane of a message, or the track. enqueue is nil while there is no room; errNotKnown is waited for.
func (p *Producer) placeLocked(s *sending) (enqueue func(*sending), err error) {
	if p.ordered != nil {
		if t, err := p.ordered.trackLocked(s); t != nil || err != nil {
			if err != nil || p.messages >= p.options.maxMessages || p.bytes+len(s.data) > p.options.maxBytes {
				return nil, err
			}
			return t.enqueueLocked, nil
		}
	}
	var l *lane
	if p.cluster.directory == nil {
		if s.chosen && s.partition.Broker != 0 {
			return nil, fmt.Errorf("metaq: partition %s: a broker that stands alone counts as broker 0", s.partition)
		}
		l = p.lanes[0]
	} else {
		t := p.publishingLocked(s.topic)
		if len(t.partitions) == 0 {
			return nil, fmt.Errorf("%w: no broker takes messages of %s", errNotKnown, s.topic)
		}
		switch {
		case s.free():
			l = p.spreadLocked(s, t)
		case !s.chosen:
			s.partition, s.chosen = p.options.selector(&s.message, t.partitions), true
			fallthrough
		default:
			l = p.lanes[s.partition.Broker]
		}
		if l == nil && s.chosen {
			return nil, fmt.Errorf("%w: partition %s of %s: there is no broker %d", errNotKnown, s.partition, s.topic, s.partition.Broker)
		}
	}
	if l == nil || !l.roomLocked(len(s.data)) {
		return nil, nil
	}
	return l.enqueueLocked, nil
}

// spreadLocked chooses the partition of a message that may go anywhere, and has not been there, and tells its lane: among the brokers that work and, if
// there are none, among all. It is nil if there is nothing to choose from, or no room where it would go, or the selector wants what is not offered.
func (p *Producer) spreadLocked(s *sending, t *publishing) *lane {
	accepted := s.seq > 0
	if !accepted {
		s.chosen = false
	}
	for _, avoid := range []bool{true, false} {
		p.offered = p.offered[:0]
		broker, open, full := -1, false, false
		for _, x := range t.partitions {
			if x.Broker != broker {
				broker = x.Broker
				l := p.lanes[broker]
				open = (!avoid || l.breaker == nil || l.breaker.admits()) && !slices.Contains(s.tried, Partition{Broker: broker, Number: anyNumber})
				if open && !accepted && !l.roomLocked(len(s.data)) {
					open, full = false, true
				}
			}
			if open && !slices.Contains(s.tried, x) {
				p.offered = append(p.offered, x)
			}
		}
		if len(p.offered) == 0 && full {
			return nil // a broker that works has soon room again
		}
		if len(p.offered) == 0 {
			continue
		}
		chosen := p.options.selector(&s.message, p.offered)
		if accepted && !slices.Contains(p.offered, chosen) {
			return nil
		}
		s.partition, s.chosen = chosen, true
		l := p.lanes[chosen.Broker]
		if l != nil && l.breaker != nil {
			l.breaker.chosen()
		}
		return l
	}
	return nil
}

// againLocked says whether a message that failed is tried again, and sees to where.
func (p *Producer) againLocked(l *lane, s *sending, err error) bool {
	here := Retriable(err) || errors.Is(err, errNoAddress)
	t := p.topics[s.topic]
	if t != nil && len(t.partitions) > 0 && s.chosen {
		s.mayHelp = s.mayHelp || here
		switch {
		case s.free() && (here || refusedHere(err)):
			s.tried = append(s.tried, Partition{Broker: s.partition.Broker, Number: anyNumber})
			if statusOf(err) == protocol.StatusForbidden {
				s.tried[len(s.tried)-1] = s.partition
			}
			if to := p.spreadLocked(s, t); to != nil {
				p.moveLocked(l, to, s)
				return true
			}
			here = s.mayHelp
			s.tried, s.mayHelp = nil, false
		case here && !s.message.Partition.made && !slices.Contains(t.partitions, s.partition):
			// Its partition is no longer one of the topic: the key goes elsewhere now.
			s.partition = p.options.selector(&s.message, t.partitions)
			if to := p.lanes[s.partition.Broker]; to != nil && to != l {
				p.moveLocked(l, to, s)
				return true
			}
		}
	}
	if here {
		l.failed = append(l.failed, s)
	}
	return here
}

// moveLocked puts a message behind those that wait for the broker of its new partition.
func (p *Producer) moveLocked(from, to *lane, s *sending) {
	if from == to {
		from.queue = append(from.queue, s) // for another partition
		return
	}
	from.leftLocked(s)
	to.enqueueLocked(s)
}

// moveQueueLocked moves what has not been sent yet, and may go elsewhere, away from a broker that says nothing.
func (p *Producer) moveQueueLocked(l *lane) {
	l.queue = slices.DeleteFunc(l.queue, func(s *sending) bool {
		if !s.free() {
			return false
		}
		t, before := p.topics[s.topic], s.partition
		s.tried = append(s.tried, Partition{Broker: l.broker, Number: anyNumber})
		to := p.spreadLocked(s, t)
		s.tried = s.tried[:len(s.tried)-1]
		if to == nil || to.breaker.open() {
			s.partition = before
			return false
		}
		l.leftLocked(s)
		to.enqueueLocked(s)
		return true
	})
}
