package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

// What a rebalance may take at most.
const (
	allJoin  = 5 * time.Second
	oneMoves = 2 * time.Second // a clean leave or join, and after the session of one that was cut off has ended
)

// groupSession is the time-out that members ask for.
const groupSession = 2 * time.Second

// ledger is which member has which partition.
type ledger struct {
	mu      sync.Mutex
	owners  map[zkcoord.TopicPartition]string
	changed chan struct{} // has room for one
	moves   int
	twice   []string // partitions that somebody got while another one had them
}

// page is one member's part of a ledger.
type page struct {
	ledger *ledger
	name   string
}

func (p page) Acquire(claims []zkcoord.Claim) {
	l := p.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range claims {
		if other, has := l.owners[c.TopicPartition]; has {
			l.twice = append(l.twice, fmt.Sprintf("%s: %s and %s", c, other, p.name))
		}
		l.owners[c.TopicPartition] = p.name
		l.moves++
	}
	l.tell()
}

func (p page) Release(claims []zkcoord.Claim) {
	l := p.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range claims {
		if l.owners[c.TopicPartition] == p.name {
			delete(l.owners, c.TopicPartition)
		}
	}
	l.tell()
}

func (l *ledger) tell() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// group are members that share partitions, and the ledger of all.
type group struct {
	zk         *zookeeper.Server
	partitions int
	ledger     *ledger
	members    []*member
	made       int
}

// member is one of a group with a session and a line to ZooKeeper of its own.
type member struct {
	*zkcoord.Member
	session *zkcoord.Session
	line    *zookeeper.Line
}

func (g *group) join(t *testing.T) {
	t.Helper()
	g.made++
	line := zookeeper.NewLine(t, g.zk.Addr)
	s, err := zkcoord.Connect(zkcoord.Config{Connect: line.Addr, SessionTimeout: groupSession})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	name := fmt.Sprintf("m%03d", g.made)
	m := zkcoord.Join(s, layout, zkcoord.MemberConfig{Group: "g", Consumer: name, Topics: []protocol.Topic{"t"}}, page{g.ledger, name})
	g.members = append(g.members, &member{m, s, line})
}

// take removes one of the members from the list.
func (g *group) take(rng *rand.Rand) *member {
	i := rng.IntN(len(g.members))
	m := g.members[i]
	g.members = slices.Delete(g.members, i, i+1)
	return m
}

// awaitShared waits until the members of the list have all partitions, in equal parts, and returns how long that took from a time on.
func (g *group) awaitShared(t *testing.T, what string, from time.Time) time.Duration {
	t.Helper()
	for bound := time.After(patience); ; {
		why := g.unshared()
		if why == "" {
			return time.Since(from)
		}
		select {
		case <-g.ledger.changed:
		case <-time.After(pollEvery): // members settle without a word to the ledger
		case <-bound:
			t.Fatalf("%s: not in %s: %s", what, patience, why)
		}
	}
}

// unshared says what is not as it should be.
func (g *group) unshared() string {
	all := 0
	for _, m := range g.members {
		claims, settled, _ := m.Claims()
		if least := g.partitions / len(g.members); !settled || len(claims) < least || len(claims) > least+1 {
			return fmt.Sprintf("a member has %d partitions, settled: %v", len(claims), settled)
		}
		all += len(claims)
	}
	g.ledger.mu.Lock()
	defer g.ledger.mu.Unlock()
	if all != g.partitions || len(g.ledger.owners) != g.partitions {
		return fmt.Sprintf("members have %d partitions, %d have an owner", all, len(g.ledger.owners))
	}
	return ""
}

// A large group over many partitions: all join at once, and then one leaves, one is cut off from ZooKeeper without a word, one joins, again and again. Each time all
// partitions have one owner again in time, and nobody ever gets one that another one has.
func TestGroup_LargeRebalances(t *testing.T) {
	seed := chaos.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	const brokers = 4
	count, partitions, rounds := chaos.Pick(10, 50), chaos.Pick(200, 1000), chaos.Pick(1, 20)
	z := zookeeper.Start(t)
	for id := range brokers {
		b := zkcoord.RegisterBroker(observer(t, z), layout, zkcoord.BrokerInfo{ID: id, Addr: fmt.Sprintf("127.0.0.1:%d", id+1)}, nil)
		b.SetTopics(map[protocol.Topic]zkcoord.TopicOffer{"t": {Partitions: int32(partitions / brokers), Publish: true, Subscribe: true}})
		if err := b.Await(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	g := &group{zk: z, partitions: partitions, ledger: &ledger{owners: map[zkcoord.TopicPartition]string{}, changed: make(chan struct{}, 1)}}

	before := z.Count(t, zookeeper.Requests)
	began := time.Now()
	for range count {
		g.join(t)
	}
	atOnce := g.awaitShared(t, "all join", began)
	joined := z.Count(t, zookeeper.Requests)
	if atOnce > allJoin {
		t.Errorf("%d members that join at once took %s to share %d partitions, want %s", count, atOnce, partitions, allJoin)
	}
	taken := map[string][]time.Duration{}
	note := func(what string, took, bound time.Duration) {
		t.Helper()
		taken[what] = append(taken[what], took)
		if took > bound {
			t.Errorf("%s: all partitions were owned again after %s, want %s", what, took, bound)
		}
	}
	for range rounds {
		leaver := g.take(rng)
		began := time.Now()
		if err := leaver.Leave(within(t)); err != nil {
			t.Fatal(err)
		}
		note("leave", g.awaitShared(t, "one leaves", began), oneMoves)
		leaver.session.Close()

		began = time.Now()
		g.join(t)
		note("join", g.awaitShared(t, "one joins", began), oneMoves)

		victim := g.take(rng)
		began = time.Now()
		victim.line.Hold(zookeeper.ToServer, zookeeper.ToClient)
		note("cut off", g.awaitShared(t, "one is cut off", began), victim.session.Timeout()+oneMoves)
		if claims, _, _ := victim.Claims(); len(claims) > 0 {
			t.Errorf("one that was cut off has %d partitions yet", len(claims))
		}
		victim.session.Close()
		g.join(t)
		g.awaitShared(t, "another one joins", time.Now())
	}
	asked := z.Count(t, zookeeper.Requests) - joined
	if len(g.ledger.twice) > 0 {
		t.Errorf("%d times two had a partition, such as %s", len(g.ledger.twice), g.ledger.twice[0])
	}
	name := fmt.Sprintf("%d consumers, %d partitions", count, partitions)
	chaos.Figure(t, 30, name+", all join at once", "%s, %d requests to ZooKeeper", atOnce.Round(time.Millisecond), joined-before)
	for _, what := range []string{"leave", "join", "cut off"} {
		list := taken[what]
		slices.Sort(list)
		chaos.Figure(t, 30, fmt.Sprintf("%s, owned again after one's %s", name, what), "p50 %s, p99 %s, max %s of %d", history.Quantile(list, 0.5), history.Quantile(list, 0.99), list[len(list)-1].Round(100*time.Microsecond), len(list))
	}
	chaos.Figure(t, 30, name+", requests to ZooKeeper for one that comes or goes", "%d", asked/(4*rounds))
	chaos.Figure(t, 30, name+", moves", "%d, %d with two owners", g.ledger.moves, len(g.ledger.twice))
	for _, m := range g.members {
		m.session.Close()
	}
}
