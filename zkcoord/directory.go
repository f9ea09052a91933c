package zkcoord

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/metaq/metaq/protocol"
)

// An Offer is a replica of a broker that has a topic.
type Offer struct {
	Replica    Replica
	Partitions int32
	Addr       string // host:port
}

func compareOffers(a, b Offer) int {
	return cmp.Or(cmp.Compare(a.Replica.Broker, b.Replica.Broker), cmp.Compare(a.Replica.Slave, b.Replica.Slave))
}

// A Directory tells where topics are. Producers ask for UsePublish and consumers for UseSubscribe.
type Directory struct {
	session *Session
	layout  Layout
}

// NewDirectory makes a Directory of one installation.
func NewDirectory(s *Session, l Layout) *Directory { return &Directory{s, l} }

// Lookup asks once who has a topic: sorted by broker, masters before slaves; nobody is no error. For producers, slaves count for nothing and are left out.
func (d *Directory) Lookup(ctx context.Context, use Use, topic protocol.Topic) ([]Offer, error) {
	names, err := d.session.Children(ctx, d.layout.Topic(use, topic))
	if errors.Is(err, ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Offer
	for _, name := range names {
		r, err := ParseReplica(name)
		if err != nil || use == UsePublish && !r.IsMaster() {
			continue
		}
		topicData, _, err1 := d.session.Get(ctx, d.layout.TopicOf(use, topic, r))
		addrData, _, err2 := d.session.Get(ctx, d.layout.Replica(r))
		if err := cmp.Or(err1, err2); err != nil {
			if errors.Is(err, ErrNoNode) {
				continue // it goes just now, or does not know its address yet
			}
			return nil, err
		}
		if o, ok := newOffer(r, topicData, addrData); ok {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, compareOffers)
	return list, nil
}

func newOffer(r Replica, topicData, addrData []byte) (o Offer, ok bool) {
	n, err1 := ParseTopicNode(topicData)
	addr, err2 := ParseAddress(addrData)
	return Offer{r, int32(n.Partitions), addr}, err1 == nil && err2 == nil
}

// A FollowedTopic is who has a topic, as it changes.
type FollowedTopic struct {
	directory *Directory
	use       Use
	topic     protocol.Topic
	wake      chan struct{} // shared by all watches
	tellAlso  chan<- struct{}
	quit      chan struct{}
	closing   sync.Once
	off       sync.WaitGroup

	mu      sync.Mutex
	offers  []Offer
	known   bool
	changed chan struct{} // closed when offers change
}

// Follow begins to follow a topic. It ends with Close.
func (d *Directory) Follow(use Use, topic protocol.Topic) *FollowedTopic {
	return d.follow(use, topic, nil)
}

// follow is Follow for somebody who follows several topics: changes are told on a channel with room for one, too.
func (d *Directory) follow(use Use, topic protocol.Topic, tell chan<- struct{}) *FollowedTopic {
	f := &FollowedTopic{directory: d, use: use, topic: topic, wake: make(chan struct{}, 1), tellAlso: tell, quit: make(chan struct{}), changed: make(chan struct{})}
	f.off.Go(f.run)
	return f
}

// Close ends it.
func (f *FollowedTopic) Close() {
	f.closing.Do(func() { close(f.quit) })
	f.off.Wait()
}

// Offers is who has the topic now, as Lookup tells it, and a channel that is closed when that changes. known is false as long as ZooKeeper has not
// said anything. What it holds must not be changed.
func (f *FollowedTopic) Offers() (list []Offer, known bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.offers, f.known, f.changed
}

// offering are the watches of one replica.
type offering struct{ topic, addr *Watch }

func (o offering) close() {
	o.topic.Close()
	o.addr.Close()
}

func (f *FollowedTopic) run() {
	s, l := f.directory.session, f.directory.layout
	children := s.watch(watchKey{l.Topic(f.use, f.topic), true}, f.wake)
	watched := map[Replica]offering{}
	defer func() {
		children.Close()
		for o := range maps.Values(watched) {
			o.close()
		}
	}()
	for {
		if n, known := children.Node(); known {
			there := map[Replica]bool{}
			for _, name := range n.Children {
				r, err := ParseReplica(name)
				if err != nil || f.use == UsePublish && !r.IsMaster() {
					continue
				}
				there[r] = true
				if _, ok := watched[r]; !ok {
					watched[r] = offering{s.watch(watchKey{l.TopicOf(f.use, f.topic, r), false}, f.wake), s.watch(watchKey{l.Replica(r), false}, f.wake)}
				}
			}
			maps.DeleteFunc(watched, func(r Replica, o offering) bool {
				if !there[r] {
					o.close()
				}
				return !there[r]
			})
			f.tell(watched)
		}
		select {
		case <-f.wake:
		case <-f.quit:
			return
		case <-s.quit:
			return
		}
	}
}

// tell tells who has the topic once something is known of each of them.
func (f *FollowedTopic) tell(watched map[Replica]offering) {
	list := []Offer{}
	for r, o := range watched {
		topic, known1 := o.topic.Node()
		addr, known2 := o.addr.Node()
		if !known1 || !known2 {
			return
		}
		if offer, ok := newOffer(r, topic.Data, addr.Data); ok {
			list = append(list, offer)
		}
	}
	slices.SortFunc(list, compareOffers)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known && slices.Equal(list, f.offers) {
		return
	}
	f.offers, f.known = list, true
	close(f.changed)
	f.changed = make(chan struct{})
	select {
	case f.tellAlso <- struct{}{}:
	default:
	}
}
