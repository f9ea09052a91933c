package zkcoord

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/zookeeper"
)

// ledger is who has which partition, and whether ever two had one.
type ledger struct {
	mu     sync.Mutex
	owners map[TopicPartition]string
	faults []string
}

func newLedger() *ledger { return &ledger{owners: map[TopicPartition]string{}} }

// entry is a Holder that writes into a ledger.
type entry struct {
	ledger *ledger
	name   string
}

func (e entry) Acquire(claims []Claim) {
	e.ledger.mu.Lock()
	defer e.ledger.mu.Unlock()
	for _, c := range claims {
		if other, has := e.ledger.owners[c.TopicPartition]; has {
			e.ledger.faults = append(e.ledger.faults, fmt.Sprintf("%s has %s, and so has %s", e.name, c, other))
		}
		e.ledger.owners[c.TopicPartition] = e.name
	}
}

func (e entry) Release(claims []Claim) {
	e.ledger.mu.Lock()
	defer e.ledger.mu.Unlock()
	for _, c := range claims {
		if e.ledger.owners[c.TopicPartition] == e.name {
			delete(e.ledger.owners, c.TopicPartition)
		}
	}
}

// check fails the test if ever two had a partition.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.faults {
		t.Error(f)
	}
}

// topicOf offers a topic on a broker.
func topicOf(t *testing.T, z *zookeeper.Server, broker int, topic protocol.Topic, partitions int32) *Broker {
	t.Helper()
	b := RegisterBroker(connect(t, z), DefaultRoot, BrokerInfo{ID: broker, Addr: fmt.Sprintf("127.0.0.1:%d", 1+broker)}, nil)
	b.SetTopics(map[protocol.Topic]TopicOffer{topic: {partitions, true, true}})
	must(t, b.Await(within(t)))
	return b
}

func join(t *testing.T, s *Session, l *ledger, name string, topics ...protocol.Topic) *Member {
	t.Helper()
	return Join(s, DefaultRoot, MemberConfig{Group: "g", Consumer: name, Topics: topics, Log: testLog(t)}, entry{l, name})
}

// awaitClaims waits until a member has this many partitions and all it should have.
func awaitClaims(t *testing.T, m *Member, want int) []Claim {
	t.Helper()
	for bound := time.After(patience); ; {
		claims, settled, changed := m.Claims()
		if settled && len(claims) == want {
			return claims
		}
		select {
		case <-changed:
		case <-bound:
			t.Fatalf("%s has %d partitions (settled: %v), want %d", m.id(), len(claims), settled, want)
		}
	}
}

func names(claims []Claim) []string {
	var list []string
	for _, c := range claims {
		list = append(list, c.String())
	}
	slices.Sort(list)
	return list
}

func TestMember_SharesWithTheGroup(t *testing.T) {
	z := zookeeper.Start(t)
	topicOf(t, z, 0, "t", 4)
	l, look := newLedger(), connect(t, z)
	one := join(t, connect(t, z), l, "one", "t")
	all := awaitClaims(t, one, 4)
	two := join(t, connect(t, z), l, "two", "t")
	mine, theirs := awaitClaims(t, one, 2), awaitClaims(t, two, 2)
	if got := names(mine); !slices.Equal(got, []string{"t/0-0", "t/0-1"}) {
		t.Errorf("one has %q", got)
	}
	if got := names(theirs); !slices.Equal(got, []string{"t/0-2", "t/0-3"}) {
		t.Errorf("two has %q", got)
	}
	for _, c := range mine {
		if !slices.Contains(all, c) {
			t.Errorf("%s was interrupted although it stayed", c)
		}
	}
	want := []string{
		"P /meta/consumers", "P /meta/consumers/g", "P /meta/consumers/g/ids", "E /meta/consumers/g/ids/g_one t", "E /meta/consumers/g/ids/g_two t",
		"P /meta/consumers/g/owners", "P /meta/consumers/g/owners/t", "E /meta/consumers/g/owners/t/0-0 g_one", "E /meta/consumers/g/owners/t/0-1 g_one",
		"E /meta/consumers/g/owners/t/0-2 g_two", "E /meta/consumers/g/owners/t/0-3 g_two",
	}
	if got := tree(t, look, "/meta/consumers"); !sameSet(got, want) {
		t.Errorf("the tree is %q", got)
	}
	topicOf(t, z, 1, "t", 2) // another broker with the topic
	awaitClaims(t, one, 3)
	awaitClaims(t, two, 3)
	must(t, one.Leave(within(t)))
	awaitClaims(t, two, 6)
	must(t, two.Leave(within(t)))
	for _, line := range tree(t, look, "/meta/consumers") {
		if line[0] == 'E' {
			t.Errorf("%s is there after all have left", line)
		}
	}
	l.check(t)
}

