package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

// pub is a line of topics-pub or topics-sub.
func pub(use, topic string, broker, parts int) string {
	return fmt.Sprintf(`E /meta/brokers/topics-%s/%s/%d-m {"broker":"%d-m","numParts":%d}`, use, topic, broker, broker, parts)
}

// The tree of a broker is that of the original with the same configuration: an ordinary topic, one that is kept from producers, one that is kept from
// consumers, and a wildcard under its literal name.
func TestStart_WritesTheTreeOfTheOriginal(t *testing.T) {
	z := zookeeper.Start(t)
	b := start(t, z, settings{id: 3, topics: "[topic=order]\nnumPartitions=4\n[topic=nopub]\nacceptPublish=false\n[topic=nosub]\nacceptSubscribe=false\n[topic=log-*]\n"})
	awaitReady(t, b)
	c := dial(t, b)
	want := []string{
		"P /meta", "P /meta/brokers", "P /meta/brokers/ids", "P /meta/brokers/topics", "P /meta/brokers/topics-pub", "P /meta/brokers/topics-sub",
		"P /meta/brokers/ids/3 meta://" + b.Addr, "E /meta/brokers/ids/3/master meta://" + b.Addr,
		"E /meta/brokers/ids/3/master_config_checksum " + line(t, c, "", "config_checksum"),
	}
	for topic, parts := range map[string]int{"order": 4, "nopub": 1, "nosub": 1, "log-*": 1} {
		want = append(want, "P /meta/brokers/topics/"+topic, fmt.Sprintf("E /meta/brokers/topics/%s/3-m %d", topic, parts))
		if topic != "nopub" {
			want = append(want, "P /meta/brokers/topics-pub/"+topic, pub("pub", topic, 3, parts))
		}
		if topic != "nosub" {
			want = append(want, "P /meta/brokers/topics-sub/"+topic, pub("sub", topic, 3, parts))
		}
	}
	slices.Sort(want)
	if got := tree(t, observer(t, z), "/meta"); !slices.Equal(got, want) {
		t.Errorf("the tree is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for name, value := range map[string]string{"enabled": "true", "registered": "true", "session": "connected", "topics": "4", "sessions_total": "1"} {
		if got := line(t, c, "zk", name); got != value {
			t.Errorf("stats zk: %s %s, want %s", name, got, value)
		}
	}
}

// What the system section says of publishing holds for topics that do not say it themselves, those made at run time included; another root is another cluster.
func TestStart_AcceptsGlobally(t *testing.T) {
	z := zookeeper.Start(t)
	s := observer(t, z)
	b := start(t, z, settings{id: 1, system: "acceptPublish=false\nautoCreateTopics=true", topics: "[topic=a]\n[topic=b]\nacceptPublish=true\n", zkRoot: "zk.zkRoot=/other/place"})
	awaitReady(t, b)
	put(t, dial(t, b), "made")
	await(t, "the topic of the put is registered", func() bool { return there(t, s, "/other/place/brokers/topics-sub/made/1-m") })
	for path, want := range map[string]bool{"topics-pub/a": false, "topics-sub/a": true, "topics-pub/b": true, "topics-pub/made": false} {
		if got := there(t, s, "/other/place/brokers/"+path+"/1-m"); got != want {
			t.Errorf("%s is there: %v, want %v", path, got, want)
		}
	}
	if there(t, s, "/meta") {
		t.Error("something was written below /meta")
	}
}

// The first put to a topic that a wildcard admits makes it known to the cluster within a second.
func TestRunTime_TopicAppearsWithinASecond(t *testing.T) {
	z := zookeeper.Start(t)
	s := observer(t, z)
	b := start(t, z, settings{topics: "[topic=log-*]\n"})
	awaitReady(t, b)
	c := dial(t, b)
	for i := range 5 {
		topic := fmt.Sprintf("log-%d", i)
		put(t, c, topic)
		took := await(t, "the topic is registered", func() bool {
			return there(t, s, "/meta/brokers/topics-pub/"+topic+"/0-m") && there(t, s, "/meta/brokers/topics-sub/"+topic+"/0-m")
		})
		if took > time.Second {
			t.Errorf("%s was registered after %s, want a second at most", topic, took)
		}
	}
}

// Hundreds of topics that are made at once are few looks, and all of them are there soon.
func TestRunTime_ManyTopics(t *testing.T) {
	const topics = 500
	z := zookeeper.Start(t)
	b := start(t, z, settings{topics: "[topic=log-*]\n"})
	awaitReady(t, b)
	c, s := dial(t, b), observer(t, z)
	for i := range topics {
		put(t, c, fmt.Sprintf("log-%d", i))
	}
	await(t, "all topics are registered", func() bool {
		names, err := s.Children(within(t), "/meta/brokers/topics-sub")
		return err == nil && len(names) == topics+1
	})
}

// A reload registers, changes and removes topics, and tells the checksum of the new file; a topic with messages stays readable and takes no more puts.
func TestReload_ChangesTopicsAndChecksum(t *testing.T) {
	z := zookeeper.Start(t)
	s := observer(t, z)
	set := settings{topics: "[topic=stays]\n[topic=goes]\n[topic=grows]\n[topic=written]\n"}
	b := start(t, z, set)
	awaitReady(t, b)
	c := dial(t, b)
	put(t, c, "written")
	before := line(t, c, "", "config_checksum")
	set.topics = "[topic=stays]\n[topic=grows]\nnumPartitions=7\nacceptSubscribe=false\n[topic=new]\nnumPartitions=2\n"
	b.Reload(t, set.file(z))
	await(t, "the new topic is registered", func() bool { return there(t, s, "/meta/brokers/topics-sub/new/0-m") })
	await(t, "the old one is not", func() bool { return !there(t, s, "/meta/brokers/topics/goes/0-m") })
	sum := line(t, c, "", "config_checksum")
	if sum == before {
		t.Fatal("the checksum has not changed")
	}
	want := []string{
		"E /meta/brokers/ids/0/master meta://" + b.Addr, "E /meta/brokers/ids/0/master_config_checksum " + sum,
		"E /meta/brokers/topics/stays/0-m 1", pub("pub", "stays", 0, 1), pub("sub", "stays", 0, 1),
		"E /meta/brokers/topics/grows/0-m 7", pub("pub", "grows", 0, 7),
		"E /meta/brokers/topics/new/0-m 2", pub("pub", "new", 0, 2), pub("sub", "new", 0, 2),
		"E /meta/brokers/topics/written/0-m 1", pub("sub", "written", 0, 1),
	}
	slices.Sort(want)
	var got []string
	await(t, "everything is as the new file says", func() bool { got = ephemerals(t, s); return slices.Equal(got, want) })
}

// A stop takes everything away first, serves on while clients find that out, and ends then.
func TestStop_UnregistersThenServesOn(t *testing.T) {
	z := zookeeper.Start(t)
	s := observer(t, z)
	const grace = 2 * time.Second
	b := start(t, z, settings{topics: "[topic=t]\nnumPartitions=2\n", syncTime: grace})
	awaitReady(t, b)
	c := dial(t, b)
	put(t, c, "t")
	b.Signal(t, syscall.SIGTERM)
	await(t, "nothing of the broker is registered", func() bool { return len(ephemerals(t, s)) == 0 && !there(t, s, "/meta/brokers/ids/0") })
	gone := time.Now()
	put(t, c, "t")
	put(t, dial(t, b), "t")
	if ready, why := b.Health(t); ready || !strings.Contains(why, "stopping") {
		t.Errorf("ready %v, %q, want that it is stopping", ready, why)
	}
	b.Await(t)
	if served := time.Since(gone); served < grace*3/4 {
		t.Errorf("the broker ended %s after it was gone from ZooKeeper, want about %s", served, grace)
	}
}

// After kill -9 nothing but the parents is there when the session is over, and a start on the same address does not wait for that.
func TestKill_LeavesNothing(t *testing.T) {
	z := zookeeper.Start(t)
	s := observer(t, z)
	b := start(t, z, settings{topics: "[topic=t]\n"})
	awaitReady(t, b)
	b.Kill(t)
	if took := await(t, "nothing of the broker is registered", func() bool { return len(ephemerals(t, s)) == 0 }); took > 4*time.Second {
		t.Errorf("the nodes went after %s, the session has 2s", took)
	}
	b.Restart(t)
	awaitReady(t, b)
	b.Kill(t)
	b.Restart(t)
	if took := awaitReady(t, b); took > time.Second {
		t.Errorf("registered %s after the start, although the nodes that were in the way were its own", took)
	}
}

// A broker whose id somebody else has serves, says so, and takes over when the other one is gone.
func TestTakenID_WaitsAndTakesOver(t *testing.T) {
	z := zookeeper.Start(t)
	s := observer(t, z)
	first := start(t, z, settings{id: 5, topics: "[topic=t]\n"})
	awaitReady(t, first)
	second := start(t, z, settings{id: 5, topics: "[topic=t]\n[topic=mine]\n"})
	c := dial(t, second)
	put(t, c, "mine")
	const taken = "/meta/brokers/ids/5/master is taken by somebody else"
	await(t, "the reason is told", func() bool { ready, why := second.Health(t); return !ready && strings.Contains(why, taken) })
	if got := line(t, c, "zk", "problem"); !strings.Contains(got, taken) || !strings.Contains(got, first.Addr) {
		t.Errorf("stats zk: problem %q, want that the id is taken by %s", got, first.Addr)
	}
	if got := line(t, c, "zk", "registered"); got != "false" {
		t.Errorf("stats zk: registered %s", got)
	}
	if n := strings.Count(second.Log(t), taken); n == 0 || n > 5 {
		t.Errorf("the log says %d times that the id is taken, want few", n)
	}
	if there(t, s, "/meta/brokers/topics/mine/5-m") {
		t.Error("topics of the second one are registered")
	}
	if ready, why := first.Health(t); !ready {
		t.Errorf("the first one is not ready: %s", why)
	}
	first.Stop(t)
	awaitReady(t, second)
	if data, _, err := s.Get(within(t), "/meta/brokers/ids/5/master"); err != nil || string(data) != "meta://"+second.Addr {
		t.Errorf("the master is %s, %v, want %s", data, err, second.Addr)
	}
}

// Another broker has the same id and says that it is at the same address, on another machine for example: nothing is taken from it, and /readyz, stats and log tell.
func TestTakenID_AtTheSameAddress(t *testing.T) {
	const master, taken = "/meta/brokers/ids/5/master", "Two with the same id and address"
	z := zookeeper.Start(t)
	b := start(t, z, settings{id: 5})
	awaitReady(t, b)
	b.Stop(t)
	other := observer(t, z)
	if err := other.Create(within(t), master, []byte("meta://"+b.Addr), zkcoord.Ephemeral); err != nil {
		t.Fatal(err)
	}
	b.Restart(t)
	await(t, "the reason is told", func() bool { ready, why := b.Health(t); return !ready && strings.Contains(why, taken) })
	if got := line(t, dial(t, b), "zk", "problem"); !strings.Contains(got, taken) || !strings.Contains(got, b.Addr) {
		t.Errorf("stats zk: problem %q", got)
	}
	if !strings.Contains(b.Log(t), taken) {
		t.Error("the log does not tell")
	}
	status, _ := other.Status()
	if _, stat, err := other.Get(within(t), master); err != nil || stat.Owner != status.ID {
		t.Errorf("the other one's node: %+v, %v", stat, err)
	}
	other.Close()
	awaitReady(t, b)
}

// A broker that is killed and started again at once knows what its earlier process has left, and takes it for its own.
func TestKill_ComesBackAtOnce(t *testing.T) {
	z := zookeeper.Start(t)
	b := start(t, z, settings{id: 5, topics: "[topic=t]\n"})
	awaitReady(t, b)
	for range 3 {
		b.Kill(t)
		b.Restart(t)
		awaitReady(t, b)
	}
	if strings.Contains(b.Log(t), "is taken by somebody else") {
		t.Error("it took its own nodes for somebody else's")
	}
}

// Any broker answers route for all of the cluster, from what it knows when ZooKeeper is away.
func TestRoute_OverTwoBrokers(t *testing.T) {
	z := zookeeper.Start(t)
	one := start(t, z, settings{id: 0, topics: "[topic=both]\nnumPartitions=2\n[topic=one]\n[topic=hidden]\nacceptPublish=false\n"})
	two := start(t, z, settings{id: 1, topics: "[topic=both]\n[topic=two]\n[topic=hidden]\n"})
	awaitReady(t, one)
	awaitReady(t, two)
	c, d := dial(t, one), dial(t, two)
	want := func(c *client.Conn, topic string, lines ...string) {
		t.Helper()
		var got []string
		await(t, fmt.Sprintf("the route of %s is %s", topic, lines), func() bool {
			ctx, cancel := context.WithTimeout(within(t), 5*time.Second)
			defer cancel()
			list, err := c.ClusterRoute(ctx, protocol.Topic(topic))
			if err != nil {
				t.Fatal(err)
			}
			got = nil
			for _, r := range list {
				got = append(got, fmt.Sprint(r.Partition, " ", r.Master))
			}
			return slices.Equal(got, lines)
		})
	}
	want(c, "both", "0 "+one.Addr, "1 "+one.Addr, "0 "+two.Addr)
	want(d, "both", "0 "+two.Addr, "0 "+one.Addr, "1 "+one.Addr)
	want(c, "two", "0 "+two.Addr)
	want(d, "one", "0 "+one.Addr)
	want(c, "hidden", "0 "+one.Addr, "0 "+two.Addr)
	want(d, "hidden", "0 "+two.Addr) // the first one does not offer it to others
	for conn, lines := range map[*client.Conn]int{c: 2, d: 1} {
		if list, err := conn.Route(within(t), "both"); err != nil || len(list) != lines {
			t.Errorf("the part of one broker is %v, %v, want %d lines", list, err, lines)
		}
	}
	if _, err := c.ClusterRoute(within(t), "nobody"); err == nil || !strings.Contains(err.Error(), "do not accept topic nobody") {
		t.Errorf("route of a topic that nobody has: %v", err)
	}
	z.Pause(t)
	began := time.Now()
	want(c, "both", "0 "+one.Addr, "1 "+one.Addr, "0 "+two.Addr)
	want(c, "one", "0 "+one.Addr)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the answers took %s while ZooKeeper hangs", took)
	}
	z.Resume(t)
	two.Stop(t)
	want(c, "both", "0 "+one.Addr, "1 "+one.Addr)
}
