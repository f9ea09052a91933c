//go:build linux

package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/client/offsetfile"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

// consumeVariable makes a run of TestConsumerProcess a consumer of this cluster and with this id.
const consumeVariable = "CLIENT_CONSUMER_CHILD"

// TestConsumerProcess is the process that other tests kill or stop. By itself it is nothing.
func TestConsumerProcess(t *testing.T) {
	job := os.Getenv(consumeVariable)
	if job == "" {
		return
	}
	addr, id, _ := strings.Cut(job, " ")
	c, err := client.NewConsumer(addr, "g", []string{"t"}, client.WithConsumerID(id), client.WithCommitEvery(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(c.Run(context.Background(), func(_ context.Context, m client.Received) error {
		_, err := fmt.Printf("given %s\n", m.Body)
		return err
	}))
}

// consumerProcess is a consumer in a process of its own, and what it was given.
type consumerProcess struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu    sync.Mutex
	given []string
}

// consumeElsewhere starts a consumer. What it says is read until first, and goes on when more is closed.
func consumeElsewhere(t *testing.T, c *testCluster, id string, first int, more <-chan struct{}) *consumerProcess {
	t.Helper()
	p := &consumerProcess{cmd: exec.Command(os.Args[0], "-test.run=^TestConsumerProcess$"), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), consumeVariable+"="+c.addr+" "+id)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			body, ok := strings.CutPrefix(lines.Text(), "given ")
			if !ok {
				continue
			}
			p.mu.Lock()
			p.given = append(p.given, body)
			n := len(p.given)
			p.mu.Unlock()
			if n == first {
				<-more
			}
		}
	}()
	return p
}

func (p *consumerProcess) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.given)
}

func (p *consumerProcess) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	_ = p.cmd.Wait() // it was killed
}

// A consumer is killed. Others have its partitions when its session is over, and go on where it committed last: nothing is left out.
func TestGroup_AKilledConsumer(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	c.broker(t, 1, 2)
	killed := consumeElsewhere(t, c, "killed", 0, nil)
	a := run(t, member(t, c, "g", "a"), nil)
	c.sharedBy(t, "g", "a", "killed")
	f := newFeed(t, c.addr)
	f.send(200)
	eventually(t, "both read", func() bool { return killed.count() > 50 && a.count() > 50 })
	killed.kill(t)
	f.send(40)
	c.sharedBy(t, "g", "a")
	eventually(t, "everything was given to one of them", func() bool {
		return !slices.ContainsFunc(f.sent, func(body string) bool { return !slices.Contains(killed.given, body) && !holds([]string{body}, a) })
	})
	again := 0
	for _, m := range a.messages() {
		if slices.Contains(killed.given, string(m.Body)) {
			again++
		}
	}
	t.Logf("%d of %d messages came again", again, len(killed.given))
}

// A consumer's process is stopped in the middle of many messages that it has got already, and goes on when its partition is somebody else's: it looks at the clock
// before it hands over the next one.
func TestGroup_AStoppedProcessHandsOverNothingMore(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 1)
	const messages = 20_000 // one answer, and more than a pipe holds
	p := producer(t, c.addr)
	var stored sync.WaitGroup
	for i := range messages {
		stored.Add(1)
		p.SendAsync(client.Message{Topic: "t", Body: fmt.Append(nil, i)}, func(_ client.Receipt, err error) {
			if err != nil {
				t.Error(err)
			}
			stored.Done()
		})
	}
	stored.Wait()
	more := make(chan struct{})
	stopped := consumeElsewhere(t, c, "a", 10, more)
	eventually(t, "it has begun, and waits for the pipe", func() bool { return stopped.count() == 10 })
	b := run(t, member(t, c, "g", "b"), nil)
	if err := stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	close(more)
	eventually(t, "the other one has the partition and everything", func() bool { return b.count() > 0 && string(b.last().Body) == fmt.Sprint(messages-1) })
	before := stopped.count()
	if before == messages {
		t.Fatal("it was given everything before it was stopped")
	}
	if err := b.Commit(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// It joins again, and its id is the first one.
	eventually(t, "it has its partition again", func() bool { return c.owners(t, "g")["0-0"] == "a" })
	if _, err := p.Send(testContext(t), "t", []byte("last")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it reads again", func() bool {
		stopped.mu.Lock()
		defer stopped.mu.Unlock()
		return stopped.given[len(stopped.given)-1] == "last"
	})
	if n := stopped.count() - before - 1; n > 1 {
		t.Errorf("it was given %d more messages of the other one's partition, want at most what it had in its hands", n)
	}
	stopped.kill(t)
}

