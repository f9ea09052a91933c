//go:build linux

package client_test

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/client/offsettest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// connections yields one connection a broker, made anew when it broke.
type connections struct {
	mu    sync.Mutex
	addrs map[int]string
	open  map[int]*client.Conn
}

func newConnections(t testing.TB, addrs map[int]string) *connections {
	c := &connections{addrs: addrs, open: map[int]*client.Conn{}}
	t.Cleanup(func() {
		for _, conn := range c.open {
			conn.Close()
		}
	})
	return c
}

func (c *connections) to(ctx context.Context, broker int) (*client.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.open[broker]; conn != nil {
		if conn.Err() == nil {
			return conn, nil
		}
		conn.Close()
		delete(c.open, broker)
	}
	conn, err := client.Dial(ctx, c.addrs[broker])
	if err == nil {
		c.open[broker] = conn
	}
	return conn, err
}

// move makes the connections go to other addresses from now on.
func (c *connections) move(addrs map[int]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addrs = addrs
	for _, conn := range c.open {
		conn.Close()
	}
}

// startWith starts a broker that has topics with something in as many partitions each: it keeps no offsets of partitions that were never written.
func startWith(t testing.TB, partitions int, topics ...protocol.Topic) (addr string) {
	t.Helper()
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", strconv.Itoa(partitions)))
	p := producer(t, b.Addr)
	for _, topic := range topics {
		for i := range partitions {
			p.SendAsync(client.Message{Topic: string(topic), Partition: client.At(int32(i))}, func(_ client.Receipt, err error) {
				if err != nil {
					t.Errorf("%s-%d: %v", topic, i, err)
				}
			})
		}
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return b.Addr
}

func TestBrokerOffsets(t *testing.T) {
	addrs := map[int]string{}
	for broker := range offsettest.Brokers {
		addrs[broker] = startWith(t, offsettest.Partitions, offsettest.Topic, offsettest.OtherTopic)
	}
	conns := newConnections(t, addrs)
	offsettest.Run(t, offsettest.Store{
		Open: func(*testing.T) client.OffsetStore { return client.NewBrokerOffsets(conns.to) },
		Break: func(*testing.T) func() {
			conns.move(map[int]string{0: "127.0.0.1:1", 1: "127.0.0.1:1"})
			return func() { conns.move(addrs) }
		},
		ForgetsMessageIDs: true,
	})
}

func TestBrokerOffsets_OneThatIsNotKeptHoldsUpNoOther(t *testing.T) {
	conns := newConnections(t, map[int]string{0: startWith(t, 2, "t"), 1: "127.0.0.1:1"})
	store := client.NewBrokerOffsets(conns.to)
	key := func(topic protocol.Topic, broker int, number int32) client.OffsetKey {
		return client.OffsetKey{Group: "g", Topic: topic, Partition: zkcoord.Partition{Broker: broker, Number: number}}
	}
	ctx := testContext(t)
	err := store.Save(ctx, map[client.OffsetKey]zkcoord.Offset{
		key("t", 0, 0): {Offset: 10}, key("t", 0, 1): {Offset: 11}, key("t", 0, 2): {Offset: 12}, key("missing", 0, 0): {Offset: 13}, key("t", 1, 0): {Offset: 14},
	})
	if err == nil || !strings.Contains(err.Error(), "2 of 4 offsets are not kept") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
	for number, want := range []int64{10, 11} {
		if got, ok, err := store.Load(ctx, key("t", 0, int32(number))); err != nil || !ok || got.Offset != want {
			t.Errorf("partition %d: %+v, %v, %v; want %d", number, got, ok, err, want)
		}
	}
}

// A broker that reads all commits before it answers one: who waits for each answer would wait for ever.
func TestBrokerOffsets_Pipelines(t *testing.T) {
	const n = 500
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return // the test has failed before
		}
		defer conn.Close()
		lines := bufio.NewScanner(conn)
		var answers []byte
		for range n {
			lines.Scan()
			words := strings.Fields(lines.Text())
			opaque, _ := strconv.ParseInt(words[len(words)-1], 10, 32)
			answers = protocol.AppendResult(answers, protocol.StatusOK, int32(opaque), "")
		}
		conn.Write(answers)
		lines.Scan() // until the client goes
	}()
	offsets := map[client.OffsetKey]zkcoord.Offset{}
	for i := range int32(n) {
		offsets[client.OffsetKey{Group: "g", Topic: "t", Partition: zkcoord.Partition{Number: i}}] = zkcoord.Offset{Offset: int64(i)}
	}
	conns := newConnections(t, map[int]string{0: l.Addr().String()})
	if err := client.NewBrokerOffsets(conns.to).Save(testContext(t), offsets); err != nil {
		t.Fatal(err)
	}
}
