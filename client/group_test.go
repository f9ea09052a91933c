//go:build linux

package client_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/client/offsetfile"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/zkcoord"
)

// broker starts a broker of the cluster that registers itself, with the topic t.
func (c *testCluster) broker(t *testing.T, id, partitions int, opts ...metaqtest.Option) *metaqtest.Broker {
	t.Helper()
	return metaqtest.Start(t, append([]metaqtest.Option{
		metaqtest.Set("brokerId", fmt.Sprint(id)), metaqtest.Set("zk.zkConnect", c.Addr), metaqtest.Set("zk.zkSessionTimeoutMs", "2000"),
		metaqtest.Set("zk.zkSyncTimeMs", "50"), metaqtest.Set("numPartitions", fmt.Sprint(partitions)), metaqtest.Set("topic.t.numPartitions", fmt.Sprint(partitions)),
	}, opts...)...)
}

// owners is who has which partition of t, without the group in front.
func (c *testCluster) owners(t *testing.T, group string) map[string]string {
	t.Helper()
	owners := map[string]string{}
	names, err := c.session.Children(testContext(t), zkcoord.DefaultRoot.Owners(protocol.Group(group), "t"))
	if err != nil && !errors.Is(err, zkcoord.ErrNoNode) {
		t.Fatal(err)
	}
	for _, name := range names {
		data, _, err := c.session.Get(testContext(t), zkcoord.DefaultRoot.Owners(protocol.Group(group), "t")+"/"+name)
		if err == nil {
			owners[name] = strings.TrimPrefix(string(data), group+"_")
		}
	}
	return owners
}

// offset is the node of an offset; version is -1 if it is not there.
func (c *testCluster) offset(t *testing.T, group, partition string) (offset zkcoord.Offset, version int32) {
	t.Helper()
	p, err := zkcoord.ParsePartition(partition)
	if err != nil {
		t.Fatal(err)
	}
	data, stat, err := c.session.Get(testContext(t), zkcoord.DefaultRoot.Offset(protocol.Group(group), "t", p))
	if errors.Is(err, zkcoord.ErrNoNode) {
		return zkcoord.Offset{}, -1
	}
	if err == nil {
		offset, err = zkcoord.ParseOffset(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return offset, stat.Version
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	wait.Until(t, 5*time.Millisecond, 40*time.Second, what, ok)
}

// reading is a consumer that runs, and what it was given.
type reading struct {
	*client.Consumer
	stop context.CancelFunc
	over chan error

	mu   sync.Mutex
	list []client.Received
	at   []time.Time
}

// run lets a consumer run until it is closed or ended. handle may be nil.
func run(t *testing.T, c *client.Consumer, handle func(client.Received)) *reading {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &reading{Consumer: c, stop: stop, over: make(chan error, 1)}
	go func() {
		r.over <- c.Run(ctx, func(_ context.Context, m client.Received) error {
			r.mu.Lock()
			r.list, r.at = append(r.list, m), append(r.at, time.Now())
			r.mu.Unlock()
			if handle != nil {
				handle(m)
			}
			return nil
		})
	}()
	t.Cleanup(func() { r.end(t) })
	return r
}

// end closes the consumer.
func (r *reading) end(t *testing.T) {
	t.Helper()
	if err := r.Close(testContext(t)); err != nil {
		t.Errorf("close: %v", err)
	}
	r.stop()
	if err := <-r.over; err != nil {
		t.Errorf("run: %v", err)
	}
	r.over <- nil // for the next end
}

func (r *reading) messages() []client.Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

func (r *reading) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.list)
}

func (r *reading) last() client.Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list[len(r.list)-1]
}

func partitionOf(m client.Received) string { return fmt.Sprintf("%d-%d", m.Broker, m.Partition) }

// holds says whether all bodies were given to some readings.
func holds(want []string, readings ...*reading) bool {
	got := map[string]bool{}
	for _, r := range readings {
		for _, m := range r.messages() {
			got[string(m.Body)] = true
		}
	}
	return !slices.ContainsFunc(want, func(body string) bool { return !got[body] })
}

// feed sends messages with numbers to t.
type feed struct {
	t    *testing.T
	p    *client.Producer
	sent []string
	ends map[string]zkcoord.Offset // of the partitions: id of the last message, and where the next one begins
}

