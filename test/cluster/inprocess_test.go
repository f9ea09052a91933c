package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/test/zookeeper"
)

// A broker inside a test may be one of a cluster. Everything happens at once here, for the race detector: puts that make topics, questions for routes and
// statistics, reports of health.
func TestInProcess(t *testing.T) {
	z := zookeeper.Start(t)
	cluster := func(id string) []metaqtest.Option {
		return []metaqtest.Option{
			metaqtest.Set("brokerId", id), metaqtest.Set("zk.zkConnect", z.Addr), metaqtest.Set("zk.zkSessionTimeoutMs", "2000"), metaqtest.Set("zk.zkSyncTimeMs", "50"),
		}
	}
	one, two := metaqtest.Start(t, cluster("0")...), metaqtest.Start(t, cluster("1")...)
	var work sync.WaitGroup
	for i, b := range []*metaqtest.Broker{one, two, one, two} {
		c, err := client.Dial(within(t), b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		work.Go(func() {
			for n := range 100 {
				topic := fmt.Sprintf("t%d", n)
				if _, err := c.Put(within(t), client.Message{Topic: topic, Body: []byte("x")}); err != nil {
					t.Errorf("client %d: put: %v", i, err)
				}
				if _, err := c.Route(within(t), "t0"); err != nil {
					t.Errorf("client %d: route: %v", i, err)
				}
				if _, err := c.Stats(within(t), "zk"); err != nil {
					t.Errorf("client %d: stats: %v", i, err)
				}
			}
		})
	}
	work.Wait()
	s := observer(t, z)
	all := func(broker int) func() bool {
		return func() bool {
			for n := range 100 {
				if !there(t, s, fmt.Sprintf("/meta/brokers/topics-pub/t%d/%d-m", n, broker)) {
					return false
				}
			}
			return true
		}
	}
	await(t, "all topics of both are registered", func() bool { return all(0)() && all(1)() })
	one.Restart()
	if took := await(t, "all topics are registered after a restart", all(0)); took > 10*time.Second {
		t.Errorf("that took %s", took)
	}
}
