package zkcoord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaq/metaq/protocol"
)

// MemberConfig is what a consumer of a group is.
type MemberConfig struct {
	Group    protocol.Group
	Consumer string // its own id, one in the group; see NewConsumerID
	Topics   []protocol.Topic
	Assign   Assignment // the same for all members. Default: AssignRanges
	Log      *slog.Logger
}

// A Claim is a partition that a member has.
type Claim struct {
	TopicPartition
	session *Session
	id      int64 // session in which its owner node was made
}

// Valid says whether the partition is the member's for sure. From when it is not, somebody else may have it: nothing of it may be handed over
// or kept any more.
func (c Claim) Valid() bool { return c.session.Holds(c.id) }

// A Holder works on the partitions that a Member has. Its functions are called one at a time.
type Holder interface {
	// Acquire is told what the member has from now on, besides what it had.
	Acquire(claims []Claim)
	// Release is told what the member gives up. Others get it when Release returns: by then nothing more of it is worked on, and how far the work has come is kept.
	// Claims that are not Valid may be others' already, so nothing of them is kept.
	Release(claims []Claim)
}

// A Member is a consumer of a group while it is there. It shares the partitions of its topics with the other members, also those written in Java: each
// computes what it should have, gives up what it should not, and takes what is free. Partitions that stay its own are not interrupted.
type Member struct {
	config    MemberConfig
	session   *Session
	layout    Layout
	directory *Directory
	holder    Holder
	registrar *Registrar
	wake      chan struct{}
	quit      context.CancelFunc
	off       sync.WaitGroup

	// Of the goroutine that runs only, and of Leave after it.
	sessions map[int64]bool          // that the member had
	leaving  map[TopicPartition]bool // given up, the owner node may be there yet
	reason   string                  // that was logged last for not having everything
	group    roll

	mu      sync.Mutex // whoever changes these holds it
	claims  map[TopicPartition]Claim
	settled bool          // it has what it should have
	changed chan struct{} // closed when claims or settled change
}

// Join makes a consumer a member of its group. holder is told what it gets.
func Join(s *Session, l Layout, c MemberConfig, holder Holder) *Member {
	if c.Assign == nil {
		c.Assign = AssignRanges
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m := &Member{
		config: c, session: s, layout: l, directory: NewDirectory(s, l), holder: holder, wake: make(chan struct{}, 1),
		sessions: map[int64]bool{}, leaving: map[TopicPartition]bool{}, claims: map[TopicPartition]Claim{}, changed: make(chan struct{}),
	}
	m.registrar = NewRegistrar(s, func(err error) {
		if err != nil {
			m.config.Log.Warn("not registered in the group", "group", c.Group, "consumer", c.Consumer, "error", err)
		}
	})
	m.registrar.Set(Registration{Path: l.Member(c.Group, m.id()), Data: JoinTopics(c.Topics), Kind: Ephemeral})
	ctx, cancel := context.WithCancel(context.Background())
	m.quit = cancel
	m.off.Go(func() { m.run(ctx) })
	return m
}

func (m *Member) id() string { return MemberID(m.config.Group, m.config.Consumer) }

// Claims is what the member has now; settled says whether that is all it should have; changed is closed when either changes.
func (m *Member) Claims() (claims []Claim, settled bool, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.claims)), m.settled, m.changed
}

// Leave gives everything up and leaves the group. What cannot be removed before ctx ends goes with the session.
func (m *Member) Leave(ctx context.Context) error {
	m.quit()
	m.off.Wait()
	defer m.registrar.Close()
	m.release(slices.Collect(maps.Values(m.claims)))
	return errors.Join(m.removeOwners(ctx), m.registrar.Clear(ctx))
}

// fallback is how long nothing has to happen until a member looks anyway.
const fallback = 30 * time.Second

