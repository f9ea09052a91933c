package many

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

// Bounds of a registration, of which the machine gives a fraction: they are there to tell one request a node from many nodes a request.
const (
	registeredWithin = 60 * time.Second
	nodesPerRequest  = 20 // at least, parents included
)

// TestTopics_Registered registers very many topics in a real ZooKeeper: at the start of the broker, again after the session was lost, and after a kill, when the nodes
// of the process before are still there.
func TestTopics_Registered(t *testing.T) {
	topics := chaos.Pick(1000, 10_000)
	z := zookeeper.Start(t)
	var config strings.Builder
	fmt.Fprintf(&config, "[system]\nbrokerId=0\nhostName=127.0.0.1\n[zookeeper]\nzk.zkConnect=%s\nzk.zkSessionTimeoutMs=%d\nzk.zkConnectionTimeoutMs=2000\nzk.zkSyncTimeMs=0\n", z.Addr, chaos.Pick(2000, 4000))
	for n := range topics {
		fmt.Fprintf(&config, "[topic=topic-%05d]\n", n)
	}
	ephemerals := 3*topics + 2 // and the master, and the checksum
	figure := func(what string, took time.Duration, requests, nodes int) {
		t.Helper()
		chaos.Figure(t, 10, fmt.Sprintf("%d topics registered, %s", topics, what), "%.1f s, %d requests for %d nodes", took.Seconds(), requests, nodes)
		if requests > nodes/nodesPerRequest {
			t.Errorf("%s: %d requests, want at most one for %d nodes", what, requests, nodesPerRequest)
		}
	}

	before := z.Count(t, zookeeper.Requests)
	b := process.Start(t, process.Options{Config: config.String()})
	took := awaitRegistered(t, z, b, ephemerals)
	figure("new", took, z.Count(t, zookeeper.Requests)-before, 2*ephemerals)

	b.Signal(t, syscall.SIGSTOP)
	await(t, "ZooKeeper ends the session", func() bool { return z.Count(t, zookeeper.Ephemerals) == 0 })
	b.Signal(t, syscall.SIGCONT)
	began := time.Now()
	before = z.Count(t, zookeeper.Requests)
	awaitRegistered(t, z, b, ephemerals)
	figure("again after the session was lost", time.Since(began), z.Count(t, zookeeper.Requests)-before, ephemerals)

	s, err := zkcoord.Connect(zkcoord.Config{Connect: z.Addr})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old := ownerOf(t, s, zkcoord.DefaultRoot.Replica(zkcoord.Master(0)))
	b.Kill(t)
	b.Restart(t)
	began = time.Now()
	await(t, "the next process has made all nodes its own", func() bool { return taken(t, s, topics, old) })
	chaos.Figure(t, 10, fmt.Sprintf("%d topics registered, over the nodes of a killed process", topics), "%.1f s", time.Since(began).Seconds())
	b.Stop(t)
	await(t, "nothing is left", func() bool { return z.Count(t, zookeeper.Ephemerals) == 0 })
}

// taken says whether another session than the old one has the nodes of topics; it looks at some of them.
func taken(t *testing.T, s *zkcoord.Session, topics int, old int64) bool {
	t.Helper()
	for n := 0; n < topics; n += 97 {
		for _, use := range zkcoord.Uses {
			owner := ownerOf(t, s, zkcoord.DefaultRoot.TopicOf(use, protocol.Topic(fmt.Sprintf("topic-%05d", n)), zkcoord.Master(0)))
			if owner == old || owner == 0 {
				return false
			}
		}
	}
	return true
}

// ownerOf is the session of an ephemeral node, 0 if it is not there.
func ownerOf(t *testing.T, s *zkcoord.Session, path string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), registeredWithin)
	defer cancel()
	_, stat, err := s.Get(ctx, path)
	if err != nil && !errors.Is(err, zkcoord.ErrNoNode) {
		t.Fatal(err)
	}
	return stat.Owner
}

// awaitRegistered waits until a broker is registered with all of its topics, and tells how long that took.
func awaitRegistered(t *testing.T, z *zookeeper.Server, b *process.Broker, ephemerals int) time.Duration {
	t.Helper()
	began := time.Now()
	await(t, "everything is registered", func() bool {
		ready, _ := b.Health(t)
		return ready && z.Count(t, zookeeper.Ephemerals) == ephemerals
	})
	return time.Since(began)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	wait.Until(t, 20*time.Millisecond, registeredWithin, what, ok)
}