func newFeed(t *testing.T, addr string) *feed {
	return &feed{t: t, p: producer(t, addr), ends: map[string]zkcoord.Offset{}}
}

func (f *feed) send(n int) []string {
	f.t.Helper()
	begin := len(f.sent)
	for range n {
		body := fmt.Sprint(len(f.sent))
		r, err := f.p.Send(testContext(f.t), "t", []byte(body))
		if err != nil {
			f.t.Fatal(err)
		}
		f.sent = append(f.sent, body)
		f.ends[place(r)] = zkcoord.Offset{MessageID: r.ID, Offset: r.Offset + int64(protocol.RecordHeader+len(body))}
	}
	return f.sent[begin:]
}

// sharedBy says whether the four partitions are shared by consumers as all members compute it.
func (c *testCluster) sharedBy(t *testing.T, group string, consumers ...string) {
	t.Helper()
	want := ownersBy(zkcoord.AssignRanges, group, consumers...)
	eventually(t, fmt.Sprintf("the owners are %v", want), func() bool { return maps.Equal(c.owners(t, group), want) })
}

// ownersBy is who has which of the four partitions.
func ownersBy(assign zkcoord.Assignment, group string, consumers ...string) map[string]string {
	all := []zkcoord.Partition{{Broker: 0, Number: 0}, {Broker: 0, Number: 1}, {Broker: 1, Number: 0}, {Broker: 1, Number: 1}}
	members := make([]string, len(consumers))
	for i, id := range consumers {
		members[i] = zkcoord.MemberID(protocol.Group(group), id)
	}
	want := map[string]string{}
	for member, list := range assign(all, members) {
		for _, p := range list {
			want[p.String()] = strings.TrimPrefix(member, group+"_")
		}
	}
	return want
}

func TestGroup_SharesAsItIsTold(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	c.broker(t, 1, 2)
	want := ownersBy(zkcoord.AssignByHash, "g", "a", "b")
	if maps.Equal(want, ownersBy(zkcoord.AssignRanges, "g", "a", "b")) {
		t.Fatalf("both assignments are %v", want)
	}
	for _, id := range []string{"a", "b"} {
		run(t, member(t, c, "g", id, client.WithAssignment(zkcoord.AssignByHash)), nil)
	}
	eventually(t, fmt.Sprintf("the owners are %v", want), func() bool { return maps.Equal(c.owners(t, "g"), want) })
}

func member(t *testing.T, c *testCluster, group, id string, opts ...client.ConsumerOption) *client.Consumer {
	t.Helper()
	return consumer(t, c.addr, group, "t", append([]client.ConsumerOption{client.WithConsumerID(id)}, opts...)...)
}

// Consumers share the partitions of two brokers while one joins and one leaves: each message is given out once, in order, by the owner of its partition.
func TestGroup_SharesPartitions(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	c.broker(t, 1, 2)
	f := newFeed(t, c.addr)
	f.send(40)
	a := run(t, member(t, c, "g", "a"), nil)
	c.sharedBy(t, "g", "a")
	eventually(t, "a has everything", func() bool { return holds(f.sent, a) })
	b := run(t, member(t, c, "g", "b"), nil)
	c.sharedBy(t, "g", "a", "b")
	before := a.count()
	f.send(40)
	eventually(t, "two have everything", func() bool { return holds(f.sent, a, b) })
	if b.count() != 20 || a.count() != before+20 {
		t.Errorf("b was given %d messages and a %d, want 20 each", b.count(), a.count()-before)
	}
	for _, m := range b.messages() {
		if m.Broker != 1 {
			t.Errorf("b was given %s, which is a's", partitionOf(m))
		}
	}
	d := run(t, member(t, c, "g", "d"), nil)
	f.send(40)
	c.sharedBy(t, "g", "a", "b", "d")
	f.send(40)
	eventually(t, "three have everything", func() bool { return holds(f.sent, a, b, d) })
	a.end(t)
	f.send(40)
	c.sharedBy(t, "g", "b", "d")
	f.send(40)
	eventually(t, "the two that are left have everything", func() bool { return holds(f.sent, a, b, d) })
	for _, r := range []*reading{a, b, d} {
		last := map[string]int64{}
		for _, m := range r.messages() {
			p := partitionOf(m)
			if m.Offset < last[p] {
				t.Errorf("%s is not in order", p)
			}
			last[p] = m.Next
		}
	}
	if n := a.count() + b.count() + d.count(); n != len(f.sent) {
		t.Errorf("%d messages were given out for %d", n, len(f.sent))
	}
}

