//go:build linux

package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
)

// fakeBroker answers puts as a test wants, and remembers what it has stored, in order.
type fakeBroker struct {
	addr   string
	answer func(n int, body string) reaction // n counts puts over all connections, from 1

	mu     sync.Mutex
	route  func(topic string) (protocol.Status, string) // what it says of partitions
	puts   int
	stored []string
	chosen []int32 // the partitions of what is stored, as they were asked for
}

// reaction is what the fake does with a put.
type reaction int

const (
	store    reaction = iota // and answer 200
	refuse                   // answer 503
	storeCut                 // store, and break the connection instead of answering
	garbage                  // answer what no broker says
	fail                     // answer 500
)

func startFake(t *testing.T, answer func(n int, body string) reaction) *fakeBroker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{addr: l.Addr().String(), answer: answer}
	b.route = b.onePartition
	var conns sync.WaitGroup
	conns.Add(1)
	go func() {
		defer conns.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conns.Done()
				defer c.Close()
				b.serve(c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return b
}

func (b *fakeBroker) serve(c net.Conn) {
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		in = append(in, buf[:n]...)
		for {
			var r protocol.Request
			n, err := protocol.Limits{Line: 4096, Body: 1 << 20}.Parse(in, &r)
			if n == 0 || err != nil {
				break
			}
			out, ok := b.handle(&r)
			in = in[n:]
			if _, err := c.Write(out); err != nil || !ok {
				return
			}
		}
	}
}

func (b *fakeBroker) handle(r *protocol.Request) (out []byte, ok bool) {
	switch r.Verb {
	case protocol.VerbRoute:
		b.mu.Lock()
		route := b.route
		b.mu.Unlock()
		status, text := route(string(r.Topic))
		return protocol.AppendResult(nil, status, r.Opaque, text), true
	case protocol.VerbPut:
	default:
		return protocol.AppendResult(nil, protocol.StatusNotFound, r.Opaque, "nothing"), true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.puts++
	what := b.answer(b.puts, string(r.Body))
	if what == store || what == storeCut {
		b.stored = append(b.stored, string(r.Body))
		b.chosen = append(b.chosen, r.Partition)
	}
	switch what {
	case refuse:
		return protocol.AppendResult(nil, protocol.StatusUnavailable, r.Opaque, "busy"), true
	case fail:
		return protocol.AppendResult(nil, protocol.StatusError, r.Opaque, "the log is poisoned"), true
	case storeCut:
		return nil, false
	case garbage:
		return []byte("HTTP/1.1 400 Bad Request\r\n"), true
	}
	return protocol.AppendPutResult(nil, r.Opaque, int64(b.puts), 0, 0), true
}

// onePartition is what a broker with one partition says of it.
func (b *fakeBroker) onePartition(string) (protocol.Status, string) {
	return protocol.StatusOK, "0 " + b.addr + "\r\n"
}

// says makes it answer route with something else.
func (b *fakeBroker) says(route func(topic string) (protocol.Status, string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.route = route
}

func (b *fakeBroker) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.stored...)
}

