package interop

import (
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// register registers a broker in its stead, in a session of its own, as long as brokers do not do it themselves.
func (c *cluster) register(t *testing.T, b *node) {
	t.Helper()
	s, err := zkcoord.Connect(zkcoord.Config{Connect: c.zookeeper.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	r := zkcoord.RegisterBroker(s, zkcoord.DefaultRoot, zkcoord.BrokerInfo{ID: b.id, Addr: b.Addr}, nil)
	offers := map[protocol.Topic]zkcoord.TopicOffer{}
	for _, topic := range c.topics {
		offers[protocol.Topic(topic)] = zkcoord.TopicOffer{Partitions: partitionsABroker, Publish: true, Subscribe: true}
	}
	r.SetTopics(offers)
	if err := r.Await(soon(t)); err != nil {
		t.Fatal(err)
	}
	b.registered = s.Close
}
