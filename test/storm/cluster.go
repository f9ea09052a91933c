package storm

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

const (
	// patience bounds every wait of a test; Storm takes a dozen seconds to start on a machine that has other things to do.
	patience  = 120 * time.Second
	pollEvery = 20 * time.Millisecond
	topic     = "orders"
	group     = "billing"
)

// A cluster is a ZooKeeper and two brokers, with two partitions of the topic each; or one broker that stands alone.
type cluster struct {
	zookeeper *zookeeper.Server // nil: the broker stands alone
	session   *zkcoord.Session
	brokers   []*process.Broker
	producer  *client.Producer
	ends      map[string]int64 // of the partitions, behind what was sent
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{zookeeper: zookeeper.Start(t), ends: map[string]int64{}}
	for id := range 2 {
		config := fmt.Sprintf("[system]\nbrokerId=%d\nhostName=127.0.0.1\nnumPartitions=2\n[zookeeper]\nzk.zkConnect=%s\n[topic=%s]\n[topic=%s.dead]\n",
			id, c.zookeeper.Addr, topic, topic)
		c.brokers = append(c.brokers, process.Start(t, process.Options{Config: config}))
	}
	var err error
	if c.session, err = zkcoord.Connect(zkcoord.Config{Connect: c.zookeeper.Addr}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.session.Close)
	c.produceTo(t)
	return c
}

func startAlone(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{ends: map[string]int64{}, brokers: []*process.Broker{process.Start(t, process.Options{Args: []string{"--set", "numPartitions=4"}})}}
	c.produceTo(t)
	return c
}

// produceTo connects what sends the messages.
func (c *cluster) produceTo(t *testing.T) {
	t.Helper()
	var err error
	if c.producer, err = client.NewProducer(c.addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.producer.Close(soon(t)) })
}

// addr is how clients name it.
func (c *cluster) addr() string {
	if c.zookeeper == nil {
		return c.brokers[0].Addr
	}
	return zkcoord.ClusterScheme + c.zookeeper.Addr
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// send stores a message.
func (c *cluster) send(t *testing.T, body string) {
	t.Helper()
	r, err := c.producer.Send(soon(t), topic, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	c.ends[fmt.Sprintf("%d-%d", r.Broker, r.Partition)] = r.Offset + int64(protocol.RecordHeader+len(body))
}

// offsets are those of the group.
func (c *cluster) offsets(t *testing.T) map[string]int64 {
	t.Helper()
	offsets := map[string]int64{}
	if c.zookeeper == nil {
		conn, err := client.Dial(soon(t), c.brokers[0].Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for n := range int32(4) {
			if offset, err := conn.Committed(soon(t), topic, group, n); err == nil {
				offsets[fmt.Sprintf("0-%d", n)] = offset
			}
		}
		return offsets
	}
	names, err := c.session.Children(soon(t), zkcoord.DefaultRoot.Offsets(group, topic))
	if err != nil && !errors.Is(err, zkcoord.ErrNoNode) {
		t.Fatal(err)
	}
	for _, name := range names {
		data, _, err := c.session.Get(soon(t), zkcoord.DefaultRoot.Offsets(group, topic)+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		o, err := zkcoord.ParseOffset(data)
		if err != nil {
			t.Fatal(err)
		}
		offsets[name] = o.Offset
	}
	return offsets
}

// stored are the bodies in a topic.
func (c *cluster) stored(t *testing.T, topic string) (bodies []string) {
	t.Helper()
	b, err := client.OpenBrowser(soon(t), c.addr(), topic)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for m, err := range b.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

// eventually waits until something that has to be asked for is right.
func eventually(t *testing.T, what string, right func() bool) {
	t.Helper()
	wait.Until(t, pollEvery, patience, what, right)
}
