package interop

import (
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/zkcoord"
)

// registered is a broker that is registered in its stead, in a session of its own, as long as brokers do not do it themselves. From then on a
// process.Broker can take its place.
type registered struct {
	*process.Broker
	again func(t *testing.T)
	end   func()
}

func (c *cluster) start(t *testing.T, id int) *registered {
	t.Helper()
	r := &registered{Broker: process.Start(t, process.Options{Config: c.config(id)})}
	r.again = func(t *testing.T) {
		t.Helper()
		s, err := zkcoord.Connect(zkcoord.Config{Connect: c.zookeeper.Addr})
		if err != nil {
			t.Fatal(err)
		}
		r.end = s.Close
		b := zkcoord.RegisterBroker(s, zkcoord.DefaultRoot, zkcoord.BrokerInfo{ID: id, Addr: r.Addr}, nil)
		offers := map[protocol.Topic]zkcoord.TopicOffer{}
		for _, topic := range c.topics {
			offers[protocol.Topic(topic)] = zkcoord.TopicOffer{Partitions: partitionsABroker, Publish: true, Subscribe: true}
		}
		b.SetTopics(offers)
		if err := b.Await(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	r.again(t)
	t.Cleanup(func() { r.end() })
	return r
}

// Kill is that of the process, whose session ends at once.
func (r *registered) Kill(t *testing.T) {
	t.Helper()
	r.Broker.Kill(t)
	r.end()
}

// Restart is that of the process.
func (r *registered) Restart(t *testing.T) {
	t.Helper()
	r.Broker.Restart(t)
	r.again(t)
}
