//go:build linux

package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

var errHandler = errors.New("the handler does not want it")

// quick is a Recovery that does not wait for long.
func quick(dir string) client.Recovery {
	return client.Recovery{Dir: dir, Attempts: 2, RetryFrom: time.Millisecond, StoredFrom: time.Millisecond, StoredTo: 10 * time.Millisecond}
}

func sendAll(t testing.TB, addr, topic string, bodies ...string) {
	t.Helper()
	p := producer(t, addr)
	for _, body := range bodies {
		if _, err := p.SendMessage(testContext(t), client.Message{Topic: topic, Partition: client.At(0), Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
}

// running is a consumer whose Run goes on beside the test.
type running struct {
	*client.Consumer
	stop  context.CancelFunc
	ended chan error
}

func runBeside(t testing.TB, c *client.Consumer, handler func(context.Context, client.Received) error) *running {
	t.Helper()
	ctx, stop := context.WithCancel(testContext(t))
	r := &running{c, stop, make(chan error, 1)}
	go func() { r.ended <- c.Run(ctx, handler) }()
	t.Cleanup(stop)
	return r
}

// end stops Run and closes the consumer.
func (r *running) end(t testing.TB) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if err := r.Close(testContext(t)); err != nil {
		t.Error(err)
	}
}

// receive takes from a channel, in time.
func receive[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-testContext(t).Done():
		t.Fatal("nothing came")
	}
	return v
}

func rejected(t testing.TB, dir, group string) (bodies []string) {
	t.Helper()
	for m, err := range client.ReadRejected(dir, group) {
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

func TestRecovery_TriesAgainInOrder(t *testing.T) {
	b := metaqtest.Start(t)
	sendAll(t, b.Addr, "t", "a", "b", "c")
	handled := make(chan string, 3)
	tries := 0
	r := runBeside(t, consumer(t, b.Addr, "g", "t", client.WithRecovery(quick(t.TempDir()))), func(_ context.Context, m client.Received) error {
		if string(m.Body) == "b" {
			if tries++; tries == 1 {
				return errHandler
			}
		}
		handled <- string(m.Body)
		return nil
	})
	for _, want := range []string{"a", "b", "c"} {
		if got := receive(t, handled); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	r.end(t)
	if tries != 2 {
		t.Errorf("%d tries", tries)
	}
}

// The partition goes on without the message that fails, which survives the program and is handled by the next one.
func TestRecovery_StoresAndGoesOn(t *testing.T) {
	b := metaqtest.Start(t)
	sendAll(t, b.Addr, "t", "a", "bad", "c")
	dir := t.TempDir()
	handled := make(chan string, 10)
	slow := quick(dir)
	slow.StoredFrom, slow.StoredTo = time.Hour, time.Hour
	c := consumer(t, b.Addr, "g", "t", client.WithRecovery(slow))
	if _, err := client.NewConsumer(b.Addr, "g", []string{"t"}, client.WithRecovery(slow)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second consumer with the same directory: %v", err)
	}
	r := runBeside(t, c, func(_ context.Context, m client.Received) error {
		if string(m.Body) == "bad" {
			return errHandler
		}
		handled <- string(m.Body)
		return nil
	})
	if got := receive(t, handled) + receive(t, handled); got != "ac" {
		t.Errorf("handled %s", got)
	}
	if s := r.Recovery(); s.Stored != 1 || s.Bytes == 0 || len(s.Stopped) != 0 {
		t.Errorf("%+v", s)
	}
	r.end(t)
	// What is stored comes again, and nothing else: the offset behind it was committed.
	got := make(chan client.Received, 10)
	c = consumer(t, b.Addr, "g", "t", client.WithRecovery(slow))
	r = runBeside(t, c, func(_ context.Context, m client.Received) error {
		got <- m
		return nil
	})
	if m := receive(t, got); string(m.Body) != "bad" || m.Topic != "t" || m.ID == 0 || m.Next <= m.Offset {
		t.Errorf("%+v", m)
	}
	sendAll(t, b.Addr, "t", "d")
	if m := receive(t, got); string(m.Body) != "d" {
		t.Errorf("%+v", m)
	}
	r.end(t)
	if s := c.Recovery(); s.Stored != 0 {
		t.Errorf("%+v", s)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "g", "*.spill")); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestRecovery_RejectsAndRedrives(t *testing.T) {
	b := metaqtest.Start(t)
	sendAll(t, b.Addr, "t", "bad \xff", "worse", "good")
	dir := t.TempDir()
	o := quick(dir)
	o.Retries = 3
	c := consumer(t, b.Addr, "g", "t", client.WithRecovery(o))
	var mu sync.Mutex
	tries := map[string]int{}
	healed := ""
	handled := make(chan string, 10)
	r := runBeside(t, c, func(_ context.Context, m client.Received) error {
		mu.Lock()
		defer mu.Unlock()
		tries[string(m.Body)]++
		if strings.HasPrefix(string(m.Body), "good") || string(m.Body) == healed {
			handled <- string(m.Body)
			return nil
		}
		return errHandler
	})
	receive(t, handled)
	eventually(t, "two are rejected", func() bool { return len(rejected(t, dir, "g")) == 2 })
	mu.Lock()
	if tries["worse"] != 5 {
		t.Errorf("%d tries, want 2 and 3", tries["worse"])
	}
	healed = "bad \xff"
	mu.Unlock()
	for m := range client.ReadRejected(dir, "g") {
		if m.Tries != 5 || m.Err != errHandler.Error() || m.Since.IsZero() || m.At.Before(m.Since) || m.Topic != "t" || m.ID == 0 {
			t.Errorf("%+v", m)
		}
	}
	if n, err := c.Redrive(func(m client.Rejected) bool { return string(m.Body) == healed }); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := receive(t, handled); got != healed {
		t.Errorf("handled %q", got)
	}
	r.end(t)
	if got := rejected(t, dir, "g"); !slices.Equal(got, []string{"worse"}) {
		t.Errorf("%q are rejected", got)
	}
}

// The body belongs to the handler. What it does to it and then fails is not seen by the next try, nor in what is rejected.
func TestRecovery_AHandlerThatWritesIntoTheBody(t *testing.T) {
	b := metaqtest.Start(t)
	sendAll(t, b.Addr, "t", "body")
	o := quick(t.TempDir())
	o.Retries = 2
	last := make(chan client.Rejected, 1)
	o.Reject = func(_ context.Context, m client.Rejected) error {
		last <- m
		return nil
	}
	r := runBeside(t, consumer(t, b.Addr, "g", "t", client.WithRecovery(o)), func(_ context.Context, m client.Received) error {
		if string(m.Body) != "body" {
			t.Errorf("the handler got %q", m.Body)
		}
		clear(m.Body)
		return errHandler
	})
	if m := receive(t, last); string(m.Body) != "body" {
		t.Errorf("rejected %q", m.Body)
	}
	r.end(t)
}

// What the program does with rejected messages may fail: they stay stored until it does not.
func TestRecovery_RejectOfTheProgram(t *testing.T) {
	b := metaqtest.Start(t)
	sendAll(t, b.Addr, "t", "bad")
	o := quick(t.TempDir())
	o.Retries, o.MaxAge = -1, time.Millisecond
	calls := make(chan client.Rejected, 100)
	failures := 0
	o.Reject = func(_ context.Context, m client.Rejected) error {
		if failures++; failures < 3 {
			return errors.New("the queue for rejected messages is away")
		}
		calls <- m
		return nil
	}
	c := consumer(t, b.Addr, "g", "t", client.WithRecovery(o))
	r := runBeside(t, c, func(context.Context, client.Received) error { return errHandler })
	if m := receive(t, calls); string(m.Body) != "bad" || m.Err != errHandler.Error() {
		t.Errorf("%+v", m)
	}
	eventually(t, "nothing is stored", func() bool { return c.Recovery().Stored == 0 })
	r.end(t)
}

// When nothing more can be stored the partition stops at the message, says so, and others go on.
func TestRecovery_AFullStoreStopsThePartition(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", "2"))
	p := producer(t, b.Addr)
	send := func(partition int32, body string) {
		t.Helper()
		if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.At(partition), Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		send(0, fmt.Sprint("bad ", i, strings.Repeat(".", 400)))
	}
	send(0, "behind")
	o := quick(t.TempDir())
	o.MaxBytes, o.StoredFrom, o.StoredTo = 1000, time.Hour, time.Hour
	c := consumer(t, b.Addr, "g", "t", client.WithRecovery(o), client.WithCommitEvery(0))
	var mu sync.Mutex
	healed := false
	handled := make(chan string, 10)
	r := runBeside(t, c, func(_ context.Context, m client.Received) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(string(m.Body), "bad") && !healed {
			return errHandler
		}
		handled <- string(m.Body)[:5]
		return nil
	})
	at := zkcoord.TopicPartition{Topic: "t"}
	eventually(t, "the partition stops", func() bool { return errors.Is(c.Recovery().Stopped[at], client.ErrRecoveryFull) })
	send(1, "other")
	if got := receive(t, handled); got != "other" {
		t.Errorf("handled %q", got)
	}
	if s := c.Recovery(); s.Stored != 2 || s.Bytes > 1000 || !strings.Contains(s.Stopped[at].Error(), "the limit is 1000") {
		t.Errorf("%+v", s)
	}
	// Nothing behind the message was committed.
	if err := c.Commit(testContext(t)); err != nil {
		t.Fatal(err)
	}
	conn, err := client.Dial(testContext(t), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	offset, err := conn.Committed(testContext(t), "t", protocol.Group("g"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if lag, err := conn.Lag(testContext(t), "t", 0, offset); err != nil || lag.Messages != 2 {
		t.Errorf("%+v, %v", lag, err)
	}
	mu.Lock()
	healed = true
	mu.Unlock()
	if got := receive(t, handled) + receive(t, handled); got != "bad 2behin" {
		t.Errorf("handled %q", got)
	}
	if s := c.Recovery(); len(s.Stopped) != 0 {
		t.Errorf("%+v", s)
	}
	r.end(t)
}

// A message that waits for its next attempt is not in anybody's hands: its partition may go to another member, which gets it.
func TestRecovery_WhatIsSetAsideGoesToTheNextOwner(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	f := newFeed(t, c.addr)
	o := quick(t.TempDir())
	o.RetryFrom, o.RetryTo = time.Hour, time.Hour
	failed := make(chan string, 10)
	a := runBeside(t, member(t, c, "g", "a", client.WithRecovery(o)), func(_ context.Context, m client.Received) error {
		failed <- partitionOf(m)
		return errHandler
	})
	eventually(t, "a owns both", func() bool { return len(c.owners(t, "g")) == 2 })
	for number := range int32(2) {
		for range 2 {
			bad := client.Message{Topic: "t", Partition: client.AtBroker(0, number), Body: fmt.Append(nil, "bad ", number)}
			if _, err := f.p.SendMessage(testContext(t), bad); err != nil {
				t.Fatal(err)
			}
		}
	}
	if one, other := receive(t, failed), receive(t, failed); one == other {
		t.Errorf("%s goes on behind a message that failed", one)
	}
	b := run(t, member(t, c, "g", "b"), nil)
	eventually(t, "b has both messages of its partition", func() bool { return b.count() == 2 })
	a.end(t)
	eventually(t, "b has all", func() bool { return b.count() == 4 })
	if len(failed) > 0 {
		t.Errorf("%s was tried again", receive(t, failed))
	}
}

// Options that make no sense are errors.
func TestRecovery_Options(t *testing.T) {
	for _, o := range []client.Recovery{{}, {Dir: "x", MaxBytes: -1}, {Dir: "x", Attempts: -1}, {Dir: "x", Retries: -2}, {Dir: "x", RetryTo: -1}} {
		if _, err := client.NewConsumer("127.0.0.1:1", "g", []string{"t"}, client.WithRecovery(o)); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// recoveryChild names the address, the directory and a rate of failures for the process that TestRecovery_AKilledConsumer kills.
const recoveryChild = "CLIENT_RECOVERY_CHILD"

// A consumer that is killed with kill -9 while its handler fails at random loses nothing: every message is handled, or rejected.
func TestRecovery_AKilledConsumer(t *testing.T) {
	if job := os.Getenv(recoveryChild); job != "" {
		consumeUntilKilled(t, job)
		return
	}
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", "3"))
	p := producer(t, b.Addr)
	const n = 600
	left := map[string]bool{}
	for i := range n {
		body := fmt.Sprint("message ", i)
		if i%50 == 0 {
			body = fmt.Sprint("poison ", i)
		}
		left[body] = true
		if _, err := p.Send(testContext(t), "t", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	for round := 0; len(left) > 0; round++ {
		if round == 100 {
			t.Fatalf("%d messages are neither handled nor rejected: %v", len(left), slices.Sorted(maps.Keys(left)))
		}
		cmd := exec.CommandContext(testContext(t), os.Args[0], "-test.run", "^TestRecovery_AKilledConsumer$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s", recoveryChild, b.Addr, dir))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, killAt := 0, 20+rand.IntN(200)
		for in := bufio.NewScanner(out); in.Scan(); {
			what, body, ok := strings.Cut(in.Text(), ": ")
			if !ok {
				continue
			}
			if what == "handled" {
				delete(left, body)
			}
			if lines++; lines == killAt {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		_ = cmd.Wait() // it is killed
		if lines < killAt {
			t.Fatalf("the consumer ended by itself after %d lines", lines)
		}
		for _, body := range rejected(t, dir, "g") {
			delete(left, body)
		}
	}
	for _, body := range rejected(t, dir, "g") {
		if strings.HasPrefix(body, "poison") {
			return
		}
	}
	t.Error("no poisonous message is rejected")
}

// consumeUntilKilled handles messages, most of them not, and tells each call.
func consumeUntilKilled(t *testing.T, job string) {
	var addr, dir string
	if _, err := fmt.Sscan(job, &addr, &dir); err != nil {
		t.Fatal(err)
	}
	o := quick(dir)
	o.Retries = 8
	c, err := client.NewConsumer(addr, "g", []string{"t"}, client.WithRecovery(o), client.WithCommitEvery(time.Millisecond), client.WithWorkers(2))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for range time.Tick(10 * time.Millisecond) { // so that the parent has a line to kill this at when there is nothing to do
			fmt.Println("alive: x")
		}
	}()
	err = c.Run(context.Background(), func(_ context.Context, m client.Received) error {
		if strings.HasPrefix(string(m.Body), "poison") || rand.IntN(2) == 0 {
			fmt.Printf("failed: %s\n", m.Body)
			return errHandler
		}
		fmt.Printf("handled: %s\n", m.Body)
		return nil
	})
	t.Fatal(err)
}
