package zkcoord

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/zookeeper"
)

// Many nodes are few requests, also where some are there already: left over from a process of ours, from this session with other data, or somebody else's.
func TestRegistrar_ManyNodesAreFewRequests(t *testing.T) {
	z := zookeeper.Start(t)
	s, before, other, ctx := connect(t, z), connect(t, z), connect(t, z), within(t)
	awaitStatus(t, s, "connected", is(Connected))
	const count = 3 * nodesPerRequest
	path := func(i int) string { return fmt.Sprintf("/many/t%03d/0-m", i) }
	for i := 0; i < count; i += 10 {
		must(t, before.Create(ctx, path(i), []byte("ours"), Ephemeral))
	}
	must(t, s.Create(ctx, path(1), []byte("old"), Ephemeral))
	must(t, other.Create(ctx, path(2), []byte("theirs"), Ephemeral))

	var seen states
	r := NewRegistrar(s, seen.note)
	defer r.Close()
	var list []Registration
	for i := range count {
		list = append(list, Registration{Path: path(i), Data: []byte("ours"), Kind: Ephemeral, Ours: func(data []byte, _ int64) bool { return string(data) == "ours" }})
	}
	packets := z.Count(t, zookeeper.Requests)
	r.Set(list...)
	// One that is somebody else's does not keep the others from being made, not even its neighbours.
	watch := other.WatchData(path(3))
	for n, _ := watch.Await(ctx); string(n.Data) != "ours"; n, _ = watch.Node() {
		select {
		case <-watch.Changed():
		case <-ctx.Done():
			t.Fatal("the neighbour of a node that is taken was not made")
		}
	}
	must(t, other.Delete(ctx, path(2), AnyVersion))
	must(t, r.Await(ctx))
	// Each node and each parent may be looked at once.
	if took := z.Count(t, zookeeper.Requests) - packets; took > count*5/2 {
		t.Errorf("%d requests for %d nodes", took, count)
	}
	status, _ := s.Status()
	for i := range count {
		data, stat, err := other.Get(ctx, path(i))
		if err != nil || string(data) != "ours" || stat.Owner != status.ID {
			t.Errorf("%s: %q %+v %v, want it in session %#x", path(i), data, stat, err, status.ID)
		}
	}
	packets = z.Count(t, zookeeper.Requests)
	must(t, r.Clear(ctx))
	if took := z.Count(t, zookeeper.Requests) - packets; took > count+count/10 {
		t.Errorf("%d requests to remove %d nodes", took, count)
	}
	if left := tree(t, other, "/many"); slices.ContainsFunc(left, func(line string) bool { return line[0] == 'E' }) {
		t.Errorf("left: %q", left)
	}
}

// A topic whose node somebody has closed to others keeps no other topic of the broker from being registered, and what is told names the node.
func TestBroker_ATopicThatMayNotBeWritten(t *testing.T) {
	z := zookeeper.Start(t)
	s, other, ctx := connect(t, z), connect(t, z), within(t)
	closed := DefaultRoot.Topic(UsePublish, "closed")
	must(t, other.Create(ctx, DefaultRoot.Topics(UsePublish), nil, Persistent))
	_, err := other.library().Create(closed, nil, 0, zk.WorldACL(zk.PermRead))
	must(t, err)
	var seen states
	b := RegisterBroker(s, DefaultRoot, BrokerInfo{ID: 0, Addr: "127.0.0.1:1"}, seen.note)
	defer b.close()
	b.SetTopics(map[protocol.Topic]TopicOffer{"a": {1, true, true}, "closed": {1, true, true}, "z": {1, true, true}})
	for _, topic := range []protocol.Topic{"a", "z"} {
		until(t, string(topic)+" is registered", func() bool {
			_, _, err := other.Get(ctx, DefaultRoot.TopicOf(UsePublish, topic, Master(0)))
			return err == nil
		})
	}
	until(t, "what stands in the way is told", func() bool {
		err := b.Standing()
		return err != nil && errors.Is(err, zk.ErrNoAuth) && strings.Contains(err.Error(), closed)
	})
}

// Nor does a topic that cannot be taken back keep the next one from being registered, and another one from being taken back.
func TestBroker_ATopicThatMayNotBeRemoved(t *testing.T) {
	z := zookeeper.Start(t)
	s, other, ctx := connect(t, z), connect(t, z), within(t)
	b := RegisterBroker(s, DefaultRoot, BrokerInfo{ID: 0, Addr: "127.0.0.1:1"}, nil)
	defer b.close()
	b.SetTopics(map[protocol.Topic]TopicOffer{"a": {1, true, true}, "closed": {1, true, true}})
	must(t, b.Await(ctx))
	closed := DefaultRoot.Topic(UsePublish, "closed")
	_, err := other.library().SetACL(closed, zk.WorldACL(zk.PermAll&^zk.PermDelete), -1)
	must(t, err)
	there := func(topic protocol.Topic) bool {
		_, _, err := other.Get(ctx, DefaultRoot.TopicOf(UsePublish, topic, Master(0)))
		return err == nil
	}
	b.RemoveTopics("a", "closed")
	b.SetTopics(map[protocol.Topic]TopicOffer{"next": {1, true, true}})
	until(t, "the next one is registered, and a is not", func() bool { return there("next") && !there("a") })
	if err := b.Standing(); err != nil && !errors.Is(err, zk.ErrNoAuth) || !there("closed") {
		t.Errorf("standing: %v; the closed one is there: %v", err, there("closed"))
	}
	_, err = other.library().SetACL(closed, zk.WorldACL(zk.PermAll), -1)
	must(t, err)
	must(t, b.Await(ctx))
	if there("closed") {
		t.Error("the closed one is there although it may be removed by now")
	}
}

func TestInRequests(t *testing.T) {
	long := make([]int, 2*nodesPerRequest+1)
	for _, c := range []struct {
		sizes []int
		want  []int
	}{
		{nil, nil},
		{[]int{1}, []int{1}},
		{[]int{2 * bytesPerRequest, 1}, []int{1, 1}}, // whoever is too large stands alone
		{[]int{bytesPerRequest / 2, bytesPerRequest / 2, 1}, []int{2, 1}},
		{long, []int{nodesPerRequest, nodesPerRequest, 1}},
	} {
		var got []int
		for _, chunk := range inRequests(c.sizes, func(n int) int { return n }) {
			got = append(got, len(chunk))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d items are requests of %v, want %v", len(c.sizes), got, c.want)
		}
	}
}