// What Close commits is the id of the last message and the end, as the original writes it, and the next consumer goes on there.
func TestGroup_CloseCommits(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	f := newFeed(t, c.addr)
	f.send(20)
	a := run(t, member(t, c, "g", "a", client.WithCommitEvery(0)), nil)
	eventually(t, "a has everything", func() bool { return a.count() == 20 })
	a.end(t)
	for p, want := range f.ends {
		if got, _ := c.offset(t, "g", p); got != want {
			t.Errorf("%s: %+v, want %+v", p, got, want)
		}
	}
	later := f.send(4)
	b := run(t, member(t, c, "g", "b"), nil)
	eventually(t, "b has the rest", func() bool { return holds(later, b) })
	if b.count() != 4 {
		t.Errorf("b was given %d messages, want 4", b.count())
	}
	if owners := c.owners(t, "g"); len(owners) != 2 || owners["0-0"] != "b" {
		t.Errorf("owners %v", owners)
	}
}

// Only offsets that have changed are written: the versions of their nodes tell.
func TestGroup_CommitsOnlyWhatChanged(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	f := newFeed(t, c.addr)
	f.send(2)
	a := run(t, member(t, c, "g", "a", client.WithCommitEvery(20*time.Millisecond)), nil)
	for p, want := range f.ends {
		eventually(t, p+" is committed", func() bool { got, _ := c.offset(t, "g", p); return got == want })
	}
	for range 3 {
		r, err := f.p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.AtBroker(0, 1), Body: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the change is committed", func() bool { got, _ := c.offset(t, "g", "0-1"); return got.MessageID == r.ID })
	}
	if err := a.Commit(testContext(t)); err != nil {
		t.Error(err)
	}
	for p, want := range map[string]int32{"0-0": 0, "0-1": 3} {
		if _, version := c.offset(t, "g", p); version != want {
			t.Errorf("%s: the offset was changed %d times, want %d", p, version, want)
		}
	}
}

// While a handler is busy with a message, its partition does not go to another consumer; then it goes, with the message done.
func TestGroup_SlowHandlerDuringARebalance(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	f := newFeed(t, c.addr)
	busy, free := make(chan string), make(chan struct{})
	a := run(t, member(t, c, "g", "a"), func(m client.Received) {
		if string(m.Body) == "slow" {
			busy <- partitionOf(m)
			<-free
		}
	})
	eventually(t, "a owns both", func() bool { return len(c.owners(t, "g")) == 2 })
	send := func(body string) {
		t.Helper()
		if _, err := f.p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.AtBroker(0, 1), Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	send("slow")
	<-busy
	send("next")
	b := run(t, member(t, c, "g", "b"), nil)
	eventually(t, "b is a member", func() bool {
		ids, err := c.session.Children(testContext(t), zkcoord.DefaultRoot.Members("g"))
		return err == nil && len(ids) == 2
	})
	// Shorter than the time-out of the session, long enough for what must not happen.
	wait := time.After(500 * time.Millisecond)
	for waiting := true; waiting; {
		select {
		case <-wait:
			waiting = false
		default:
			if owner := c.owners(t, "g")["0-1"]; owner != "a" || b.count() > 0 {
				t.Fatalf("0-1 is %q's while a works on it, and b has %d messages", owner, b.count())
			}
		}
	}
	close(free)
	eventually(t, "b has the next message", func() bool { return holds([]string{"next"}, b) })
	if holds([]string{"slow"}, b) || holds([]string{"next"}, a) {
		t.Errorf("a was given %d messages and b %d, want one each", a.count(), b.count())
	}
}

// Somebody changes an offset while the group runs: the group goes on there.
func TestGroup_FollowsAnOffsetThatWasSet(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 1)
	f := newFeed(t, c.addr)
	f.send(10)
	a := run(t, member(t, c, "g", "a", client.WithCommitEvery(20*time.Millisecond)), nil)
	eventually(t, "everything is committed", func() bool { got, _ := c.offset(t, "g", "0-0"); return got == f.ends["0-0"] })
	third := a.messages()[2]
	path := zkcoord.DefaultRoot.Offset("g", "t", zkcoord.Partition{})
	if _, err := c.session.Set(testContext(t), path, zkcoord.Offset{MessageID: -1, Offset: third.Offset}.Encode(), zkcoord.AnyVersion); err != nil {
		t.Fatal(err)
	}
	f.send(1)
	eventually(t, "the group has gone on at the third message", func() bool { got, _ := c.offset(t, "g", "0-0"); return a.count() >= 11+9 && got == f.ends["0-0"] })
	if again := a.messages()[11]; again.Offset != third.Offset {
		t.Errorf("it went on at %d, want %d", again.Offset, third.Offset)
	}
}

