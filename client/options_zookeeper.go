package client

import (
	"fmt"
	"time"

	"github.com/metaq/metaq/zkcoord"
)

// ZooKeeper is how the session with the ZooKeeper of a cluster is kept. What is zero is as the address says (zk://host:2181?sessionTimeout=30s&connectTimeout=5s), or
// the default. For a broker that stands alone it means nothing.
type ZooKeeper struct {
	// SessionTimeout is how long ZooKeeper waits for a client that says nothing before it gives what the client had to others, the partitions of a consumer
	// for example. A client that does not hear of ZooKeeper stops after two thirds of it. ZooKeeper grants 2 to 20 of its ticks, 4 s to 40 s as it
	// comes. Default: 10 s.
	SessionTimeout time.Duration
	// ConnectTimeout is how long the connection to one server of ZooKeeper may take, and then its greeting, before the next one is tried. Default: a third of SessionTimeout,
	// 5 s at most.
	ConnectTimeout time.Duration
}

// WithProducerZooKeeper says how the session of a producer is kept.
func WithProducerZooKeeper(z ZooKeeper) ProducerOption {
	return func(o *producerOptions) { o.zookeeper = z }
}

// WithConsumerZooKeeper says how the session of a consumer is kept.
func WithConsumerZooKeeper(z ZooKeeper) ConsumerOption {
	return func(o *consumerOptions) { o.zookeeper = z }
}

// over is what holds for an address.
func (z ZooKeeper) over(at zkcoord.ClusterAddress) (zkcoord.Config, error) {
	c := at.Config()
	for _, t := range []struct {
		name string
		want time.Duration
		set  *time.Duration
	}{
		{"SessionTimeout", z.SessionTimeout, &c.SessionTimeout},
		{"ConnectTimeout", z.ConnectTimeout, &c.ConnectTimeout},
	} {
		if t.want == 0 {
			continue
		}
		if err := zkcoord.CheckTimeout(t.want); err != nil {
			return c, fmt.Errorf("%s: %w", t.name, err)
		}
		*t.set = t.want
	}
	return c, nil
}
