package interop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

const (
	brokerCount       = 2
	partitionsABroker = 2
	pollEvery         = 20 * time.Millisecond
)

// allPartitions are those of each topic.
var allPartitions = []string{"0-0", "0-1", "1-0", "1-1"}

// A cluster is a ZooKeeper and two brokers. What tests want to know of it they read from ZooKeeper themselves.
type cluster struct {
	zookeeper *zookeeper.Server
	session   *zkcoord.Session
	topics    []string
	brokers   []*node
}

// node is a broker of the cluster.
type node struct {
	*process.Broker
	id int
}

// startCluster runs two brokers with these topics.
func startCluster(t *testing.T, topics []string) *cluster {
	t.Helper()
	c := &cluster{zookeeper: zookeeper.Start(t), topics: topics}
	s, err := zkcoord.Connect(zkcoord.Config{Connect: c.zookeeper.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c.session = s
	for id := range brokerCount {
		c.brokers = append(c.brokers, &node{process.Start(t, process.Options{Config: c.config(id)}), id})
	}
	return c
}

func (c *cluster) config(id int) string {
	var text strings.Builder
	fmt.Fprintf(&text, "[system]\nbrokerId=%d\nhostName=127.0.0.1\nnumPartitions=%d\nmaxTransferSize=2097152\n", id, partitionsABroker)
	fmt.Fprintf(&text, "[zookeeper]\nzk.zkConnect=%s\nzk.zkSessionTimeoutMs=2000\nzk.zkSyncTimeMs=200\n", c.zookeeper.Addr)
	for _, topic := range c.topics {
		fmt.Fprintf(&text, "[topic=%s]\n", topic)
	}
	return text.String()
}

// soon is a context for one look at ZooKeeper.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// children are the names below a node, sorted. A node that is not there has none.
func (c *cluster) children(t *testing.T, path string) []string {
	t.Helper()
	names, err := c.session.Children(soon(t), path)
	if err != nil && !errors.Is(err, zkcoord.ErrNoNode) {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// data is what a node holds; "" if it is not there.
func (c *cluster) data(t *testing.T, path string) string {
	t.Helper()
	data, _, err := c.session.Get(soon(t), path)
	if err != nil && !errors.Is(err, zkcoord.ErrNoNode) {
		t.Fatal(err)
	}
	return string(data)
}

// owners is who has which partition of a topic. A partition has at most one, because the owner is a node.
func (c *cluster) owners(t *testing.T, group, topic string) map[string]string {
	t.Helper()
	g, name := protocol.Group(group), protocol.Topic(topic)
	owners := map[string]string{}
	for _, p := range c.children(t, zkcoord.DefaultRoot.Owners(g, name)) {
		partition, err := zkcoord.ParsePartition(p)
		if err != nil {
			t.Fatal(err)
		}
		owners[p] = strings.TrimPrefix(c.data(t, zkcoord.DefaultRoot.Owner(g, name, partition)), group+"_")
	}
	return owners
}

// offsets are those of a group in ZooKeeper.
func (c *cluster) offsets(t *testing.T, group, topic string) map[string]int64 {
	t.Helper()
	g, name := protocol.Group(group), protocol.Topic(topic)
	offsets := map[string]int64{}
	for _, p := range c.children(t, zkcoord.DefaultRoot.Offsets(g, name)) {
		partition, err := zkcoord.ParsePartition(p)
		if err != nil {
			t.Fatal(err)
		}
		o, err := zkcoord.ParseOffset([]byte(c.data(t, zkcoord.DefaultRoot.Offset(g, name, partition))))
		if err != nil {
			t.Fatal(err)
		}
		offsets[p] = o.Offset
	}
	return offsets
}

// eventually waits until something that has to be asked for is right.
func eventually(t *testing.T, what string, right func() bool) {
	t.Helper()
	wait.Until(t, pollEvery, patience, what, right)
}