// When ZooKeeper does not answer, a consumer stops before others may have its partitions, and goes on when it is back.
func TestGroup_StopsBeforeItsSessionEnds(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	f := newFeed(t, c.addr)
	a := run(t, member(t, c, "g", "a"), nil)
	f.send(2)
	eventually(t, "a reads", func() bool { return a.count() == 2 })
	paused := time.Now()
	c.Pause(t)
	timeout := 4 * time.Second // what this ZooKeeper grants at most, 20 ticks, when 10 s are asked for
	sent := 0
	for time.Since(paused) < timeout+500*time.Millisecond {
		f.send(1)
		sent++
	}
	a.mu.Lock()
	last, during := a.at[len(a.at)-1], len(a.at)-2
	a.mu.Unlock()
	if stopped := last.Sub(paused); stopped > timeout*3/4 || during == 0 || during == sent {
		t.Errorf("the last message was handed over %s after ZooKeeper stopped, %d of %d, want some until two thirds of %s", stopped, during, sent, timeout)
	}
	c.Resume(t)
	eventually(t, "a has everything", func() bool { return holds(f.sent, a) })
}

// ZooKeeper is set up empty: the group goes on where it was, and its offsets are there again.
func TestGroup_NoOffsetMovesWhenZooKeeperIsEmpty(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	c.broker(t, 1, 2)
	f := newFeed(t, c.addr)
	f.send(40)
	a, b := run(t, member(t, c, "g", "a"), nil), run(t, member(t, c, "g", "b"), nil)
	c.sharedBy(t, "g", "a", "b")
	eventually(t, "both have everything", func() bool { return holds(f.sent, a, b) })
	if err := errors.Join(a.Commit(testContext(t)), b.Commit(testContext(t))); err != nil {
		t.Fatal(err)
	}
	before := a.count() + b.count()
	c.Kill(t)
	c.Empty(t)
	c.Restart(t)
	for p, want := range f.ends {
		eventually(t, "the offset of "+p+" is there again", func() bool { got, version := c.offset(t, "g", p); return version >= 0 && got == want })
	}
	c.sharedBy(t, "g", "a", "b")
	later := f.send(8)
	eventually(t, "what came later is received", func() bool { return holds(later, a, b) })
	if n := a.count() + b.count() - before; n != 8 {
		t.Errorf("%d messages were given out for 8", n)
	}
}

// Members are told of what they get and give up, in an order in which no partition has two of them.
func TestGroup_TellsOfItsPartitions(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 4)
	var mu sync.Mutex
	has := map[string]string{}
	tell := func(who string) client.ConsumerOption {
		return client.WithRebalanced(func(got, gaveUp []zkcoord.TopicPartition) {
			mu.Lock()
			defer mu.Unlock()
			if len(got)+len(gaveUp) == 0 {
				t.Errorf("%s is told of nothing", who)
			}
			for _, p := range gaveUp {
				if has[p.String()] != who {
					t.Errorf("%s gave up %s, which %q has", who, p, has[p.String()])
				}
				delete(has, p.String())
			}
			for _, p := range got {
				if has[p.String()] != "" {
					t.Errorf("%s got %s, which %s has", who, p, has[p.String()])
				}
				has[p.String()] = who
			}
		})
	}
	all := func() string {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprint(has)
	}
	a := run(t, member(t, c, "g", "a", tell("a")), nil)
	eventually(t, "a is told of everything", func() bool { return all() == "map[t/0-0:a t/0-1:a t/0-2:a t/0-3:a]" })
	b := run(t, member(t, c, "g", "b", tell("b")), nil)
	eventually(t, "each is told of its half", func() bool { return all() == "map[t/0-0:a t/0-1:a t/0-2:b t/0-3:b]" })
	a.end(t)
	eventually(t, "b is told of everything", func() bool { return all() == "map[t/0-0:b t/0-1:b t/0-2:b t/0-3:b]" })
	b.end(t)
	if got := all(); got != "map[]" {
		t.Errorf("after both were closed: %s", got)
	}
}

