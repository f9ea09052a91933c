//go:build linux

package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

// testCluster is a ZooKeeper in which the test registers brokers.
type testCluster struct {
	*zookeeper.Server
	addr    string // as clients take it
	session *zkcoord.Session
}

func startCluster(t *testing.T) *testCluster {
	t.Helper()
	z := zookeeper.Start(t)
	s, err := zkcoord.Connect(zkcoord.Config{Connect: z.Addr, SessionTimeout: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &testCluster{z, "zk://" + z.Addr, s}
}

// register registers a broker with partitions of the topic t.
func (c *testCluster) register(t *testing.T, id int, addr string, partitions int32) *zkcoord.Broker {
	t.Helper()
	b := zkcoord.RegisterBroker(c.session, zkcoord.DefaultRoot, zkcoord.BrokerInfo{ID: id, Addr: addr}, nil)
	c.offer(t, b, partitions)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = b.Unregister(ctx) // ZooKeeper may be gone
	})
	return b
}

func (c *testCluster) offer(t *testing.T, b *zkcoord.Broker, partitions int32) {
	t.Helper()
	b.SetTopics(map[protocol.Topic]zkcoord.TopicOffer{"t": {Partitions: partitions, Publish: true, Subscribe: true}})
	if err := b.Await(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func place(r client.Receipt) string { return fmt.Sprintf("%d-%d", r.Broker, r.Partition) }

// sendUntil sends messages one after the other until one lands at a place.
func sendUntil(t *testing.T, p *client.Producer, where string, within time.Duration) {
	t.Helper()
	for began := time.Now(); ; {
		r, err := p.Send(testContext(t), "t", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if place(r) == where {
			return
		}
		if time.Since(began) > within {
			t.Fatalf("nothing went to %s within %s", where, within)
		}
	}
}

func TestCluster_SpreadsOverAllPartitionsInTheirOrder(t *testing.T) {
	c := startCluster(t)
	c.register(t, 1, metaqtest.Start(t, metaqtest.Set("numPartitions", "2")).Addr, 2)
	c.register(t, 0, metaqtest.Start(t, metaqtest.Set("numPartitions", "3")).Addr, 3)
	p := producer(t, c.addr)
	var got []string
	for range 10 {
		r, err := p.Send(testContext(t), "t", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, place(r))
	}
	// It begins anywhere.
	if round := " 0-0 0-1 0-2 1-0 1-1"; !strings.Contains(strings.Repeat(round, 3)+" ", " "+strings.Join(got, " ")+" ") {
		t.Errorf("messages went to %v, want%s in turn", got, round)
	}
	if r, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.AtBroker(1, 1)}); err != nil || place(r) != "1-1" {
		t.Errorf("a fixed partition: %+v, %v", r, err)
	}
}

// A producer that sends one message and ends is one of many, such as `metaq put` in a script: together they use all partitions.
func TestRoundRobin_BeginsAnywhere(t *testing.T) {
	all := []client.Partition{{Broker: 0, Number: 0}, {Broker: 0, Number: 1}, {Broker: 1, Number: 0}}
	first := map[client.Partition]int{}
	for range 300 {
		selector := client.RoundRobin()
		p := selector(&client.Message{Topic: "t"}, all)
		first[p]++
		if next := selector(&client.Message{Topic: "t"}, all); next != all[(slices.Index(all, p)+1)%len(all)] {
			t.Fatalf("%s comes after %s", next, p)
		}
	}
	for _, p := range all {
		if first[p] < 50 {
			t.Errorf("%d of 300 began with %s, want about 100", first[p], p)
		}
	}
}

func TestCluster_NewBrokersAndPartitionsAreUsedWithinASecond(t *testing.T) {
	c := startCluster(t)
	set := metaqtest.Set("numPartitions", "2")
	zero := c.register(t, 0, metaqtest.Start(t, set).Addr, 1)
	p := producer(t, c.addr)
	sendUntil(t, p, "0-0", time.Second)
	c.offer(t, zero, 2)
	sendUntil(t, p, "0-1", time.Second)
	c.register(t, 1, metaqtest.Start(t, set).Addr, 1)
	sendUntil(t, p, "1-0", time.Second)
}

// A broker is registered at another address, and whoever was at the old one is there yet and takes messages: they go where consumers look for them.
func TestCluster_ABrokerThatMoves(t *testing.T) {
	c := startCluster(t)
	before, after := metaqtest.Start(t), metaqtest.Start(t)
	b := c.register(t, 0, before.Addr, 1)
	p := producer(t, c.addr)
	if _, err := p.Send(testContext(t), "t", []byte("before")); err != nil {
		t.Fatal(err)
	}
	if err := b.Unregister(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.register(t, 0, after.Addr, 1)
	r := run(t, member(t, c, "g", "a"), nil)
	eventually(t, "a message goes to the new address", func() bool {
		if _, err := p.Send(testContext(t), "t", []byte("after")); err != nil {
			t.Fatal(err)
		}
		return r.count() > 0
	})
}

func TestCluster_UnknownTopicAndBrokerSaySo(t *testing.T) {
	c := startCluster(t)
	c.register(t, 0, metaqtest.Start(t).Addr, 1)
	p := producer(t, c.addr, client.WithRetryFor(0))
	if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.AtBroker(7, 0)}); err == nil || !strings.Contains(err.Error(), "broker 7") {
		t.Errorf("a broker that is not there: %v", err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Send(ctx, "nobody", nil); err == nil || ctx.Err() == nil {
		t.Errorf("a topic that nobody has, with a context that ends first: %v", err)
	}
}

// A closed partition is refused with 403, and messages that may go anywhere go elsewhere.
func TestProducer_AClosedPartitionIsGoneAround(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", "2"))
	p := producer(t, b.Addr)
	sendUntil(t, p, "0-1", time.Second)
	conn, err := client.Dial(testContext(t), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.ClosePartitions(testContext(t), "t", 1, 1); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if r, err := p.Send(testContext(t), "t", nil); err != nil || r.Partition != 0 {
			t.Errorf("partition %d, %v", r.Partition, err)
		}
	}
	if err := conn.ClosePartitions(testContext(t), "t", 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(testContext(t), "t", nil); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("all partitions are closed: %v", err)
	}
}

// A broker whose log is poisoned answers 500 for good. Messages that may go anywhere go elsewhere; when all answer so, that is the error.
func TestCluster_ABrokerWithAnErrorIsGoneAround(t *testing.T) {
	c := startCluster(t)
	var allFail atomic.Bool
	bad := startFake(t, func(int, string) reaction { return fail })
	good := startFake(t, func(int, string) reaction {
		if allFail.Load() {
			return fail
		}
		return store
	})
	c.register(t, 0, bad.addr, 1)
	c.register(t, 1, good.addr, 1)
	p := producer(t, c.addr)
	sendUntil(t, p, "1-0", time.Second)
	for range 10 {
		if r, err := p.Send(testContext(t), "t", []byte("x")); err != nil || place(r) != "1-0" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	var status *client.StatusError
	if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.AtBroker(0, 0)}); !errors.As(err, &status) || status.Status != protocol.StatusError {
		t.Errorf("a fixed partition there: %v", err)
	}
	allFail.Store(true)
	if _, err := p.Send(testContext(t), "t", nil); !errors.As(err, &status) || status.Status != protocol.StatusError {
		t.Errorf("all brokers answer 500: %v", err)
	}
}

// keyOf finds a key whose messages go to a place.
func keyOf(t *testing.T, p *client.Producer, where string) string {
	t.Helper()
	for i := range 100 {
		m := client.Message{Topic: "t", Key: fmt.Sprint("customer ", i)}
		r, err := p.SendMessage(testContext(t), m)
		if err != nil {
			t.Fatal(err)
		}
		if place(r) == where {
			return m.Key
		}
	}
	t.Fatalf("no key of 100 goes to %s", where)
	return ""
}

func TestCluster_AKeyGoesElsewhereWhenItsBrokerIsUnregistered(t *testing.T) {
	c := startCluster(t)
	var busy atomic.Bool
	tried := make(chan struct{}, 1)
	zero := startFake(t, func(int, string) reaction {
		if !busy.Load() {
			return store
		}
		select {
		case tried <- struct{}{}:
		default:
		}
		return refuse
	})
	registered := c.register(t, 0, zero.addr, 1)
	c.register(t, 1, metaqtest.Start(t).Addr, 1)
	p := producer(t, c.addr)
	sendUntil(t, p, "0-0", time.Second)
	sendUntil(t, p, "1-0", 5*time.Second)
	key := keyOf(t, p, "0-0")

	// One waits for its broker when that goes, the other comes later.
	busy.Store(true)
	type result struct {
		place string
		err   error
	}
	waited := make(chan result, 1)
	p.SendAsync(client.Message{Topic: "t", Key: key}, func(r client.Receipt, err error) { waited <- result{place(r), err} })
	<-tried
	if err := registered.Unregister(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if r := <-waited; r.err != nil || r.place != "1-0" {
		t.Errorf("the one that waited: %+v", r)
	}
	if r, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Key: key}); err != nil || place(r) != "1-0" {
		t.Errorf("a later one: %+v, %v", r, err)
	}
}