// A broker that does not tell its partitions may choose one for a message that can go anywhere, but not for one of a key: the next one would go elsewhere.
func TestProducer_AKeyWaitsForThePartitionsToBeKnown(t *testing.T) {
	b := startFake(t, func(int, string) reaction { return store })
	b.says(func(string) (protocol.Status, string) { return protocol.StatusError, "no such topic yet" })
	p := producer(t, b.addr)
	ctx := testContext(t)
	keyed := client.Message{Topic: "t", Key: "k", Body: []byte("keyed")}
	_, err := p.SendMessage(ctx, keyed)
	var status *client.StatusError
	if !errors.As(err, &status) || status.Status != protocol.StatusError || !strings.Contains(err.Error(), "the partitions of t are not known") {
		t.Errorf("a message of a key while the partitions are not known: %v", err)
	}
	if _, err := p.Send(ctx, "t", []byte("free")); err != nil {
		t.Errorf("a message that may go anywhere: %v", err)
	}
	fixed := producer(t, b.addr, client.WithSelector(client.Fixed(client.Partition{})))
	if _, err := fixed.Send(ctx, "t", []byte("fixed")); !errors.As(err, &status) {
		t.Errorf("a message for one partition: %v", err)
	}
	b.says(func(string) (protocol.Status, string) { return protocol.StatusOK, "" })
	if _, err := p.SendMessage(ctx, keyed); !errors.As(err, &status) || status.Status != protocol.StatusForbidden {
		t.Errorf("a message of a key while all partitions are closed: %v", err)
	}
	b.says(b.onePartition)
	if _, err := p.SendMessage(ctx, keyed); err != nil {
		t.Error(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if fmt.Sprint(b.stored, b.chosen) != "[free keyed] [-1 0]" {
		t.Errorf("stored %v in %v", b.stored, b.chosen)
	}
}

// While messages of a key wait for an answer to route, those of other topics behind them do not fail with them.
func TestProducer_ATopicThatIsRefusedFailsAlone(t *testing.T) {
	b := startFake(t, func(int, string) reaction { return store })
	asked, answer := make(chan struct{}), make(chan struct{})
	b.says(func(topic string) (protocol.Status, string) {
		switch topic {
		case "first":
			close(asked)
			<-answer
		case "none":
			return protocol.StatusError, "no such topic"
		}
		return b.onePartition(topic)
	})
	p := producer(t, b.addr)
	ended := make(chan error, 1)
	p.SendAsync(client.Message{Topic: "first", Body: []byte("a")}, func(client.Receipt, error) {})
	<-asked
	p.SendAsync(client.Message{Topic: "none", Key: "k", Body: []byte("b")}, func(client.Receipt, error) {})
	p.SendAsync(client.Message{Topic: "there", Key: "k", Body: []byte("c")}, func(_ client.Receipt, err error) { ended <- err })
	close(answer)
	if err := <-ended; err != nil {
		t.Errorf("a message of another topic: %v", err)
	}
}

// The first puts to a topic make it, from several producers at the same time, and each key has its partition all the same.
func TestProducer_AKeyOfANewTopicHasOnePartition(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", "8"))
	var mu sync.Mutex
	went := map[string]map[int32]bool{} // by topic and key
	var producers []*client.Producer
	for range 3 {
		producers = append(producers, producer(t, b.Addr))
	}
	var sending sync.WaitGroup
	for topic := range 20 {
		for i := range 24 {
			m := client.Message{Topic: fmt.Sprint("new", topic), Key: fmt.Sprint("key", i%4), Body: []byte("x")}
			sending.Add(1)
			producers[i%3].SendAsync(m, func(r client.Receipt, err error) {
				defer sending.Done()
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("%s %s: %v", m.Topic, m.Key, err)
					return
				}
				place := m.Topic + " " + m.Key
				if went[place] == nil {
					went[place] = map[int32]bool{}
				}
				went[place][r.Partition] = true
			})
		}
	}
	sending.Wait()
	for place, partitions := range went {
		if len(partitions) != 1 {
			t.Errorf("%s: partitions %v", place, partitions)
		}
	}
}

func TestProducer_RetriesWhatIsRefusedForAWhile(t *testing.T) {
	b := startFake(t, func(n int, _ string) reaction {
		if n <= 3 {
			return refuse
		}
		return store
	})
	p := producer(t, b.addr, client.WithWindow(1))
	for i := range 5 {
		if _, err := p.Send(testContext(t), "t", []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(b.list()); got != "[0 1 2 3 4]" {
		t.Errorf("stored %s", got)
	}
}

func TestProducer_GivesUpAfterItsTime(t *testing.T) {
	b := startFake(t, func(int, string) reaction { return refuse })
	p := producer(t, b.addr, client.WithRetryFor(100*time.Millisecond))
	_, err := p.Send(testContext(t), "t", []byte("x"))
	var status *client.StatusError
	if !errors.As(err, &status) || status.Status != protocol.StatusUnavailable || status.Text != "busy" {
		t.Errorf("after the time: %v", err)
	}
}

func TestProducer_ABrokenConnectionKeepsTheOrder(t *testing.T) {
	b := startFake(t, func(n int, _ string) reaction {
		if n%37 == 0 {
			return storeCut
		}
		return store
	})
	p := producer(t, b.addr, client.WithWindow(16))
	const n = 500
	for i := range n {
		p.SendAsync(client.Message{Topic: "t", Body: []byte(fmt.Sprint(i))}, func(_ client.Receipt, err error) {
			if err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		})
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	next := 0
	for _, body := range b.list() {
		var i int
		fmt.Sscan(body, &i)
		if i > next {
			t.Fatalf("message %d was stored before %d", i, next)
		}
		if i == next {
			next++
		}
	}
	if next != n {
		t.Errorf("%d of %d messages are stored", next, n)
	}
}

// Whoever retries for long has to be told why nothing goes on, once and not with every try.
func TestProducer_LogsThatABrokerCannotBeReached(t *testing.T) {
	b := process.Start(t, process.Options{})
	b.Kill(t)
	var logged lockedBuffer
	p := producer(t, b.Addr, client.WithRetryFor(time.Minute), client.WithProducerLog(slog.New(slog.NewTextHandler(&logged, nil))))
	if _, err := producer(t, b.Addr, client.WithRetryFor(time.Second), client.WithProducerLog(slog.New(slog.NewTextHandler(&logged, nil)))).Send(testContext(t), "t", []byte("x")); err == nil {
		t.Fatal("nobody took that")
	}
	if got := logged.String(); strings.Count(got, "cannot be reached") != 1 || !strings.Contains(got, b.Addr) || !strings.Contains(got, "connection refused") {
		t.Errorf("after a second of tries the log has %q", got)
	}
	sent := make(chan error, 1)
	p.SendAsync(client.Message{Topic: "t", Body: []byte("y")}, func(_ client.Receipt, err error) { sent <- err })
	wait.Until(t, 10*time.Millisecond, 10*time.Second, "a try", func() bool { return strings.Count(logged.String(), "cannot be reached") == 2 })
	b.Restart(t)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got := logged.String(); strings.Count(got, "can be reached again") != 1 {
		t.Errorf("afterwards the log has %q", got)
	}
}

func TestProducer_SomethingElseAnswers(t *testing.T) {
	b := startFake(t, func(int, string) reaction { return garbage })
	_, err := producer(t, b.addr).Send(testContext(t), "t", []byte("x"))
	if !errors.Is(err, protocol.ErrResponse) || client.Retriable(err) {
		t.Errorf("garbage: %v", err)
	}
}

func TestProducer_CloseWithAnEndedContextFailsWhatIsLeft(t *testing.T) {
	b := startFake(t, func(int, string) reaction { return refuse })
	p, err := client.NewProducer(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	p.SendAsync(client.Message{Topic: "t", Body: []byte("x")}, func(_ client.Receipt, err error) { failed <- err })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("a message that was never stored is acknowledged")
	}
}

func TestRetriable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {client.ErrClosed, false}, {context.Canceled, false}, {&client.MovedError{}, false},
		{&client.StatusError{Status: protocol.StatusBadRequest}, false}, {&client.StatusError{Status: protocol.StatusForbidden}, false},
		{&client.StatusError{Status: protocol.StatusNotFound}, false}, {&client.StatusError{Status: protocol.StatusError}, false},
		{&client.StatusError{Status: protocol.StatusUnavailable}, true}, {&client.StatusError{Status: protocol.StatusTimeout}, true},
		{fmt.Errorf("x: %w", io.ErrUnexpectedEOF), true}, {&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		{fmt.Errorf("x: %w", protocol.ErrResponse), false},
	} {
		if got := client.Retriable(c.err); got != c.want {
			t.Errorf("Retriable(%v) = %v", c.err, got)
		}
	}
}
