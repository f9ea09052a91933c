package partition

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

const (
	patience  = 40 * time.Second // bounds every wait
	pollEvery = 10 * time.Millisecond

	shortCut = time.Second     // the session outlives it
	longCut  = 3 * sessionTime // it does not, even where only its end of the connection has noticed

	// A consumer whose answers are lost notices after two thirds of the session, and ZooKeeper does one session later.
	takenOver = sessionTime*5/3 + 2*time.Second
	// backAgain is how soon after a fault everything is registered, shared and read again: TCP repeats what was lost at growing intervals.
	backAgain = sessionTime + 8*time.Second
)

// A fault is what happens to a running cluster.
type fault struct {
	name  string
	row   int // of docs/reliability.md
	lasts time.Duration
	cut   *cut // nil: something happens to a process
	what  func(c *cluster, t *testing.T) (heal func())
}

// Faults of processes.
var (
	keeperStops = fault{name: "ZooKeeper stopped", row: 31, lasts: longCut, what: func(c *cluster, t *testing.T) func() {
		c.zk.Pause(t)
		return func() { c.zk.Resume(t) }
	}}
	keeperDies = fault{name: "ZooKeeper killed", row: 15, lasts: longCut, what: func(c *cluster, t *testing.T) func() {
		c.zk.Kill(t)
		return func() { c.zk.Restart(t) }
	}}
	consumerDies = fault{name: "consumer 1 killed", row: 30, lasts: longCut, what: func(c *cluster, t *testing.T) func() {
		c.ledger.kill(t, c.members[firstConsumer])
		return func() { c.consumer(t, firstConsumer) }
	}}
)

// cuts are those of one pair of nodes, in every direction.
func cuts(a, b node) []*cut {
	return []*cut{{a, b, true, true}, {a, b, true, false}, {a, b, false, true}}
}

