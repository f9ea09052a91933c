package zkcoord

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/zookeeper"
)

// tree lists all nodes below a path with their data, E or P in front.
func tree(t *testing.T, s *Session, path string) (list []string) {
	t.Helper()
	data, stat, err := s.Get(within(t), path)
	must(t, err)
	kind := "P"
	if stat.Owner != 0 {
		kind = "E"
	}
	list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", kind, path, data)))
	names, err := s.Children(within(t), path)
	must(t, err)
	slices.Sort(names)
	for _, n := range names {
		list = append(list, tree(t, s, path+"/"+n)...)
	}
	return list
}

// The whole tree of a broker with two topics, as the original's brokers were seen to write it.
func TestBroker_WritesTheTreeOfTheOriginal(t *testing.T) {
	z := zookeeper.Start(t)
	s, other := connect(t, z), connect(t, z)
	b := RegisterBroker(s, DefaultRoot, BrokerInfo{ID: 0, Addr: "127.0.0.1:21870", Checksum: 3220767882}, nil)
	b.SetTopics(map[protocol.Topic]TopicOffer{"acc-order": {4, true, true}, "acc-quiet": {1, false, true}})
	must(t, b.Await(within(t)))
	want := []string{
		"P /meta", "P /meta/brokers", "P /meta/brokers/ids", "P /meta/brokers/ids/0 meta://127.0.0.1:21870",
		"E /meta/brokers/ids/0/master meta://127.0.0.1:21870", "E /meta/brokers/ids/0/master_config_checksum 3220767882",
		"P /meta/brokers/topics", "P /meta/brokers/topics-pub", "P /meta/brokers/topics-pub/acc-order", `E /meta/brokers/topics-pub/acc-order/0-m {"broker":"0-m","numParts":4}`,
		"P /meta/brokers/topics-sub", "P /meta/brokers/topics-sub/acc-order", `E /meta/brokers/topics-sub/acc-order/0-m {"broker":"0-m","numParts":4}`,
		"P /meta/brokers/topics-sub/acc-quiet", `E /meta/brokers/topics-sub/acc-quiet/0-m {"broker":"0-m","numParts":1}`,
		"P /meta/brokers/topics/acc-order", "E /meta/brokers/topics/acc-order/0-m 4", "P /meta/brokers/topics/acc-quiet", "E /meta/brokers/topics/acc-quiet/0-m 1",
	}
	if got := tree(t, other, "/meta"); !sameSet(got, want) {
		t.Errorf("the tree is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.SetTopics(map[protocol.Topic]TopicOffer{"acc-order": {4, false, true}})
	b.RemoveTopics("acc-quiet")
	must(t, b.Await(within(t)))
	for _, line := range tree(t, other, "/meta") {
		if strings.HasPrefix(line, "E") && (strings.Contains(line, "acc-quiet") || strings.Contains(line, "topics-pub")) {
			t.Errorf("%s is there yet", line)
		}
	}
	must(t, b.Withdraw(within(t)))
	for _, line := range tree(t, other, "/meta/brokers/ids") {
		if line != "P /meta/brokers/ids" {
			t.Errorf("%s is there after the broker has withdrawn", line)
		}
	}
	s.Close()
	for _, line := range tree(t, other, "/meta") {
		if strings.HasPrefix(line, "E") || strings.Contains(line, "/ids/0") {
			t.Errorf("%s is there after the end of the session", line)
		}
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// What a broker has registered can also go node by node, while the session stays.
func TestBroker_Unregister(t *testing.T) {
	z := zookeeper.Start(t)
	s, other := connect(t, z), connect(t, z)
	b := RegisterBroker(s, DefaultRoot, BrokerInfo{ID: 0, Addr: "127.0.0.1:21870"}, nil)
	b.SetTopics(map[protocol.Topic]TopicOffer{"t": {4, true, true}})
	must(t, b.Await(within(t)))
	must(t, b.Unregister(within(t)))
	for _, line := range tree(t, other, "/meta") {
		if strings.HasPrefix(line, "E") || strings.Contains(line, "/ids/0") {
			t.Errorf("%s is there after a clean stop", line)
		}
	}
}

// Producers see masters alone, consumers slaves too; both see brokers come and go, and move.
func TestDirectory_FollowsBrokers(t *testing.T) {
	z := zookeeper.Start(t)
	s, ctx := connect(t, z), within(t)
	d := NewDirectory(s, DefaultRoot)
	if list, err := d.Lookup(ctx, UsePublish, "t"); err != nil || len(list) != 0 {
		t.Errorf("a topic that nobody has: %v, %v", list, err)
	}
	pub, sub := d.Follow(UsePublish, "t"), d.Follow(UseSubscribe, "t")
	defer pub.Close()
	defer sub.Close()
	await := func(f *FollowedTopic, want ...Offer) {
		t.Helper()
		for bound := time.After(patience); ; {
			list, known, changed := f.Offers()
			if known && slices.Equal(list, want) {
				break
			}
			select {
			case <-changed:
			case <-bound:
				t.Fatalf("%v, want %v", list, want)
			}
		}
		if list, err := d.Lookup(ctx, f.use, "t"); err != nil || !slices.Equal(list, want) {
			t.Errorf("asked once: %v, %v, want %v", list, err, want)
		}
	}
	await(pub)
	start := func(id int, addr string, parts int32) (*Session, *Broker) {
		own := connect(t, z)
		b := RegisterBroker(own, DefaultRoot, BrokerInfo{ID: id, Addr: addr}, nil)
		b.SetTopics(map[protocol.Topic]TopicOffer{"t": {parts, true, true}})
		must(t, b.Await(ctx))
		return own, b
	}
	_, one := start(1, "127.0.0.1:1", 2)
	owner, zero := start(0, "127.0.0.1:2", 4)
	first, second := Offer{Master(0), 4, "127.0.0.1:2"}, Offer{Master(1), 2, "127.0.0.1:1"}
	await(pub, first, second)
	await(sub, first, second)
	slave := Replica{1, 0}
	must(t, s.Create(ctx, DefaultRoot.Replica(slave), []byte(FormatAddress("127.0.0.1:3")), Ephemeral))
	for _, use := range Uses {
		must(t, s.Create(ctx, DefaultRoot.TopicOf(use, "t", slave), TopicNode{slave.String(), 2}.Encode(), Ephemeral))
	}
	await(sub, first, Offer{Master(1), 2, "127.0.0.1:1"}, Offer{slave, 2, "127.0.0.1:3"})
	await(pub, first, second)
	zero.SetTopics(map[protocol.Topic]TopicOffer{"t": {8, true, true}})
	first.Partitions = 8
	await(pub, first, second)
	must(t, one.Unregister(ctx))
	await(pub, first)
	owner.Close() // as a crash, at the end of its session
	await(pub)
	start(0, "127.0.0.1:4", 8)
	await(pub, Offer{Master(0), 8, "127.0.0.1:4"})
}
