package zkcoord

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/zookeeper"
)

// hadSessions are the sessions of a broker, in memory.
type hadSessions struct {
	mu   sync.Mutex
	list []int64
}

func (h *hadSessions) Begun(id int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, id)
}

func (h *hadSessions) Had(id int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.list, id)
}

// testBroker is a registration with the topic t, and what it tells.
type testBroker struct {
	*Broker
	session *Session
	states  states
}

func registerTest(t *testing.T, z *zookeeper.Server, sessions Sessions) *testBroker {
	t.Helper()
	b := &testBroker{session: connect(t, z)}
	b.Broker = RegisterBroker(b.session, DefaultRoot, BrokerInfo{ID: 3, Addr: "10.0.0.1:8123", Sessions: sessions}, b.states.note)
	b.SetTopics(map[protocol.Topic]TopicOffer{"t": {Partitions: 1, Publish: true, Subscribe: true}})
	t.Cleanup(b.close)
	return b
}

// owner is the session that has a node, 0 if there is none.
func owner(t *testing.T, look *Session, path string) int64 {
	t.Helper()
	_, stat, err := look.Get(within(t), path)
	if err != nil && !errors.Is(err, ErrNoNode) {
		t.Fatal(err)
	}
	return stat.Owner
}

func (b *testBroker) id() int64 {
	status, _ := b.session.Status()
	return status.ID
}

// Two brokers with the same id and the same address: the second one waits and says why, and does not take the nodes of the first one.
func TestBroker_TheSameIDAndAddressTwice(t *testing.T) {
	z := zookeeper.Start(t)
	look := connect(t, z)
	first := registerTest(t, z, &hadSessions{})
	must(t, first.Await(within(t)))
	second := registerTest(t, z, &hadSessions{})
	var taken *TakenError
	until(t, "the second one says that its id is taken", func() bool { return errors.As(second.states.last(), &taken) })
	if !taken.Same || !strings.Contains(taken.Error(), "Two with the same id and address") || !errors.As(second.Standing(), &taken) {
		t.Errorf("%v; standing: %v", taken, second.Standing())
	}
	for _, path := range []string{"/meta/brokers/ids/3/master", "/meta/brokers/topics-pub/t/3-m"} {
		if got := owner(t, look, path); got != first.id() {
			t.Errorf("%s is of session %#x, want that of the first one, %#x", path, got, first.id())
		}
	}
	first.session.Close()
	must(t, second.Await(within(t)))
	if got := owner(t, look, "/meta/brokers/topics-pub/t/3-m"); got != second.id() {
		t.Errorf("the topic is of session %#x, want %#x", got, second.id())
	}
}

// A process that follows one that was killed knows its session, and does not wait for the end of that.
func TestBroker_TakesWhatItsEarlierProcessHasLeft(t *testing.T) {
	z := zookeeper.Start(t)
	look := connect(t, z)
	had := &hadSessions{}
	killed := registerTest(t, z, had)
	must(t, killed.Await(within(t)))
	killed.close() // its session stays, as after kill -9
	next := registerTest(t, z, had)
	must(t, next.Await(within(t)))
	for _, path := range []string{"/meta/brokers/ids/3/master", "/meta/brokers/topics-sub/t/3-m"} {
		if got := owner(t, look, path); got != next.id() {
			t.Errorf("%s is of session %#x, want %#x", path, got, next.id())
		}
	}
}

// Somebody takes the nodes of a broker away: it makes them again. Somebody puts his own in their place: it says so, and is back when they are gone.
func TestBroker_NoticesThatItsNodesAreGone(t *testing.T) {
	const master, topic = "/meta/brokers/ids/3/master", "/meta/brokers/topics-pub/t/3-m"
	z := zookeeper.Start(t)
	look := connect(t, z)
	b := registerTest(t, z, &hadSessions{})
	must(t, b.Await(within(t)))
	mine := func(path string) func() bool { return func() bool { return owner(t, look, path) == b.id() } }
	must(t, look.Delete(within(t), master, AnyVersion))
	until(t, "the master is there again", mine(master))

	thief := connect(t, z)
	thieving := registerThief(t, thief, b)
	var taken *TakenError
	until(t, "the broker says that it is not registered", func() bool { return errors.As(b.Standing(), &taken) })
	if owner(t, look, topic) == b.id() {
		t.Fatal("the thief has not taken the topic")
	}
	thieving.close()
	thief.Close()
	until(t, "the master is its own again", mine(master))
	until(t, "the topic too", mine(topic))
	until(t, "it is registered", func() bool { return b.Standing() == nil })
}

// registerThief registers the same broker with a copy of what the first one remembers.
func registerThief(t *testing.T, s *Session, b *testBroker) *Broker {
	t.Helper()
	had := &hadSessions{list: []int64{b.id()}}
	thief := RegisterBroker(s, DefaultRoot, BrokerInfo{ID: 3, Addr: "10.0.0.1:8123", Sessions: had}, nil)
	thief.SetTopics(map[protocol.Topic]TopicOffer{"t": {Partitions: 1, Publish: true, Subscribe: true}})
	must(t, thief.Await(within(t)))
	return thief
}