// Members of the original let go and come back at their own pace: what another one has yet is waited for.
func TestMember_WaitsForTheOwner(t *testing.T) {
	z := zookeeper.Start(t)
	topicOf(t, z, 0, "t", 2)
	other, ctx, l := connect(t, z), within(t), newLedger()
	owner := DefaultRoot.Owner("g", "t", Partition{0, 1})
	must(t, other.Create(ctx, owner, []byte("g_java"), Ephemeral))
	m := join(t, connect(t, z), l, "one", "t")
	for bound := time.After(patience); ; {
		claims, settled, changed := m.Claims()
		if settled {
			t.Fatal("it has partitions that another one owns")
		}
		if slices.Equal(names(claims), []string{"t/0-0"}) {
			break
		}
		select {
		case <-changed:
		case <-bound:
			t.Fatalf("it has %q", names(claims))
		}
	}
	must(t, other.Delete(ctx, owner, AnyVersion))
	awaitClaims(t, m, 2)
	must(t, m.Leave(ctx))
}

// Two consumers with one id are a mistake. The second one has nothing until the first is gone.
func TestMember_AnIDTwice(t *testing.T) {
	z := zookeeper.Start(t)
	topicOf(t, z, 0, "t", 2)
	l := newLedger()
	first := join(t, connect(t, z), l, "same", "t")
	awaitClaims(t, first, 2)
	second := join(t, connect(t, z), newLedger(), "same", "t")
	must(t, first.Leave(within(t)))
	awaitClaims(t, second, 2)
	must(t, second.Leave(within(t)))
}

// A server that answers nothing for longer than the time-out: every member stops by its own clock, and takes its partitions up again afterwards.
func TestMember_StopsWhenTheSessionIsOver(t *testing.T) {
	z := zookeeper.Start(t)
	topicOf(t, z, 0, "t", 4)
	l := newLedger()
	var members []*Member
	for _, name := range []string{"one", "two"} {
		members = append(members, join(t, connect(t, z), l, name, "t"))
	}
	var before []Claim
	for _, m := range members {
		before = append(before, awaitClaims(t, m, 2)...)
	}
	z.Pause(t)
	paused := time.Now()
	for _, m := range members {
		awaitNoClaims(t, m)
	}
	if took := time.Since(paused); took >= sessionTime {
		t.Errorf("it took %s to stop, others may have the partitions after %s", took, sessionTime)
	}
	for _, c := range before {
		if c.Valid() {
			t.Errorf("%s counts as valid", c)
		}
	}
	z.Resume(t)
	for _, m := range members {
		awaitClaims(t, m, 2)
	}
	l.check(t)
}

func awaitNoClaims(t *testing.T, m *Member) {
	t.Helper()
	for bound := time.After(patience); ; {
		claims, _, changed := m.Claims()
		if len(claims) == 0 {
			return
		}
		select {
		case <-changed:
		case <-bound:
			t.Fatalf("%s has %q yet", m.id(), names(claims))
		}
	}
}

// A ZooKeeper that was set up anew knows nobody. All come back by themselves.
func TestMember_ZooKeeperEmpty(t *testing.T) {
	z := zookeeper.Start(t)
	topicOf(t, z, 0, "t", 4)
	l := newLedger()
	one, two := join(t, connect(t, z), l, "one", "t"), join(t, connect(t, z), l, "two", "t")
	awaitClaims(t, one, 2)
	awaitClaims(t, two, 2)
	z.Kill(t)
	z.Empty(t)
	z.Restart(t)
	awaitNewClaims(t, one, 2)
	awaitNewClaims(t, two, 2)
	l.check(t)
}

