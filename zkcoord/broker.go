package zkcoord

import (
	"context"
	"strconv"
	"sync"

	"github.com/metaq/metaq/protocol"
)

// BrokerInfo is what a broker says of itself.
type BrokerInfo struct {
	ID       int
	Addr     string // host:port that clients connect to
	Checksum uint32 // CRC-32 (IEEE) of the configuration file

	// Sessions remembers the sessions of the broker. nil: what an earlier process has left stays until it goes with its session.
	Sessions Sessions
}

// Sessions remembers which sessions a broker has had, over its processes.
type Sessions interface {
	// Begun is called before anything is registered in a session.
	Begun(id int64)
	// Had tells whether a session was one of the broker.
	Had(id int64) bool
}

// TopicOffer is how a broker has a topic.
type TopicOffer struct {
	Partitions int32
	Publish    bool // it takes puts
	Subscribe  bool // it serves gets
}

// A Broker keeps the master of a broker registered, over all sessions and outages. Nobody else may have its id: as long as somebody has, nothing of it
// is registered. It follows the node that says so: when that is taken away, it is made again, and when it is somebody else's by then, Standing says so.
type Broker struct {
	layout    Layout
	replica   Replica
	registrar *Registrar
	master    *Watch
	quit      context.CancelFunc
	off       sync.WaitGroup
}

// MaxTopicBytes bounds what the topics of a broker take of its session, see ErrSessionFull and TopicBytes. The rest is for the broker's other nodes.
const MaxTopicBytes = maxEphemerals - 4<<10

// TopicBytes is what a topic takes of the session of its broker. The chroot is that of ParseConnect.
func (l Layout) TopicBytes(chroot string, broker int, t protocol.Topic) (n int) {
	for _, use := range Uses {
		n += ephemeralSize(chroot + l.TopicOf(use, t, Master(broker)))
	}
	return n
}

// Stages of what a broker registers.
const (
	stageMaster = iota // who has this node is the broker
	stageInfo
	stageTopics
)

// RegisterBroker begins to register a broker without topics. onState is that of NewRegistrar.
func RegisterBroker(s *Session, l Layout, info BrokerInfo, onState func(error)) *Broker {
	ctx, quit := context.WithCancel(context.Background())
	b := &Broker{layout: l, replica: Master(info.ID), quit: quit}
	b.master = s.WatchData(l.Replica(b.replica))
	var begun func(int64)
	if info.Sessions != nil {
		begun = info.Sessions.Begun
	}
	b.registrar = newRegistrar(s, begun, onState)
	addr := []byte(FormatAddress(info.Addr))
	b.registrar.Set(
		// A node with our own address and of a session of ours is that of a process of ours that has ended. The address alone says nothing: somebody may have given
		// two brokers the same one. Nor does the session alone: somebody may have copied our data.
		Registration{Path: l.Replica(b.replica), Data: addr, Kind: Ephemeral, Stage: stageMaster, Ours: func(data []byte, owner int64) bool {
			return string(data) == string(addr) && info.Sessions != nil && info.Sessions.Had(owner)
		}},
		Registration{Path: l.Broker(info.ID), Data: addr, Kind: Persistent, Stage: stageInfo},
	)
	b.SetChecksum(info.Checksum)
	b.off.Go(func() { b.follow(ctx) })
	return b
}

// follow sees to it that a master node that is gone, or somebody else's, is noticed.
func (b *Broker) follow(ctx context.Context) {
	for {
		select {
		case <-b.master.Changed():
			n, known := b.master.Node()
			b.registrar.seen(b.layout.Replica(b.replica), known && n.Exists, n.Stat.Owner)
		case <-ctx.Done():
			b.master.Close()
			return
		}
	}
}

// close ends the registration. What is there stays.
func (b *Broker) close() {
	b.quit()
	b.off.Wait()
	b.registrar.Close()
}

// always is for nodes that belong to whoever has the master's.
func always([]byte, int64) bool { return true }

// SetChecksum tells the checksum of another configuration.
func (b *Broker) SetChecksum(sum uint32) {
	b.registrar.Set(Registration{Path: b.layout.ConfigChecksum(b.replica.Broker), Data: strconv.AppendUint(nil, uint64(sum), 10), Kind: Ephemeral, Stage: stageInfo, Ours: always})
}

// SetTopics registers topics, or registers them otherwise.
func (b *Broker) SetTopics(topics map[protocol.Topic]TopicOffer) {
	var set []Registration
	var unset []string
	for t, o := range topics {
		node := TopicNode{Broker: b.replica.String(), Partitions: int(o.Partitions)}.Encode()
		for use, wanted := range map[Use]bool{UseAny: true, UsePublish: o.Publish, UseSubscribe: o.Subscribe} {
			n := Registration{Path: b.layout.TopicOf(use, t, b.replica), Data: node, Kind: Ephemeral, Stage: stageTopics, Ours: always}
			if use == UseAny {
				n.Data = strconv.AppendInt(nil, int64(o.Partitions), 10)
			}
			if wanted {
				set = append(set, n)
			} else {
				unset = append(unset, n.Path)
			}
		}
	}
	b.registrar.Set(set...)
	b.registrar.Unset(unset...)
}

// RemoveTopics registers topics no longer.
func (b *Broker) RemoveTopics(topics ...protocol.Topic) {
	var paths []string
	for _, t := range topics {
		for _, use := range Uses {
			paths = append(paths, b.layout.TopicOf(use, t, b.replica))
		}
	}
	b.registrar.Unset(paths...)
}

// Await waits until all of it is registered.
func (b *Broker) Await(ctx context.Context) error { return b.registrar.Await(ctx) }

// Standing is nil while the broker is registered, and says what is in the way otherwise, see Registrar.
func (b *Broker) Standing() error { return b.registrar.Standing() }

// Withdraw removes the nodes that say that the broker is there, and ends the registration. The topics are left to the session, which the caller closes next: one
// request takes all of them away, however many there are.
func (b *Broker) Withdraw(ctx context.Context) error {
	defer b.close()
	b.registrar.Unset(b.layout.ConfigChecksum(b.replica.Broker), b.layout.Replica(b.replica), b.layout.Broker(b.replica.Broker))
	return b.registrar.Await(ctx)
}

// Unregister removes everything, node by node, and ends the registration; the session may go on. What could not be removed goes with the session.
func (b *Broker) Unregister(ctx context.Context) error {
	defer b.close()
	return b.registrar.Clear(ctx)
}
