//go:build linux

package client_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/offsetfile"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/zkcoord"
)

// consumeVariable makes a run of TestGroup_AKilledConsumer the consumer that is killed, of this cluster.
const consumeVariable = "TEST_CONSUME"

// A consumer is killed. Others have its partitions when its session is over, and go on where it committed last: nothing is left out.
func TestGroup_AKilledConsumer(t *testing.T) {
	if addr := os.Getenv(consumeVariable); addr != "" {
		c, err := client.NewConsumer(addr, "g", []string{"t"}, client.WithConsumerID("killed"), client.WithCommitEvery(50*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal(c.Run(context.Background(), func(_ context.Context, m client.Received) error {
			_, err := fmt.Printf("given %s\n", m.Body)
			return err
		}))
	}
	c := startCluster(t)
	c.broker(t, 0, 2)
	c.broker(t, 1, 2)
	cmd := exec.Command(os.Args[0], "-test.run=^TestGroup_AKilledConsumer$")
	cmd.Env = append(os.Environ(), consumeVariable+"="+c.addr)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	given := map[string]bool{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if body, ok := strings.CutPrefix(lines.Text(), "given "); ok {
				mu.Lock()
				given[body] = true
				mu.Unlock()
			}
		}
	}()
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(given)
	}
	a := run(t, member(t, c, "g", "a"), nil)
	c.sharedBy(t, "g", "a", "killed")
	f := newFeed(t, c.addr)
	f.send(200)
	eventually(t, "both read", func() bool { return count() > 50 && a.count() > 50 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	_ = cmd.Wait() // it was killed
	f.send(40)
	c.sharedBy(t, "g", "a")
	eventually(t, "everything was given to one of them", func() bool {
		return !slices.ContainsFunc(f.sent, func(body string) bool { return !given[body] && !holds([]string{body}, a) })
	})
	again := 0
	for _, m := range a.messages() {
		if given[string(m.Body)] {
			again++
		}
	}
	t.Logf("%d of %d messages came again", again, len(given))
}

// clusterConfig is the configuration of a broker of the cluster with the topic t.
func (c *testCluster) clusterConfig(id, partitions int) string {
	return fmt.Sprintf("[system]\nbrokerId=%d\nhostName=127.0.0.1\n[zookeeper]\nzk.zkConnect=%s\nzk.zkSessionTimeoutMs=2000\nzk.zkSyncTimeMs=50\n[topic=t]\nnumPartitions=%d\n",
		id, c.Addr, partitions)
}

// A broker that comes back elsewhere is followed.
func TestGroup_FollowsABrokerToAnotherAddress(t *testing.T) {
	c := startCluster(t)
	one := process.Start(t, process.Options{Config: c.clusterConfig(0, 1)})
	f := newFeed(t, c.addr)
	f.send(4)
	a := run(t, member(t, c, "g", "a"), nil)
	eventually(t, "a has everything", func() bool { return holds(f.sent, a) })
	one.Kill(t)
	two := process.Start(t, process.Options{Config: c.clusterConfig(0, 1), Data: one.Data})
	if two.Addr == one.Addr {
		t.Fatalf("both are at %s", two.Addr)
	}
	f.send(4)
	eventually(t, "a has what came later", func() bool { return holds(f.sent, a) })
	if a.count() != 8 {
		t.Errorf("%d messages were given out for 8", a.count())
	}
}

// A slave is read while there is no master, and the master again when it is back.
func TestGroup_FallsBackToASlave(t *testing.T) {
	c := startCluster(t)
	master := process.Start(t, process.Options{Config: c.clusterConfig(0, 1)})
	f := newFeed(t, c.addr)
	f.send(10)
	master.Stop(t)
	copied := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(copied, os.DirFS(master.Data)); err != nil {
		t.Fatal(err)
	}
	slave := process.Start(t, process.Options{Config: "[system]\n[topic=t]\nnumPartitions=1\n", Data: copied})
	replica := zkcoord.Replica{Broker: 0, Slave: 0}
	for path, data := range map[string][]byte{
		zkcoord.DefaultRoot.Replica(replica):                            []byte(zkcoord.FormatAddress(slave.Addr)),
		zkcoord.DefaultRoot.TopicOf(zkcoord.UseSubscribe, "t", replica): zkcoord.TopicNode{Broker: replica.String(), Partitions: 1}.Encode(),
	} {
		if err := c.session.Create(testContext(t), path, data, zkcoord.Ephemeral); err != nil {
			t.Fatal(err)
		}
	}
	a := run(t, member(t, c, "g", "a"), nil)
	eventually(t, "a has everything from the slave", func() bool { return holds(f.sent, a) })
	master.Restart(t)
	f.send(5) // which the slave never gets
	eventually(t, "a has what came later from the master", func() bool { return holds(f.sent, a) })
	// While the master is gone, but ZooKeeper does not know yet, the slave knows nothing of the end; the group must not go back to the slave's.
	master.Kill(t)
	b := run(t, consumer(t, c.addr, "other", "t"), nil)
	eventually(t, "b has what the slave has", func() bool { return holds(f.sent[:10], b) })
	master.Restart(t)
	f.send(5)
	eventually(t, "both have everything", func() bool { return holds(f.sent, a) && holds(f.sent, b) })
	if a.count() != 20 || b.count() != 20 {
		t.Errorf("a was given %d messages and b %d, want 20 each", a.count(), b.count())
	}
}

// Each broadcast consumer is given everything, also of brokers that come later, owns nothing, and goes on where its own store says.
func TestBroadcast(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	open := func(name string) (*reading, *offsetfile.Store) {
		store, err := offsetfile.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		return run(t, consumer(t, c.addr, "g", "t", client.WithBroadcast(), client.WithOffsetStore(store)), nil), store
	}
	names := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	a, storeOfA := open(names[0])
	b, _ := open(names[1])
	f := newFeed(t, c.addr)
	f.send(10)
	eventually(t, "both have everything", func() bool { return holds(f.sent, a) && holds(f.sent, b) })
	c.broker(t, 1, 1)
	eventually(t, "the new broker is used", func() bool { f.send(1); _, used := f.ends["1-0"]; return used })
	eventually(t, "both have everything of it", func() bool { return holds(f.sent, a) && holds(f.sent, b) })
	if owners := c.owners(t, "g"); len(owners) > 0 {
		t.Errorf("owners %v", owners)
	}
	if _, version := c.offset(t, "g", "0-0"); version >= 0 {
		t.Error("there is an offset in ZooKeeper")
	}
	a.end(t)
	if err := storeOfA.Close(); err != nil {
		t.Fatal(err)
	}
	later := f.send(6)
	a, _ = open(names[0])
	eventually(t, "the next one with the same file has the rest", func() bool { return holds(later, a) })
	if a.count() != len(later) {
		t.Errorf("it was given %d messages, want %d", a.count(), len(later))
	}
}

func TestNewConsumer_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		opt  client.ConsumerOption
		want string
	}{
		"a broadcast without a store": {client.WithBroadcast(), "offsetfile"},
		"an id with a slash":          {client.WithConsumerID("a/b"), `"a/b"`},
		"an id of two words":          {client.WithConsumerID("a b"), `"a b"`},
	} {
		if _, err := client.NewConsumer("zk://127.0.0.1:1", "g", []string{"t"}, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client.NewConsumer("zk://", "g", []string{"t"}); err == nil {
		t.Error("an address without a server is taken")
	}
}