// A consumer's process is stopped while a partition has no offset yet, because nothing came. Its next owner has handed over what came since, and is not sent back to the
// beginning when the first one joins again.
func TestGroup_AStoppedProcessPutsNoPlaceToBeginBack(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	p := producer(t, c.addr)
	send := func(number int32, body string) {
		t.Helper()
		if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.AtBroker(0, number), Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	stopped := consumeElsewhere(t, c, "a", 0, nil)
	eventually(t, "it has both partitions", func() bool { o := c.owners(t, "g"); return o["0-0"] == "a" && o["0-1"] == "a" })
	send(0, "first")
	eventually(t, "it has committed", func() bool { o, _ := c.offset(t, "g", "0-0"); return o.Offset > 0 })
	if err := stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b := run(t, member(t, c, "g", "b", client.WithCommitEvery(0)), nil)
	eventually(t, "the other one has both", func() bool { o := c.owners(t, "g"); return o["0-0"] == "b" && o["0-1"] == "b" })
	for i := range 5 {
		send(1, fmt.Sprint(i))
	}
	eventually(t, "and what came", func() bool { return b.count() == 5 })
	if err := stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they share", func() bool { o := c.owners(t, "g"); return o["0-0"] == "a" && o["0-1"] == "b" })
	if err := b.Commit(testContext(t)); err != nil {
		t.Fatal(err)
	}
	send(1, "last")
	eventually(t, "it goes on", func() bool { return string(b.last().Body) == "last" })
	if n := b.count(); n != 6 {
		t.Errorf("it was given %d messages for 6", n)
	}
	stopped.kill(t)
}

// ZooKeeper is set up empty and one member does not come back, so that a partition is dealt to another than the one that knows how far it came.
func TestGroup_NoOffsetMovesToAnotherMemberWhenZooKeeperIsEmpty(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	c.broker(t, 1, 2)
	gone := consumeElsewhere(t, c, "a", 0, nil)
	b, d := run(t, member(t, c, "g", "b"), nil), run(t, member(t, c, "g", "d"), nil)
	c.sharedBy(t, "g", "a", "b", "d")
	f := newFeed(t, c.addr)
	f.send(40)
	eventually(t, "everything is received", func() bool { return gone.count()+b.count()+d.count() == 40 })
	if first := b.last(); partitionOf(first) != "1-0" {
		t.Fatalf("b has %s", partitionOf(first))
	}
	before := d.count()
	c.Kill(t)
	gone.kill(t)
	c.Empty(t)
	c.Restart(t)
	c.sharedBy(t, "g", "b", "d") // 1-0 is d's now
	later := f.send(8)
	eventually(t, "what came later is received", func() bool { return holds(later, b, d) })
	if n := d.count() - before; n != 4 {
		t.Errorf("d was given %d messages, want the 4 that are new", n)
	}
}

// ZooKeeper is set up empty, and a member has got a partition before the one comes back that knows how far the group is there, and does not get it again: that one puts
// its offset there, and the new owner waits for it.
func TestGroup_AMemberWithoutThePartitionRestoresItsOffset(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	c.broker(t, 1, 2)
	line := zookeeper.NewLine(t, c.Addr)
	gone := consumeElsewhere(t, c, "a", 0, nil)
	c.sharedBy(t, "g", "a")
	b := run(t, consumer(t, "zk://"+line.Addr, "g", "t", client.WithConsumerID("b")), nil)
	c.sharedBy(t, "g", "a", "b")
	d := run(t, member(t, c, "g", "d"), nil) // has never had 1-0, and does not know how far the group is there
	c.sharedBy(t, "g", "a", "b", "d")
	f := newFeed(t, c.addr)
	f.send(40)
	eventually(t, "everything is received", func() bool { return gone.count()+b.count()+d.count() == 40 })
	if owner := c.owners(t, "g")["1-0"]; owner != "b" {
		t.Fatalf("1-0 is %s's", owner)
	}
	c.Kill(t)
	line.Cut()
	gone.kill(t)
	c.Empty(t)
	c.Restart(t)
	c.sharedBy(t, "g", "d")
	if _, version := c.offset(t, "g", "1-0"); version >= 0 {
		t.Fatal("there is an offset of 1-0 before b is back")
	}
	line.Mend()
	eventually(t, "the offset of 1-0 is there again", func() bool { got, version := c.offset(t, "g", "1-0"); return version >= 0 && got == f.ends["1-0"] })
	c.sharedBy(t, "g", "b", "d")
	if owner := c.owners(t, "g")["1-0"]; owner != "d" {
		t.Fatalf("1-0 is %s's", owner)
	}
	later := f.send(8)
	eventually(t, "what came later is received", func() bool { return holds(later, b, d) })
	for _, m := range d.messages() {
		if partitionOf(m) == "1-0" && !slices.Contains(later, string(m.Body)) {
			t.Fatalf("d was given %s of 1-0, which b had had", m.Body)
		}
	}
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

// stuckStore keeps offsets, until it hangs: then it answers nobody.
type stuckStore struct {
	stuck atomic.Bool
	asked chan struct{} // room for one: it hangs, and was asked
	client.OffsetStore
}

func (s *stuckStore) Save(ctx context.Context, offsets map[client.OffsetKey]zkcoord.Offset) error {
	if !s.stuck.Load() {
		return s.OffsetStore.Save(ctx, offsets)
	}
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

// A store of offsets that hangs keeps no partition from its next owner for long, and no consumer from being closed.
func TestGroup_AStoreOfOffsetsThatHangs(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	store := func(name string) *stuckStore {
		file, err := offsetfile.Open(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return &stuckStore{OffsetStore: file, asked: make(chan struct{}, 1)}
	}
	storeOfA, storeOfB := store("a"), store("b")
	a, err := client.NewConsumer(c.addr, "g", []string{"t"}, client.WithConsumerID("a"), client.WithOffsetStore(storeOfA), client.WithCommitEvery(0))
	if err != nil {
		t.Fatal(err)
	}
	given := make(chan struct{}, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- a.Run(context.Background(), func(context.Context, client.Received) error {
			given <- struct{}{}
			return nil
		})
	}()
	newFeed(t, c.addr).send(20)
	for range 20 {
		<-given
	}
	storeOfA.stuck.Store(true)
	run(t, member(t, c, "g", "b", client.WithOffsetStore(storeOfB)), nil)
	eventually(t, "b has its share", func() bool { o := c.owners(t, "g"); return o["0-0"] == "a" && o["0-1"] == "b" })
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 12*time.Second {
		t.Errorf("close: %v after %s", err, time.Since(began))
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

// A consumer is closed while it gives a partition up, and the handler is not done with it: Close does not wait for longer than it was told to.
func TestGroup_CloseWhileAPartitionIsGivenUp(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	a, err := client.NewConsumer(c.addr, "g", []string{"t"}, client.WithConsumerID("a"))
	if err != nil {
		t.Fatal(err)
	}
	busy, done, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- a.Run(context.Background(), func(context.Context, client.Received) error {
			close(busy)
			<-done
			return nil
		})
	}()
	if _, err := producer(t, c.addr).SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.AtBroker(0, 1), Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	<-busy
	var log lockedBuffer
	run(t, member(t, c, "g", "b", client.WithConsumerLog(slog.New(slog.NewTextHandler(&log, nil)))), nil)
	eventually(t, "b waits for a", func() bool { return strings.Contains(log.String(), "g_a's yet") })
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 3*time.Second {
		t.Errorf("close: %v after %s", err, time.Since(began))
	}
	close(done)
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

// A consumer is closed a second time while the first Close waits for the handler: what the handler does is committed all the same.
func TestGroup_ASecondClose(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 1)
	f := newFeed(t, c.addr)
	f.send(1)
	a, err := client.NewConsumer(c.addr, "g", []string{"t"}, client.WithCommitEvery(0))
	if err != nil {
		t.Fatal(err)
	}
	busy, done, ended, closed := make(chan struct{}), make(chan struct{}), make(chan error, 1), make(chan error, 2)
	go func() {
		ended <- a.Run(context.Background(), func(context.Context, client.Received) error {
			close(busy)
			<-done
			return nil
		})
	}()
	<-busy
	ctx := testContext(t)
	for range 2 {
		go func() { closed <- a.Close(ctx) }()
	}
	left := 2
	select {
	case err := <-closed:
		t.Errorf("closed while a message is in hand: %v", err)
		left--
	case <-time.After(200 * time.Millisecond):
	}
	close(done)
	for range left {
		if err := <-closed; err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if got, _ := c.offset(t, "g", "0-0"); got != f.ends["0-0"] {
		t.Errorf("committed %+v, want %+v", got, f.ends["0-0"])
	}
}

// registerSlave registers a slave of broker 0 with one partition of t.
func (c *testCluster) registerSlave(t *testing.T, addr string) {
	t.Helper()
	replica := zkcoord.Replica{Broker: 0, Slave: 0}
	for path, data := range map[string][]byte{
		zkcoord.DefaultRoot.Replica(replica):                            []byte(zkcoord.FormatAddress(addr)),
		zkcoord.DefaultRoot.TopicOf(zkcoord.UseSubscribe, "t", replica): zkcoord.TopicNode{Broker: replica.String(), Partitions: 1}.Encode(),
	} {
		if err := c.session.Create(testContext(t), path, data, zkcoord.Ephemeral); err != nil {
			t.Fatal(err)
		}
	}
}

// A master that takes connections and says nothing is gone around too when a group has to ask where it begins.
func TestGroup_AStuckMasterIsGoneAroundAtTheBeginning(t *testing.T) {
	c := startCluster(t)
	stuck, slave := process.Start(t, process.Options{}), metaqtest.Start(t)
	sendAll(t, slave.Addr, "t", "one")
	c.register(t, 0, stuck.Addr, 1)
	c.registerSlave(t, slave.Addr)
	stuck.Signal(t, syscall.SIGSTOP)
	defer stuck.Signal(t, syscall.SIGCONT)
	a := run(t, member(t, c, "g", "a", client.WithStart(client.FromTime(time.Now().Add(-time.Hour)))), nil)
	eventually(t, "a has what the slave has", func() bool { return a.count() == 1 })
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
	c.registerSlave(t, slave.Addr)
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

// Broadcast consumers need ZooKeeper only to learn of brokers: they read on while it is away, and when it is set up empty and no broker has come back to it yet.
func TestBroadcast_ReadsOnWithoutZooKeeper(t *testing.T) {
	c := startCluster(t)
	brokers := []*metaqtest.Broker{metaqtest.Start(t), metaqtest.Start(t)}
	for id, b := range brokers {
		c.register(t, id, b.Addr, 1)
	}
	store, err := offsetfile.Open(filepath.Join(t.TempDir(), "offsets"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	a := run(t, consumer(t, c.addr, "g", "t", client.WithBroadcast(), client.WithOffsetStore(store)), nil)
	var sent []string
	send := func(when string) { // to the brokers themselves
		t.Helper()
		for _, b := range brokers {
			sent = append(sent, fmt.Sprint("message ", len(sent)))
			sendAll(t, b.Addr, "t", sent[len(sent)-1])
		}
		eventually(t, when+": everything is received", func() bool { return holds(sent, a) })
	}
	send("before")
	c.Kill(t)
	for began := time.Now(); time.Since(began) < 5*time.Second; { // its session has 4 s
		send("ZooKeeper is away")
	}
	c.Empty(t)
	c.session.Close() // so that nobody registers brokers again
	c.Restart(t)
	eventually(t, "the consumer looks at ZooKeeper again", func() bool { return c.Count(t, zookeeper.Watches) > 0 })
	for began := time.Now(); time.Since(began) < time.Second; {
		send("ZooKeeper is empty")
	}
	if a.count() != len(sent) {
		t.Errorf("%d messages were given out for %d", a.count(), len(sent))
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
	_, err := client.NewConsumer("zk://127.0.0.1:1", "g", []string{"t"}, client.WithBrokerOffsets(), client.WithOffsetStore(newMemoryStore()))
	if err == nil || !strings.Contains(err.Error(), "WithBrokerOffsets") {
		t.Errorf("two places for its offsets: %v", err)
	}
	if _, err := client.NewConsumer("zk://", "g", []string{"t"}); err == nil {
		t.Error("an address without a server is taken")
	}
}
