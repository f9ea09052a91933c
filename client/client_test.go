//go:build linux

package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/process"
)

func TestMain(m *testing.M) {
	// The event loops of the brokers inside the tests and their pool end a moment after the engine says so.
	goleak.VerifyTestMain(withBinary{m},
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
}

// withBinary runs the tests with a place for the broker's binary.
type withBinary struct{ m *testing.M }

func (w withBinary) Run() int { return process.Main(w.m) }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func producer(t testing.TB, addr string, opts ...client.ProducerOption) *client.Producer {
	t.Helper()
	p, err := client.NewProducer(addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(testContext(t)) })
	return p
}

func consumer(t testing.TB, addr, group, topic string, opts ...client.ConsumerOption) *client.Consumer {
	t.Helper()
	c, err := client.NewConsumer(addr, group, []string{topic}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(testContext(t)) })
	return c
}

// read takes n messages, by partition.
func read(t testing.TB, c *client.Consumer, n int) map[int32][]string {
	t.Helper()
	got := map[int32][]string{}
	for m, err := range c.Messages(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		got[m.Partition] = append(got[m.Partition], string(m.Body))
		if n--; n == 0 {
			break
		}
	}
	if n > 0 {
		t.Fatalf("%d messages did not come", n)
	}
	return got
}

func TestSendAndReceive(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", "3"))
	p := producer(t, b.Addr)
	want := map[int32][]string{}
	for i := range 300 {
		body := fmt.Sprint("message ", i)
		r, err := p.Send(testContext(t), "orders", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		want[r.Partition] = append(want[r.Partition], body)
	}
	for partition, list := range want {
		if len(list) != 100 {
			t.Errorf("partition %d has %d messages, want 100", partition, len(list))
		}
	}
	got := read(t, consumer(t, b.Addr, "g", "orders"), 300)
	for partition, list := range want {
		if fmt.Sprint(got[partition]) != fmt.Sprint(list) {
			t.Errorf("partition %d: %v, want %v", partition, got[partition], list)
		}
	}
}

func TestSendMessage_KeyPartitionAttribute(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", "4"))
	p := producer(t, b.Addr)
	ctx := testContext(t)
	first, err := p.SendMessage(ctx, client.Message{Topic: "t", Key: "customer 7", Body: []byte("a")})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if r, err := p.SendMessage(ctx, client.Message{Topic: "t", Key: "customer 7", Body: []byte("b")}); err != nil || r.Partition != first.Partition {
			t.Fatalf("a key went to partition %d and to %d, %v", first.Partition, r.Partition, err)
		}
	}
	r, err := p.SendMessage(ctx, client.Message{Topic: "u", Partition: client.At(2), Attribute: "red", Body: []byte("c")})
	if err != nil || r.Partition != 2 {
		t.Fatal(r, err)
	}
	for m, err := range consumer(t, b.Addr, "g", "u").Messages(ctx) {
		if err != nil || m.Attribute != "red" || string(m.Body) != "c" || m.Partition != 2 || m.ID != r.ID || m.Offset != r.Offset {
			t.Fatalf("%+v, %v", m, err)
		}
		break
	}
}

func TestSendAsync_EveryCallbackOnceAndInOrderOverARestart(t *testing.T) {
	b := metaqtest.Start(t)
	p := producer(t, b.Addr, client.WithWindow(64))
	const n = 5000
	var mu sync.Mutex
	calls := map[int]int{}
	restarted := make(chan struct{})
	for i := range n {
		p.SendAsync(client.Message{Topic: "t", Body: []byte(fmt.Sprint(i))}, func(_ client.Receipt, err error) {
			mu.Lock()
			defer mu.Unlock()
			calls[i]++
			if err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		})
		if i == n/2 {
			go func() { b.Restart(); close(restarted) }()
		}
	}
	<-restarted
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if calls[i] != 1 {
			t.Fatalf("%d callbacks for message %d", calls[i], i)
		}
	}
	// Duplicates are allowed around the restart, but each message comes for the first time in order.
	next, duplicates := 0, 0
	for m, err := range consumer(t, b.Addr, "g", "t").Messages(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		var i int
		fmt.Sscan(string(m.Body), &i)
		if i > next {
			t.Fatalf("message %d comes before %d", i, next)
		}
		if i < next {
			duplicates++
			continue
		}
		if next++; next == n {
			break
		}
	}
	if next != n {
		t.Fatalf("only %d of %d messages", next, n)
	}
	t.Logf("%d duplicates", duplicates)
}