func TestCluster_AKilledBrokerIsNotSeen(t *testing.T) {
	c := startCluster(t)
	brokers := []*process.Broker{process.Start(t, process.Options{}), process.Start(t, process.Options{})}
	for id, b := range brokers {
		c.register(t, id, b.Addr, 1)
	}
	p := producer(t, c.addr)
	const n = 4000
	var mu sync.Mutex
	acknowledged := make([]bool, n)
	killed := make(chan struct{})
	var slowest time.Duration
	var others sync.WaitGroup
	others.Go(func() { // what goes to the other broker anyway takes no longer
		for {
			began := time.Now()
			if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.AtBroker(1, 0), Body: []byte("other")}); err != nil {
				t.Error(err)
			}
			slowest = max(slowest, time.Since(began))
			select {
			case <-killed:
				return
			default:
			}
		}
	})
	for i := range n {
		if i == n/2 {
			brokers[0].Kill(t)
		}
		p.SendAsync(client.Message{Topic: "t", Body: fmt.Append(nil, i)}, func(_ client.Receipt, err error) {
			mu.Lock()
			defer mu.Unlock()
			acknowledged[i] = err == nil
			if err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		})
	}
	if _, err := p.Send(testContext(t), "t", []byte("last")); err != nil {
		t.Error(err)
	}
	close(killed)
	others.Wait()
	if slowest > time.Second {
		t.Errorf("a message for the other broker took %s", slowest)
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	brokers[0].Restart(t)
	there := map[string]bool{}
	for _, b := range brokers {
		for _, m := range everything(t, b.Addr) {
			there[m] = true
		}
	}
	for i, ok := range acknowledged {
		if ok && !there[fmt.Sprint(i)] {
			t.Errorf("message %d was acknowledged and is not there", i)
		}
	}
}