// Who loses its partitions with the session is told so at once, also while a commit waits for a ZooKeeper that says nothing.
func TestGroup_TellsOfALostSession(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	gave := make(chan int, 16)
	a := run(t, member(t, c, "g", "a", client.WithCommitEvery(5*time.Millisecond), client.WithRebalanced(func(_, gaveUp []zkcoord.TopicPartition) { gave <- len(gaveUp) })), nil)
	f := newFeed(t, c.addr)
	f.send(2)
	eventually(t, "a reads", func() bool { return a.count() == 2 })
	if n := <-gave; n != 0 {
		t.Fatalf("%d partitions were given up", n)
	}
	c.Pause(t)
	defer c.Resume(t)
	f.send(2) // to be committed
	eventually(t, "a is told that it has lost its partitions", func() bool { return len(gave) > 0 })
	if n := <-gave; n != 2 {
		t.Errorf("it has lost %d partitions, want 2", n)
	}
}

// The offsets of a group in a cluster may lie on the brokers, each where its partition is, and in a store of the program; then ZooKeeper has none. Whoever gets a
// partition goes on there.
func TestGroup_OffsetsElsewhere(t *testing.T) {
	shared := newMemoryStore()
	for name, opt := range map[string]client.ConsumerOption{"on the brokers": client.WithBrokerOffsets(), "in a store of the program": client.WithOffsetStore(shared)} {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t)
			c.broker(t, 0, 2)
			second := c.broker(t, 1, 2)
			f := newFeed(t, c.addr)
			f.send(40)
			a := run(t, member(t, c, "g", "a", opt), nil)
			eventually(t, "a has everything", func() bool { return holds(f.sent, a) })
			b := run(t, member(t, c, "g", "b", opt), nil)
			c.sharedBy(t, "g", "a", "b")
			second.Restart() // the offsets are there yet
			f.send(40)
			eventually(t, "both have everything", func() bool { return holds(f.sent, a, b) })
			a.end(t)
			c.sharedBy(t, "g", "b")
			f.send(4)
			eventually(t, "b has the rest", func() bool { return holds(f.sent, a, b) })
			b.end(t)
			if n := a.count() + b.count(); n != len(f.sent) {
				t.Errorf("%d messages were given out for %d", n, len(f.sent))
			}
			for p := range f.ends {
				if offset, version := c.offset(t, "g", p); version >= 0 {
					t.Errorf("%s: ZooKeeper has the offset %+v", p, offset)
				}
			}
		})
	}
}

// A broker that joins the cluster, and partitions that a topic gets, are read by the group that is there already.
func TestGroup_ReadsWhatIsAdded(t *testing.T) {
	c := startCluster(t)
	first := metaqtest.Start(t, metaqtest.Set("numPartitions", "3"))
	registered := c.register(t, 0, first.Addr, 1)
	a, b := run(t, member(t, c, "g", "a"), nil), run(t, member(t, c, "g", "b"), nil)
	f := newFeed(t, c.addr)
	uses := func(place string) {
		t.Helper()
		eventually(t, place+" is used", func() bool { f.send(1); _, used := f.ends[place]; return used })
		f.send(8)
		eventually(t, "everything of "+place+" is read", func() bool { return holds(f.sent, a, b) })
	}
	uses("0-0")
	c.offer(t, registered, 3)
	uses("0-2")
	c.broker(t, 1, 1)
	uses("1-0")
	eventually(t, "each partition has one owner", func() bool {
		owners := c.owners(t, "g")
		return len(owners) == 4 && len(slices.DeleteFunc(slices.Collect(maps.Values(owners)), func(who string) bool { return who != "a" })) == 2
	})
	if n := a.count() + b.count(); n != len(f.sent) {
		t.Errorf("%d messages were given out for %d", n, len(f.sent))
	}
}

