package client

import (
	"context"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// wholeBroker assigns all partitions of a broker that stands alone: against it a group is one process.
type wholeBroker struct{ c *Consumer }

func (w *wholeBroker) start() { w.c.done.Go(w.watch) }

func (w *wholeBroker) leave(ctx context.Context) error { return w.c.Commit(ctx) }

func (w *wholeBroker) replicas(zkcoord.TopicPartition) (string, []string) {
	return w.c.cluster.alone, nil
}

// watch finds partitions, new ones too.
func (w *wholeBroker) watch() {
	found := map[zkcoord.TopicPartition]bool{}
	refresh := time.NewTimer(0)
	defer refresh.Stop()
	for first := true; ; first = false {
		select {
		case <-w.c.ctx.Done():
			return
		case <-refresh.C:
			next := w.c.options.refresh
			if err := w.discover(found, first); err != nil && !w.c.gaveUp(err) {
				next = min(next, time.Second)
			}
			refresh.Reset(next)
		}
	}
}

// discover begins to read partitions that were not found before. first: it was not tried before.
func (w *wholeBroker) discover(found map[zkcoord.TopicPartition]bool, first bool) error {
	conn, err := w.c.connection(w.c.ctx, w.c.cluster.alone)
	if err != nil {
		return err
	}
	for _, topic := range w.c.topics {
		list, err := conn.Route(w.c.ctx, topic)
		if statusOf(err) == protocol.StatusNotFound {
			continue // nobody has made the topic yet
		}
		if err != nil {
			return err
		}
		for _, r := range list {
			p := zkcoord.TopicPartition{Topic: topic, Partition: Partition{Number: r.Partition}}
			if !found[p] {
				found[p] = true
				w.c.acquire(claimed{place: p, first: first})
			}
		}
	}
	return nil
}

// follower knows where the topics of a consumer are in a cluster.
type follower struct {
	c      *Consumer
	topics map[protocol.Topic]*zkcoord.FollowedTopic
}

func newFollower(c *Consumer) follower {
	return follower{c, map[protocol.Topic]*zkcoord.FollowedTopic{}}
}

func (f follower) follow() {
	for _, topic := range f.c.topics {
		f.topics[topic] = f.c.cluster.directory.Follow(zkcoord.UseSubscribe, topic)
	}
}

func (f follower) end() {
	for _, followed := range f.topics {
		followed.Close()
	}
}

func (f follower) replicas(p zkcoord.TopicPartition) (master string, slaves []string) {
	offers, _, _ := f.topics[p.Topic].Offers()
	for _, o := range offers {
		switch {
		case o.Replica.Broker != p.Partition.Broker:
		case o.Replica.IsMaster():
			master = o.Addr
		default:
			slaves = append(slaves, o.Addr)
		}
	}
	return master, slaves
}

// wholeCluster assigns all partitions of all brokers, whoever else reads them: broadcast.
type wholeCluster struct{ follower }

func (w *wholeCluster) start() {
	w.follow()
	for topic, followed := range w.topics {
		w.c.done.Go(func() { w.watch(topic, followed) })
	}
}

func (w *wholeCluster) leave(ctx context.Context) error {
	defer w.end()
	return w.c.Commit(ctx)
}

// watch follows the partitions of a topic as they come and go. Those that ZooKeeper does not know any more are read on for the time-out of the session, and for as
// long as it knows none at all: it may have lost everything, one node after the other, and the brokers register again.
func (w *wholeCluster) watch(topic protocol.Topic, followed *zkcoord.FollowedTopic) {
	reading := map[zkcoord.TopicPartition]bool{}
	for first, forGood := true, false; ; {
		offers, known, changed := followed.Offers()
		there := map[zkcoord.TopicPartition]bool{}
		for _, o := range offers {
			for n := range o.Partitions {
				p := zkcoord.TopicPartition{Topic: topic, Partition: Partition{Broker: o.Replica.Broker, Number: n}}
				there[p] = true
				if !reading[p] {
					reading[p] = true
					w.c.acquire(claimed{place: p, first: first})
				}
			}
		}
		first = first && !known
		var gone []zkcoord.TopicPartition
		for p := range reading {
			if !there[p] && len(there) > 0 {
				gone = append(gone, p)
			}
		}
		if forGood {
			if err := w.c.release(w.c.ctx, gone); err != nil && w.c.ctx.Err() == nil {
				w.c.options.log.Warn("offsets are not committed", "topic", topic, "error", err)
			}
			for _, p := range gone {
				delete(reading, p)
			}
			gone = nil
		}
		var later <-chan time.Time
		if len(gone) > 0 {
			later = time.After(w.c.cluster.session.Timeout())
		}
		select {
		case <-changed:
			forGood = false
		case <-later:
			forGood = true
		case <-w.c.ctx.Done():
			return
		}
	}
}