// everything reads partition 0 of the topic t.
func everything(t *testing.T, addr string) (bodies []string) {
	t.Helper()
	p := producer(t, addr)
	last, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.At(0), Body: []byte("end")})
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range consumer(t, addr, fmt.Sprintf("reader%d", last.ID), "t").Messages(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if m.ID == last.ID {
			break
		}
		if m.Partition == 0 {
			bodies = append(bodies, string(m.Body))
		}
	}
	return bodies
}

func TestCluster_AStuckBrokerIsAvoidedAndUsedAgain(t *testing.T) {
	c := startCluster(t)
	brokers := []*process.Broker{process.Start(t, process.Options{}), process.Start(t, process.Options{})}
	for id, b := range brokers {
		c.register(t, id, b.Addr, 1)
	}
	p := producer(t, c.addr, client.WithBuffer(64, 1<<20)) // less than is sent at once: the broker that works has to be waited for
	sendUntil(t, p, "0-0", time.Second)
	sendUntil(t, p, "1-0", time.Second)

	// What goes there is seen by the time that it takes until it is stored elsewhere.
	const until, from = 5 * time.Second, 2 * time.Second
	var total, stuck atomic.Int64
	var senders sync.WaitGroup
	brokers[0].Signal(t, syscall.SIGSTOP)
	stopped := time.Now()
	for range 100 {
		senders.Go(func() {
			for time.Since(stopped) < until {
				began := time.Now()
				if _, err := p.Send(testContext(t), "t", []byte("x")); err != nil {
					t.Error(err)
				}
				if began.Sub(stopped) < from {
					continue
				}
				total.Add(1)
				if time.Since(began) > 500*time.Millisecond {
					stuck.Add(1)
				}
			}
		})
	}
	senders.Wait()
	if total.Load() < 100 || stuck.Load()*20 > total.Load() {
		t.Errorf("%d of %d messages went to the stuck broker", stuck.Load(), total.Load())
	}
	t.Logf("%d of %d messages went to the stuck broker", stuck.Load(), total.Load())
	brokers[0].Signal(t, syscall.SIGCONT)
	sendUntil(t, p, "0-0", 5*time.Second)
	var places []string
	for range 4 {
		r, err := p.Send(testContext(t), "t", nil)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, place(r))
	}
	slices.Sort(places)
	if fmt.Sprint(places) != "[0-0 0-0 1-0 1-0]" {
		t.Errorf("after it was back: %v", places)
	}
}

// A selector may want what it was not offered; that is tried in its time, and no more often.
func TestProducer_AFixedSelectorAgainstABusyBroker(t *testing.T) {
	b := startFake(t, func(n int, _ string) reaction {
		if n <= 4 {
			return refuse
		}
		return store
	})
	p := producer(t, b.addr, client.WithSelector(client.Fixed(client.Partition{})))
	began := time.Now()
	if _, err := p.Send(testContext(t), "t", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("5 tries within %s", took)
	}
}

func TestCluster_ZooKeeperAway(t *testing.T) {
	c := startCluster(t)
	c.register(t, 0, metaqtest.Start(t).Addr, 1)
	c.register(t, 1, metaqtest.Start(t).Addr, 1)
	p := producer(t, c.addr)
	sendUntil(t, p, "1-0", time.Second)
	c.Kill(t)
	sendUntil(t, p, "0-0", time.Second)
	c.Empty(t)
	c.Restart(t)
	for range 50 {
		if _, err := p.Send(testContext(t), "t", nil); err != nil {
			t.Fatal(err)
		}
	}
	sendUntil(t, p, "0-0", time.Second)
	sendUntil(t, p, "1-0", 10*time.Second)
}