// From the latest means what comes since the consumer began, also of a broker, and of partitions, that are registered only when there is something in them; what a broker had
// before is left out.
func TestGroup_FromLatestLeavesOutNothingOfWhatIsAdded(t *testing.T) {
	for _, kind := range []struct {
		name string
		opts func(*testing.T) []client.ConsumerOption
	}{
		{"a member", func(*testing.T) []client.ConsumerOption { return nil }},
		{"broadcast", func(t *testing.T) []client.ConsumerOption {
			store, err := offsetfile.Open(filepath.Join(t.TempDir(), "offsets"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			return []client.ConsumerOption{client.WithBroadcast(), client.WithOffsetStore(store)}
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			later, there := metaqtest.Start(t), metaqtest.Start(t, metaqtest.Set("numPartitions", "2"))
			put := func(b *metaqtest.Broker, partition int32, body string) {
				t.Helper()
				conn, err := client.Dial(testContext(t), b.Addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := conn.Put(testContext(t), client.Message{Topic: "t", Partition: client.At(partition), Body: []byte(body)}); err != nil {
					t.Fatal(err)
				}
			}
			put(later, 0, "old")
			put(there, 0, "old")
			c := startCluster(t)
			registered := c.register(t, 0, there.Addr, 1)
			r := run(t, consumer(t, c.addr, "g", "t", append(kind.opts(t), client.WithStart(client.FromLatest()))...), nil)
			eventually(t, "the consumer reads", func() bool { put(there, 0, "now"); return r.count() > 0 })
			for i := range 3 {
				put(later, 0, fmt.Sprint("broker ", i))
				put(there, 1, fmt.Sprint("partition ", i))
			}
			c.offer(t, registered, 2)
			c.register(t, 1, later.Addr, 1)
			want := []string{"broker 0", "broker 1", "broker 2", "partition 0", "partition 1", "partition 2"}
			eventually(t, "everything of what was added is read", func() bool {
				var got []string
				for _, m := range r.messages() {
					if string(m.Body) != "now" {
						got = append(got, string(m.Body))
					}
				}
				slices.Sort(got)
				return slices.Equal(got, want)
			})
		})
	}
}

// A broker comes back with fewer partitions: what went is given up, committed, and nobody's; when it is there again, the group goes on where it was.
func TestGroup_APartitionThatGoesAndComesBack(t *testing.T) {
	c := startCluster(t)
	b := c.register(t, 0, metaqtest.Start(t, metaqtest.Set("numPartitions", "2")).Addr, 2)
	f := newFeed(t, c.addr)
	f.send(10)
	a := run(t, member(t, c, "g", "a", client.WithCommitEvery(0)), nil)
	eventually(t, "a has everything", func() bool { return holds(f.sent, a) })
	c.offer(t, b, 1)
	eventually(t, "0-1 is nobody's", func() bool { return maps.Equal(c.owners(t, "g"), map[string]string{"0-0": "a"}) })
	if got, _ := c.offset(t, "g", "0-1"); got != f.ends["0-1"] {
		t.Errorf("committed %+v, want %+v", got, f.ends["0-1"])
	}
	eventually(t, "the producer knows", func() bool { before := f.ends["0-1"]; f.send(2); return f.ends["0-1"] == before })
	c.offer(t, b, 2)
	eventually(t, "0-1 is used again", func() bool { before := f.ends["0-1"]; f.send(1); return f.ends["0-1"] != before })
	eventually(t, "a has everything", func() bool { return holds(f.sent, a) })
	if a.count() != len(f.sent) {
		t.Errorf("%d messages were given out for %d", a.count(), len(f.sent))
	}
}

// A topic that is named twice is one topic: the consumer counts once when its partitions are shared.
func TestGroup_ATopicThatIsNamedTwice(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	a, err := client.NewConsumer(c.addr, "g", []string{"t", "t"}, client.WithConsumerID("a"))
	if err != nil {
		t.Fatal(err)
	}
	r, f := run(t, a, nil), newFeed(t, c.addr)
	f.send(4)
	eventually(t, "it has everything", func() bool { return holds(f.sent, r) })
}