// faults are all there are in the long form, and some in the short one.
func faults(rng *rand.Rand) []fault {
	var list []fault
	add := func(c *cut, lasts time.Duration) {
		f := fault{row: 30, lasts: lasts, cut: c}
		switch {
		case c.a == broker:
			f.row = 14
		case c.b == keeper && lasts == longCut:
			f.row = 16
		}
		f.name = fmt.Sprintf("%s cut for %s", c, lasts)
		list = append(list, f)
	}
	consumerKeeper, brokerKeeper, consumerBroker := cuts(firstConsumer, keeper), cuts(broker, keeper), cuts(firstConsumer, broker)
	if !chaos.Long() {
		add(consumerKeeper[rng.IntN(3)], longCut)
		add(consumerBroker[rng.IntN(3)], shortCut)
		return list
	}
	for _, pair := range [][]*cut{consumerKeeper, brokerKeeper, consumerBroker} {
		for _, c := range pair {
			add(c, shortCut)
			add(c, longCut)
		}
	}
	list = append(list, keeperStops, keeperDies, consumerDies)
	list = slices.Concat(list, list)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// cluster is a broker, a ZooKeeper and two consumers, each in a name space of its own, with messages coming.
type cluster struct {
	network *network
	zk      *zookeeper.Server
	broker  *process.Broker
	session *zkcoord.Session
	conn    *client.Conn
	run     *history.Run
	writer  *writer
	ledger  *ledger
	members map[node]*member
	started int // processes of consumers

	kept  [partitions]int64 // offsets that were committed when they were looked at last
	moved int               // offsets that went back
	taken map[int]map[string][]time.Duration
}

func (c *cluster) within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// took notes how long something has taken, for the figures of a row.
func (c *cluster) took(row int, what string, d time.Duration) {
	if c.taken[row] == nil {
		c.taken[row] = map[string][]time.Duration{}
	}
	c.taken[row][what] = append(c.taken[row][what], d)
}

// await waits until something holds, and returns how long that has been from a time on.
func await(t *testing.T, from time.Time, what string, ok func() bool) time.Duration {
	t.Helper()
	wait.Until(t, pollEvery, patience, what, ok)
	return time.Since(from)
}

// Connections of a cluster are cut at work, in one direction or both, for shorter and for longer than the session, and ZooKeeper is stopped and killed. Nothing is lost, no
// consumer hands over what another one owns, no offset goes back, and everything comes back by itself.
func TestPartition(t *testing.T) {
	seed := chaos.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newNetwork(t)
	w.serves[keeper] = w.host(keeper) + ":2181"
	z := zookeeper.StartAt(t, w.serves[keeper], w.under(keeper)...)
	config := fmt.Sprintf("[system]\nbrokerId=0\nhostName=%s\n[zookeeper]\nzk.zkConnect=%s\nzk.zkSessionTimeoutMs=%d\nzk.zkConnectionTimeoutMs=1000\n[topic=%s]\nnumPartitions=%d\n",
		w.host(broker), z.Addr, sessionTime.Milliseconds(), topicName, partitions)
	b := process.Start(t, process.Options{Config: config, Under: w.under(broker)})
	w.serves[broker] = b.Addr
	c := &cluster{network: w, zk: z, broker: b, run: history.Begin(t, history.Header{Test: "partition", Seed: seed}, config), taken: map[int]map[string][]time.Duration{}, members: map[node]*member{}}
	c.ledger = &ledger{run: c.run}
	var err error
	if c.session, err = zkcoord.Connect(zkcoord.Config{Connect: z.Addr, SessionTimeout: sessionTime}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.session.Close)
	if c.conn, err = client.Dial(c.within(t), b.Addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	for n := firstConsumer; n < nodes; n++ {
		c.consumer(t, n)
	}
	c.writer = write(c.run, b.Addr)
	c.steady(t, time.Now(), "at the start")

	list := faults(rng)
	for _, f := range list {
		c.suffer(t, f)
	}
	if err := c.writer.stop(); err != nil {
		t.Errorf("nothing was between the writer and the broker: %v", err)
	}
	c.steady(t, time.Now(), "in the end")
	for _, m := range c.members {
		m.leave(t)
	}
	readAll(t, c.run, b.Addr)
	v := c.run.Finish(t)
	t.Log(v)
	c.judge(t, seed, v, len(list))
}

// consumer starts one, under an id of its own.
func (c *cluster) consumer(t *testing.T, n node) {
	t.Helper()
	who := fmt.Sprintf("c%d", n-firstConsumer+1)
	c.started++
	line := slices.Concat(c.network.under(n), []string{os.Args[0], consumerArgument, c.zk.Addr})
	c.members[n] = c.ledger.listen(t, who, fmt.Sprintf("%s.%d", who, c.started), line...)
}

// judge says what has come of all faults.
func (c *cluster) judge(t *testing.T, seed uint64, v *history.Verdict, faults int) {
	t.Helper()
	twice, outside := c.ledger.double()
	if !v.Good {
		t.Errorf("seed %d: convicted: %v", seed, v.Convicted())
	}
	if twice > 0 || outside > 0 {
		t.Errorf("partitions had two owners for %s, and %d times messages were handed over while another one had the partition", twice, outside)
	}
	if c.moved > 0 {
		t.Errorf("%d committed offsets went back", c.moved)
	}
	if least := faults * 100; v.Puts[history.OK] < least {
		t.Errorf("only %d puts over %d faults: the run proves nothing", v.Puts[history.OK], faults)
	}
	for row, whats := range c.taken {
		for what, list := range whats {
			slices.Sort(list)
			chaos.Figure(t, row, what, "p50 %s, p99 %s, max %s of %d", history.Quantile(list, 0.5), history.Quantile(list, 0.99), history.Quantile(list, 1), len(list))
		}
	}
	chaos.Figure(t, 16, "double-owned", "%s, %d messages handed over beyond the fence", twice, outside)
	chaos.Figure(t, 30, "faults", "%d", faults)
	chaos.Figure(t, 30, "acknowledged messages", "%d, %d lost, %d not handed over, %.2f %% handed over again", v.Puts[history.OK], v.Count("lost-acked"), v.Count("unseen"),
		100*float64(c.ledger.again)/float64(max(1, c.ledger.handed)))
	chaos.Figure(t, 31, "committed offsets that went back", "%d; %d commits refused because another one had the partition", c.moved, c.ledger.refused)
}

// suffer lets a fault happen, and waits until everything is as before.
func (c *cluster) suffer(t *testing.T, f fault) {
	t.Helper()
	t.Logf("%s", f.name)
	written := c.writer.written()
	c.run.Add(history.Event{Proc: "nemesis", Type: history.Invoke, F: history.Nemesis, ID: f.name})
	began := time.Now()
	over := time.After(f.lasts)
	var heal func()
	if f.cut != nil {
		c.network.begin(t, *f.cut)
		heal = func() { c.network.end(t, *f.cut) }
	} else {
		heal = f.what(c, t)
	}
	c.during(t, f, began)
	<-over
	if c.writer.written() == written {
		t.Errorf("%s: no message was acknowledged meanwhile", f.name)
	}
	heal()
	healed := time.Now()
	c.run.Add(history.Event{Proc: "nemesis", Type: history.OK, F: history.Nemesis, ID: f.name})
	if f.row == 14 || f.row == 15 || f.row == 31 {
		took := await(t, healed, f.name+": the broker is registered", func() bool { return c.registered(t) })
		c.took(f.row, "broker registered again", took)
	}
	took := c.steady(t, healed, f.name)
	c.took(f.row, "all shared and read again after the fault", took)
	if took > backAgain {
		t.Errorf("%s: all was shared and read again after %s, want %s", f.name, took, backAgain)
	}
}

// during sees to it that a fault that is longer than the session has its effect.
func (c *cluster) during(t *testing.T, f fault, began time.Time) {
	t.Helper()
	if f.lasts != longCut {
		return
	}
	switch {
	case f.row == 15 || f.row == 31: // both consumers stop by their own clocks
		await(t, began, f.name+": nobody has a partition", func() bool { return c.ledger.owners() == [partitions]string{} })
	case f.row == 14:
		await(t, began, f.name+": the broker's nodes are gone", func() bool { return !c.offered(t) })
	case f.row == 16 || f.cut == nil:
		took := await(t, began, f.name+": the other consumer has everything", func() bool {
			return !slices.ContainsFunc(owned(c), func(who string) bool { return who != "c2" })
		})
		c.took(f.row, "taken over by the other consumer", took)
		if took > takenOver {
			t.Errorf("%s: the other one had everything after %s, want %s", f.name, took, takenOver)
		}
	}
}

func owned(c *cluster) []string {
	list := c.ledger.owners()
	return list[:]
}

// offered says whether the broker's topic is there for consumers.
func (c *cluster) offered(t *testing.T) bool {
	t.Helper()
	_, _, err := c.session.Get(c.within(t), layout.TopicOf(zkcoord.UseSubscribe, topicName, zkcoord.Master(0)))
	if err != nil && !errors.Is(err, zkcoord.ErrNoNode) && !errors.Is(err, zkcoord.ErrUnknown) {
		t.Fatal(err)
	}
	return err == nil
}

// registered says whether the broker is registered, as it says itself and as others see it.
func (c *cluster) registered(t *testing.T) bool {
	t.Helper()
	text, err := c.conn.Stats(c.within(t), "zk")
	if err != nil {
		t.Fatal(err)
	}
	return statsSayRegistered(text) && c.offered(t)
}

// steady waits until the broker is registered, each consumer has half of the partitions, and all that was written before was handed over and committed. It returns
// how long that was from a time on.
func (c *cluster) steady(t *testing.T, from time.Time, when string) time.Duration {
	t.Helper()
	written := c.writer.written()
	if when == "at the start" {
		await(t, from, "puts", func() bool { written = c.writer.written(); return written[partitions-1] > 0 })
	}
	await(t, from, when+": the broker is registered", func() bool { return c.registered(t) })
	await(t, from, when+": both consumers have half of the partitions", func() bool {
		count := map[string]int{}
		for _, who := range c.ledger.owners() {
			count[who]++
		}
		return count["c1"] == partitions/2 && count["c2"] == partitions/2
	})
	took := await(t, from, when+": all that was written was handed over", func() bool { return reached(c.ledger.come(), written) })
	await(t, from, when+": and committed", func() bool { return reached(c.committed(t), written) })
	return took
}

func reached(come, want [partitions]int64) bool {
	for part := range partitions {
		if come[part] < want[part] {
			return false
		}
	}
	return true
}

// committed looks at the offsets of the group, and counts those that went back.
func (c *cluster) committed(t *testing.T) (list [partitions]int64) {
	t.Helper()
	o := zkcoord.NewOffsets(c.session, layout, groupName)
	for part := range partitions {
		at, _, err := o.Load(c.within(t), zkcoord.TopicPartition{Topic: protocol.Topic(topicName), Partition: zkcoord.Partition{Number: int32(part)}})
		if errors.Is(err, zkcoord.ErrUnknown) {
			return c.kept
		}
		if err != nil {
			t.Fatal(err)
		}
		if at.Offset < c.kept[part] {
			c.moved++
		}
		list[part] = at.Offset
	}
	c.kept = list
	return list
}
