package cluster

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/zookeeper"
)

// putting puts without a break until stop is called, which says how many puts there were and fails the test if one failed.
func putting(t *testing.T, b *process.Broker, topic string) (puts *atomic.Int64, stop func()) {
	t.Helper()
	c := dial(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	puts = &atomic.Int64{}
	go func() {
		for ctx.Err() == nil {
			bounded, end := context.WithTimeout(context.Background(), 5*time.Second)
			_, err := c.Put(bounded, client.Message{Topic: topic, Body: []byte("x")})
			end()
			if err != nil {
				failed <- err
				return
			}
			puts.Add(1)
		}
		close(failed)
	}()
	return puts, func() {
		t.Helper()
		cancel()
		if err := <-failed; err != nil {
			t.Errorf("a put failed after %d: %v", puts.Load(), err)
		}
	}
}

// more waits for puts to go on.
func more(t *testing.T, puts *atomic.Int64) {
	t.Helper()
	seen := puts.Load()
	await(t, "puts go on", func() bool { return puts.Load() > seen+10 })
}

// A broker does not need ZooKeeper to start, and registers when it comes.
func TestAway_AtTheStart(t *testing.T) {
	z := zookeeper.Start(t)
	z.Kill(t)
	b := start(t, z, settings{topics: "[topic=t]\n"})
	c := dial(t, b)
	put(t, c, "t")
	if ready, why := b.Health(t); ready || !strings.Contains(why, "does not answer") {
		t.Errorf("ready %v, %q, want that ZooKeeper does not answer", ready, why)
	}
	if list, err := c.Route(within(t), "t"); err != nil || len(list) != 1 || list[0].Master != b.Addr {
		t.Errorf("route %v, %v, want the broker's own", list, err)
	}
	z.Restart(t)
	awaitReady(t, b)
	if !there(t, observer(t, z), "/meta/brokers/topics-pub/t/0-m") {
		t.Error("the topic is not registered")
	}
}

// Clients go on while ZooKeeper is away, and the broker is back by itself: after a restart, after one without anything, and after a pause that cost the session.
func TestAway_ComesBack(t *testing.T) {
	for name, outage := range map[string]func(*testing.T, *zookeeper.Server, func(string)){
		"restarted": func(t *testing.T, z *zookeeper.Server, during func(string)) {
			z.Kill(t)
			during("")
			z.Restart(t)
		},
		"restarted after the session": func(t *testing.T, z *zookeeper.Server, during func(string)) {
			z.Kill(t)
			during("does not answer")
			z.Restart(t)
		},
		"restarted empty": func(t *testing.T, z *zookeeper.Server, during func(string)) {
			z.Kill(t)
			z.Empty(t)
			during("does not answer")
			z.Restart(t)
		},
		"paused beyond the session": func(t *testing.T, z *zookeeper.Server, during func(string)) {
			z.Pause(t)
			during("does not answer")
			z.Resume(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			z := zookeeper.Start(t)
			b := start(t, z, settings{topics: "[topic=t]\nnumPartitions=2\n[topic=log-*]\n"})
			awaitReady(t, b)
			before := ephemerals(t, observer(t, z))
			puts, stop := putting(t, b, "t")
			more(t, puts)
			outage(t, z, func(reason string) {
				await(t, "the broker says: "+reason, func() bool { _, why := b.Health(t); return strings.Contains(why, reason) })
				more(t, puts)
			})
			s := observer(t, z)
			await(t, "everything is registered again", func() bool { return slices.Equal(ephemerals(t, s), before) })
			awaitReady(t, b)
			more(t, puts)
			stop()
			put(t, dial(t, b), "log-after")
			await(t, "a topic made afterwards is registered", func() bool { return there(t, s, "/meta/brokers/topics-pub/log-after/0-m") })
		})
	}
}

// A stop does not hang when ZooKeeper does.
func TestAway_AtTheStop(t *testing.T) {
	for name, hide := range map[string]func(*zookeeper.Server, *testing.T){
		"gone":    func(z *zookeeper.Server, t *testing.T) { z.Kill(t) },
		"hanging": func(z *zookeeper.Server, t *testing.T) { z.Pause(t) },
	} {
		t.Run(name, func(t *testing.T) {
			z := zookeeper.Start(t)
			b := start(t, z, settings{topics: "[topic=t]\n", syncTime: 20 * time.Second})
			awaitReady(t, b)
			hide(z, t)
			began := time.Now()
			b.Stop(t)
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("the stop took %s", took)
			}
		})
	}
}