func (m *Member) run(ctx context.Context) {
	m.group.list = m.session.watch(watchKey{m.layout.Members(m.config.Group), true}, m.wake)
	defer m.group.list.Close()
	topics := map[protocol.Topic]*FollowedTopic{}
	for _, t := range m.config.Topics {
		topics[t] = m.directory.follow(UseSubscribe, t, m.wake)
		defer topics[t].Close()
	}
	pause := firstPause
	again := time.NewTimer(fallback)
	defer again.Stop()
	for {
		status, changed := m.session.Status()
		m.dropInvalid()
		switch status.State {
		case Closed:
			return
		case Connected:
			err := m.rebalance(ctx, status.ID, topics)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				pause, m.reason = firstPause, ""
				again.Reset(fallback)
			default:
				if reason := err.Error(); reason != m.reason {
					m.reason = reason
					m.config.Log.Info("partitions are not as they should be yet", "group", m.config.Group, "reason", err)
				}
				again.Reset(pause)
				pause = min(2*pause, claimPause)
			}
		}
		select {
		case <-m.wake:
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// claimPause is the longest pause before a partition is tried again that another member has not given up yet.
const claimPause = 500 * time.Millisecond

// dropInvalid gives up what was claimed in a session that is over.
func (m *Member) dropInvalid() {
	var over []Claim
	for _, c := range m.claims {
		if !c.Valid() {
			over = append(over, c)
		}
	}
	if len(over) == 0 {
		return
	}
	m.config.Log.Warn("the session is over, and with it what was claimed in it", "group", m.config.Group, "partitions", len(over))
	m.release(over)
}

// release gives up claims. Their owner nodes are removed later.
func (m *Member) release(claims []Claim) {
	if len(claims) == 0 {
		return
	}
	m.holder.Release(claims)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range claims {
		delete(m.claims, c.TopicPartition)
		m.leaving[c.TopicPartition] = true
	}
	m.settleLocked(false)
}

func (m *Member) settleLocked(now bool) {
	m.settled = now
	close(m.changed)
	m.changed = make(chan struct{})
}

// rebalance gives up and takes until the member has what it should have.
func (m *Member) rebalance(ctx context.Context, session int64, topics map[protocol.Topic]*FollowedTopic) error {
	m.sessions[session] = true
	wanted, err := m.wanted(ctx, session, topics)
	if err != nil {
		return err
	}
	var extra []Claim
	var missing []TopicPartition
	for p, c := range m.claims {
		if !wanted[p] {
			extra = append(extra, c)
		}
	}
	for p := range wanted {
		if _, has := m.claims[p]; !has {
			missing = append(missing, p)
		}
	}
	m.release(extra)
	if err := m.removeOwners(ctx); err != nil {
		return err
	}
	claimed, err := m.claim(ctx, session, missing)
	m.mu.Lock()
	for _, c := range claimed {
		m.claims[c.TopicPartition] = c
	}
	if settled := err == nil; len(claimed) > 0 || settled != m.settled {
		m.settleLocked(settled)
	}
	m.mu.Unlock()
	if len(claimed) > 0 {
		m.config.Log.Info("partitions taken", "group", m.config.Group, "partitions", len(claimed), "all", len(m.claims))
		m.holder.Acquire(claimed)
	}
	return err
}

// wanted is what the member should have, as all members compute it.
func (m *Member) wanted(ctx context.Context, session int64, topics map[protocol.Topic]*FollowedTopic) (map[TopicPartition]bool, error) {
	byTopic, err := m.members(ctx, session)
	if err != nil {
		return nil, err
	}
	wanted := map[TopicPartition]bool{}
	for topic, followed := range topics {
		offers, known, _ := followed.Offers()
		if !known {
			return nil, errors.New("it is not known yet who has " + string(topic))
		}
		for _, p := range m.config.Assign(partitionsOf(offers), byTopic[topic])[m.id()] {
			wanted[TopicPartition{topic, p}] = true
		}
	}
	return wanted, nil
}

// partitionsOf is what replicas offer together: a master and its slaves have the same ones.
func partitionsOf(offers []Offer) []Partition {
	var list []Partition
	for _, o := range offers {
		for n := range o.Partitions {
			list = append(list, Partition{o.Replica.Broker, n})
		}
	}
	slices.SortFunc(list, ComparePartitions)
	return slices.Compact(list)
}

// A roll is who is in a group. Each member is read once, however many come and go beside it.
type roll struct {
	list    *Watch
	session int64 // in which the rest was read
	churn   int32 // of the list when they were read
	topics  map[string][]protocol.Topic
}

// members tells who is in the group, by the topics they want. What it knows already it does not read again, unless somebody went and came back meanwhile.
func (m *Member) members(ctx context.Context, session int64) (map[protocol.Topic][]string, error) {
	g := &m.group
	now, known := g.list.Node()
	if !known {
		return nil, errors.New("it is not known yet who is in the group")
	}
	there := map[string]bool{}
	var missing []string
	for _, id := range now.Children {
		there[id] = true
		if _, read := g.topics[id]; !read {
			missing = append(missing, id)
		}
	}
	gone := len(g.topics)
	for id := range g.topics {
		if there[id] {
			gone--
		}
	}
	if g.session != session || int(now.Stat.Churn-g.churn) != len(missing)+gone {
		g.session, g.topics, missing = session, map[string][]protocol.Topic{}, now.Children
	}
	maps.DeleteFunc(g.topics, func(id string, _ []protocol.Topic) bool { return !there[id] })
	var mu sync.Mutex
	err := eachAtOnce(missing, func(id string) error {
		data, stat, err := m.session.Get(ctx, m.layout.Member(m.config.Group, id))
		switch {
		case err != nil && !errors.Is(err, ErrNoNode): // who leaves just now wants nothing
			return err
		case id == m.id() && stat.Owner != session:
			return nil
		case err == nil && stat.Owner == 0: // others, also those written in Java, count it too
			m.config.Log.Warn("a member of the group has no session: the node was made by hand, or restored from a copy of ZooKeeper, and what is dealt out to it nobody reads until somebody deletes it",
				"node", m.layout.Member(m.config.Group, id))
		}
		mu.Lock()
		defer mu.Unlock()
		g.topics[id] = SplitTopics(data)
		return nil
	})
	if err != nil {
		g.topics = map[string][]protocol.Topic{}
		return nil, err
	}
	g.churn = now.Stat.Churn
	if _, registered := g.topics[m.id()]; !registered {
		return nil, errors.New("this consumer is not registered in the group yet")
	}
	byTopic := map[protocol.Topic][]string{}
	for id, topics := range g.topics {
		for _, t := range topics {
			byTopic[t] = append(byTopic[t], id)
		}
	}
	return byTopic, nil
}

// removeOwners lets others have the partitions that were given up.
func (m *Member) removeOwners(ctx context.Context) error {
	var mu sync.Mutex
	var ours []TopicPartition
	var nodes []Change
	err := eachAtOnce(slices.Collect(maps.Keys(m.leaving)), func(p TopicPartition) error {
		path := m.ownerNode(p)
		_, stat, err := m.session.Get(ctx, path)
		if err != nil && !errors.Is(err, ErrNoNode) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil && m.sessions[stat.Owner] {
			ours, nodes = append(ours, p), append(nodes, Change{Path: path, Version: stat.Version})
		} else {
			delete(m.leaving, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, chunk := range inRequests(nodes, func(c Change) int { return len(c.Path) }) {
		err := m.session.DeleteAll(ctx, chunk)
		if errors.Is(err, ErrNoNode) || errors.Is(err, ErrBadVersion) {
			err = eachAtOnce(chunk, func(c Change) error {
				if err := m.session.Delete(ctx, c.Path, c.Version); err != nil && !errors.Is(err, ErrNoNode) {
					return err
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
		for _, p := range ours[:len(chunk)] {
			delete(m.leaving, p)
		}
		ours = ours[len(chunk):]
	}
	return nil
}

func (m *Member) ownerNode(p TopicPartition) string {
	return m.layout.Owner(m.config.Group, p.Topic, p.Partition)
}

// claim takes partitions that nobody has, many with one request. The error says what is not free yet.
func (m *Member) claim(ctx context.Context, session int64, partitions []TopicPartition) ([]Claim, error) {
	var mu sync.Mutex
	var claims []Claim
	claimed := func(list ...TopicPartition) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range list {
			claims = append(claims, Claim{p, m.session, session})
		}
	}
	// What may have been made without an answer, as when the member leaves meanwhile, is given up like what was claimed.
	unsure := func(list ...TopicPartition) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range list {
			m.leaving[p] = true
		}
	}
	single := func(p TopicPartition) error {
		err := m.own(ctx, session, p)
		switch {
		case err == nil:
			claimed(p)
		case errors.Is(err, ErrUnknown):
			unsure(p)
		}
		return err
	}
	free, owned, err := m.free(ctx, partitions)
	if err != nil {
		return nil, err
	}
	err = eachAtOnce(inRequests(free, func(p TopicPartition) int { return len(m.ownerNode(p)) + len(m.id()) }), func(chunk []TopicPartition) error {
		nodes := make([]NewNode, len(chunk))
		for i, p := range chunk {
			nodes[i] = NewNode{m.ownerNode(p), []byte(m.id()), Ephemeral}
		}
		err := m.session.CreateAll(ctx, nodes)
		if errors.Is(err, ErrNodeExists) {
			return eachAtOnce(chunk, single)
		}
		if errors.Is(err, ErrUnknown) {
			unsure(chunk...)
		}
		if err == nil {
			err = single(chunk[0]) // in which session all of them were made
			if err != nil {
				unsure(chunk...)
			} else {
				claimed(chunk[1:]...)
			}
		}
		return err
	})
	return claims, errors.Join(err, eachAtOnce(owned, single))
}

// free parts partitions into those that nobody has and those that somebody has, perhaps the member itself.
func (m *Member) free(ctx context.Context, partitions []TopicPartition) (free, owned []TopicPartition, err error) {
	taken := map[protocol.Topic]map[string]bool{}
	for _, p := range partitions {
		if taken[p.Topic] == nil {
			names, err := m.session.Children(ctx, m.layout.Owners(m.config.Group, p.Topic))
			if err != nil && !errors.Is(err, ErrNoNode) {
				return nil, nil, err
			}
			taken[p.Topic] = map[string]bool{}
			for _, name := range names {
				taken[p.Topic][name] = true
			}
		}
		if taken[p.Topic][p.Partition.String()] {
			owned = append(owned, p)
		} else {
			free = append(free, p)
		}
	}
	return free, owned, nil
}

// own makes the owner node of a partition in a session, if it is not there.
func (m *Member) own(ctx context.Context, session int64, p TopicPartition) error {
	path := m.ownerNode(p)
	for {
		data, stat, err := m.session.Get(ctx, path)
		switch {
		case errors.Is(err, ErrNoNode):
			if err := m.session.Create(ctx, path, []byte(m.id()), Ephemeral); err != nil && !errors.Is(err, ErrNodeExists) {
				return err
			}
			continue // the session may have changed before it was made, then it is not ours
		case err != nil:
			return err
		case stat.Owner == session:
			return nil
		case m.sessions[stat.Owner]:
			if err := m.session.Delete(ctx, path, stat.Version); err != nil && !errors.Is(err, ErrNoNode) {
				return err
			}
			continue // left over from before
		case stat.Owner == 0:
			return fmt.Errorf("%s is of %q, who has no session: a node that was made by hand, or restored from a copy of ZooKeeper, stays until somebody deletes it", path, data)
		}
		return fmt.Errorf("%s is %s's yet", p, data)
	}
}

var lastConsumer atomic.Int64

// NewConsumerID makes an id that no other consumer has, as the original does: address, process, time in milliseconds and a count.
func NewConsumerID() string {
	host := "127.0.0.1"
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
				host = n.IP.String()
				break
			}
		}
	}
	return fmt.Sprintf("%s-%d-%d-%d", host, os.Getpid(), time.Now().UnixMilli(), lastConsumer.Add(1))
}