// awaitNewClaims waits until a member has partitions of a session that holds.
func awaitNewClaims(t *testing.T, m *Member, want int) {
	t.Helper()
	for bound := time.After(patience); ; {
		claims, settled, changed := m.Claims()
		if settled && len(claims) == want && !slices.ContainsFunc(claims, func(c Claim) bool { return !c.Valid() }) {
			return
		}
		select {
		case <-changed:
		case <-bound:
			t.Fatalf("%s has %q", m.id(), names(claims))
		}
	}
}

// Members come, leave and are cut off at random, with both ways of sharing; in the end each partition has one owner, and never two.
func TestMember_ManyComeAndGo(t *testing.T) {
	for name, assign := range map[string]Assignment{"default": AssignRanges, "hash": AssignByHash} {
		t.Run(name, func(t *testing.T) {
			z := zookeeper.Start(t)
			topicOf(t, z, 0, "a", 24)
			topicOf(t, z, 1, "b", 7)
			l, rng := newLedger(), rand.New(rand.NewPCG(1, 2))
			members := map[string]*Member{}
			for round := range 25 {
				if len(members) < 2 || rng.IntN(2) == 0 {
					id := fmt.Sprintf("m%d", round)
					topics := []protocol.Topic{"a", "b"}[:1+rng.IntN(2)]
					members[id] = Join(connect(t, z), DefaultRoot, MemberConfig{Group: "g", Consumer: id, Topics: topics, Assign: assign, Log: testLog(t)}, entry{l, id})
				} else {
					ids := slices.Sorted(maps.Keys(members))
					id := ids[rng.IntN(len(ids))]
					must(t, members[id].Leave(within(t)))
					delete(members, id)
				}
			}
			members["last"] = Join(connect(t, z), DefaultRoot, MemberConfig{Group: "g", Consumer: "last", Topics: []protocol.Topic{"a", "b"}, Assign: assign, Log: testLog(t)}, entry{l, "last"})
			for bound := time.After(patience); ; {
				owned, settled := 0, true
				var changed []<-chan struct{}
				for _, m := range members {
					claims, is, c := m.Claims()
					owned, settled, changed = owned+len(claims), settled && is, append(changed, c)
				}
				if settled && owned == 31 {
					break
				}
				select {
				case <-changed[0]:
				case <-time.After(50 * time.Millisecond): // one of the others
				case <-bound:
					t.Fatalf("%d of 31 partitions have an owner (settled: %v)", owned, settled)
				}
			}
			for _, m := range members {
				must(t, m.Leave(within(t)))
			}
			l.check(t)
		})
	}
}

// Nodes that are persistent where they should go with a session, as after ZooKeeper was restored from a copy, are told of: nobody else removes them.
func TestPersistentNodesOfNobodyAreToldOf(t *testing.T) {
	z := zookeeper.Start(t)
	other, ctx := connect(t, z), within(t)
	topicOf(t, z, 0, "t", 4)
	ghost, owned := DefaultRoot.Member("g", "g_ghost"), DefaultRoot.Owner("g", "t", Partition{0, 0})
	must(t, other.Create(ctx, ghost, []byte("t"), Persistent))
	must(t, other.Create(ctx, owned, []byte("g_ghost"), Persistent))
	master := DefaultRoot.Replica(Master(3))
	must(t, other.Create(ctx, master, []byte("meta://10.0.0.1:8123"), Persistent))
	var text told
	l := newLedger()
	m := Join(connect(t, z), DefaultRoot, MemberConfig{Group: "g", Consumer: "a", Topics: []protocol.Topic{"t"}, Log: slog.New(slog.NewTextHandler(&text, nil))}, entry{l, "a"})
	defer m.Leave(ctx)
	until(t, "the member that is none is told of", func() bool { return strings.Contains(text.String(), "node="+ghost) })
	until(t, "the partition of nobody is told of", func() bool { return strings.Contains(text.String(), owned+" is of ") })
	b := registerTest(t, z, &hadSessions{})
	until(t, "the broker says what is in the way", func() bool {
		err := b.Standing()
		return err != nil && strings.Contains(err.Error(), master) && strings.Contains(err.Error(), "until somebody deletes it")
	})
	for _, path := range []string{ghost, owned, master} {
		must(t, other.Delete(ctx, path, AnyVersion))
	}
	awaitClaims(t, m, 4)
	must(t, b.Await(ctx))
	l.check(t)
}
