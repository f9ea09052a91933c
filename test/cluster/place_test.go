package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/test/zookeeper"
)

// A ZooKeeper may hold several clusters, below a chroot and below a root of their own. Brokers, producers and consumers of one meet there, and see nothing of another.
func TestPlace_ChrootAndRoot(t *testing.T) {
	z := zookeeper.Start(t)
	s := observer(t, z)
	for _, place := range []struct{ chroot, root, top string }{
		{"", "/meta", "/meta"}, {"/app/one", "/meta", "/app/one/meta"}, {"/app/two", "/queues", "/app/two/queues"},
	} {
		b := start(t, z, settings{topics: "[topic=t]\n", zkRoot: fmt.Sprintf("zk.zkRoot=%s\n", place.root), chroot: place.chroot})
		awaitReady(t, b)
		if !there(t, s, place.top+"/brokers/topics-pub/t/0-m") {
			t.Errorf("%s: the topic is not registered", place.top)
		}
		addr := fmt.Sprintf("zk://%s%s?root=%s", z.Addr, place.chroot, place.root)
		p, err := client.NewProducer(addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Send(within(t), "t", []byte(place.top)); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		if err := p.Close(within(t)); err != nil {
			t.Error(err)
		}
		c, err := client.NewConsumer(addr, "g", []string{"t"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, done := context.WithCancel(within(t))
		err = c.Run(ctx, func(_ context.Context, m client.Received) error {
			if string(m.Body) != place.top {
				t.Errorf("%s: read %q", addr, m.Body)
			}
			done()
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		if err := c.Close(within(t)); err != nil {
			t.Error(err)
		}
		if !there(t, s, place.top+"/consumers/g/offsets/t/0-0") {
			t.Errorf("%s: the group has no offset there", place.top)
		}
	}
	names, err := s.Children(within(t), "/")
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{"app", "meta", "zookeeper"}) {
		t.Errorf("at the top there are %s, %v", strings.Join(names, " "), err)
	}
}