func TestSend_Errors(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("maxMessageSize", "2048"))
	p := producer(t, b.Addr)
	ctx := testContext(t)
	if _, err := p.Send(ctx, "../etc", nil); err == nil || !strings.Contains(err.Error(), "topic") {
		t.Errorf("a bad topic: %v", err)
	}
	_, err := p.SendMessage(ctx, client.Message{Topic: "t", Partition: client.At(7), Body: []byte("x")})
	var status *client.StatusError
	if !errors.As(err, &status) || !strings.Contains(err.Error(), "wrong partition 7") || client.Retriable(err) {
		t.Errorf("a partition that is not there: %v", err)
	}
	none := producer(t, "127.0.0.1:1", client.WithRetryFor(50*time.Millisecond))
	if _, err := none.Send(ctx, "t", []byte("x")); err == nil || !client.Retriable(err) {
		t.Errorf("no broker: %v", err)
	}
	small := producer(t, b.Addr, client.WithBuffer(10, 100))
	if _, err := small.Send(ctx, "t", make([]byte, 101)); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("larger than the buffer: %v", err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(ctx, "t", nil); !errors.Is(err, client.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestConsumer_GroupGoesOnWhereItCommitted(t *testing.T) {
	b := metaqtest.Start(t)
	p := producer(t, b.Addr)
	ctx := testContext(t)
	for i := range 10 {
		if _, err := p.Send(ctx, "t", []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	c := consumer(t, b.Addr, "g", "t")
	read(t, c, 4) // the fourth is not done: the next one was not asked for
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	b.Restart()
	if got := read(t, consumer(t, b.Addr, "g", "t"), 7); fmt.Sprint(got[0]) != "[3 4 5 6 7 8 9]" {
		t.Errorf("the group went on with %v", got)
	}
	if got := read(t, consumer(t, b.Addr, "other", "t"), 10); len(got[0]) != 10 {
		t.Errorf("another group: %v", got)
	}
}

func TestConsumer_Starts(t *testing.T) {
	b := metaqtest.Start(t)
	p := producer(t, b.Addr)
	ctx := testContext(t)
	var receipts []client.Receipt
	var between time.Time
	for i := range 6 {
		if i == 3 {
			// Times have milliseconds: the next message must get a later one.
			for between = time.Now().Add(2 * time.Millisecond); !time.Now().After(between.Add(time.Millisecond)); {
				if _, err := p.Send(ctx, "clock", nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		r, err := p.Send(ctx, "t", []byte(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	for _, c := range []struct {
		name  string
		start client.Start
		want  string
	}{
		{"earliest", client.FromEarliest(), "[0 1 2 3 4 5]"}, {"offset", client.FromOffset(receipts[2].Offset), "[2 3 4 5]"},
		{"inside", client.FromOffset(receipts[2].Offset + 1), "[2 3 4 5]"}, {"time", client.FromTime(between), "[3 4 5]"},
	} {
		n := len(strings.Fields(c.want))
		if got := read(t, consumer(t, b.Addr, c.name, "t", client.WithStart(c.start)), n); fmt.Sprint(got[0]) != c.want {
			t.Errorf("%s: %v, want %s", c.name, got[0], c.want)
		}
	}
	// From the latest: nothing of the old ones, everything that comes.
	latest := consumer(t, b.Addr, "latest", "t", client.WithStart(client.FromLatest()))
	got := make(chan string)
	go latest.Run(ctx, func(_ context.Context, m client.Received) error { got <- string(m.Body); return nil })
	for i := 0; ; i++ {
		if _, err := p.Send(ctx, "t", []byte("new")); err != nil {
			t.Fatal(err)
		}
		select {
		case body := <-got:
			if body != "new" {
				t.Fatalf("got %q", body)
			}
			return
		case <-time.After(20 * time.Millisecond): // it may not have begun yet
		}
	}
}

func TestConsumer_MessageLargerThanTheFetchSize(t *testing.T) {
	b := metaqtest.Start(t)
	large := strings.Repeat("x", 2<<20)
	p := producer(t, b.Addr)
	for _, body := range []string{"small", large, "after"} {
		if _, err := p.Send(testContext(t), "t", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	got := read(t, consumer(t, b.Addr, "g", "t", client.WithFetchSize(100)), 3)[0]
	if got[0] != "small" || got[1] != large || got[2] != "after" {
		t.Errorf("%d messages of %d, %d, %d bytes", len(got), len(got[0]), len(got[1]), len(got[2]))
	}
}

func TestRun_HandlerErrorKeepsTheMessage(t *testing.T) {
	b := metaqtest.Start(t)
	p := producer(t, b.Addr)
	for _, body := range []string{"a", "b", "c"} {
		if _, err := p.Send(testContext(t), "t", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	c := consumer(t, b.Addr, "g", "t")
	bad := errors.New("bad")
	err := c.Run(testContext(t), func(_ context.Context, m client.Received) error {
		if string(m.Body) == "b" {
			return bad
		}
		return nil
	})
	if !errors.Is(err, bad) {
		t.Fatal(err)
	}
	if got := read(t, c, 2); fmt.Sprint(got[0]) != "[b c]" {
		t.Errorf("after the error: %v", got)
	}
}

func TestConn_Commands(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", "2"))
	ctx := testContext(t)
	conn, err := client.Dial(ctx, b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Put(ctx, client.Message{Topic: "t", Partition: client.At(1), Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if topics, err := conn.Topics(ctx); err != nil || len(topics) != 1 || topics[0] != (client.TopicInfo{Name: "t", Partitions: 2, Messages: 1, Bytes: 21}) {
		t.Errorf("topics %+v, %v", topics, err)
	}
	if routes, err := conn.Route(ctx, "t"); err != nil || len(routes) != 2 || routes[1].Partition != 1 || routes[1].Master != b.Addr {
		t.Errorf("route %+v, %v", routes, err)
	}
	if err := conn.ClosePartitions(ctx, "t", 1, 1); err != nil {
		t.Error(err)
	}
	var status *client.StatusError
	if _, err := conn.Get(ctx, "t", "g", 1, 0, 100, -1); !errors.As(err, &status) || status.Status != protocol.StatusForbidden {
		t.Errorf("get of a closed partition: %v", err)
	}
	if err := conn.OpenPartitions(ctx, "t", 1, 1); err != nil {
		t.Error(err)
	}
	if data, err := conn.Get(ctx, "t", "g", 1, 0, 100, -1); err != nil || len(data) != 21 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if text, err := conn.Stats(ctx, "features"); err != nil || !strings.Contains(text, "longpoll") {
		t.Errorf("features %q, %v", text, err)
	}
}

// A program that recovers from a panic of its own in the iteration gets the message again, and can close the consumer.
func TestMessages_APanicLeavesTheMessage(t *testing.T) {
	b := metaqtest.Start(t)
	sendAll(t, b.Addr, "t", "one", "two")
	c := consumer(t, b.Addr, "g", "t")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		for range c.Messages(testContext(t)) {
			panic("handler")
		}
	}()
	if got := fmt.Sprint(read(t, c, 2)[0]); got != "[one two]" {
		t.Errorf("then came %s", got)
	}
	if err := c.Close(testContext(t)); err != nil {
		t.Error(err)
	}
}
