//go:build linux

package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/test/wait"
)

// What comes from now on begins with the first message of a partition that nobody has written yet, also when it comes while the consumer is not asking.
func TestConsumer_FromLatestOfAPartitionThatNobodyHasWritten(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b := metaqtest.Start(t)
	c, err := NewConsumer(b.Addr, "g", []string{"t"}, WithStart(FromLatest()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	c.options.wait = time.Millisecond
	got := make(chan string, 3)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(running, func(_ context.Context, m Received) error {
			got <- string(m.Body)
			return nil
		})
	}()
	conn, err := Dial(ctx, b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wait.Until(t, time.Millisecond, 10*time.Second, "it has begun, and pauses because there is nothing", func() bool {
		text, err := conn.Stats(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		_, misses, _ := strings.Cut(text, "get_miss")
		var n int
		_, _ = fmt.Sscan(misses, &n) // 0 before the first
		return n >= 3
	})
	for i := range 3 {
		if _, err := conn.Put(ctx, Message{Topic: "t", Partition: At(0), Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		select {
		case body := <-got:
			if body != fmt.Sprint(i) {
				t.Errorf("given %s, want %d", body, i)
			}
		case <-ctx.Done():
			t.Fatalf("message %d is never given", i)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What is stored while the broker cannot be reached at the start comes from now on, too; what was stored before does not.
func TestConsumer_FromLatestOfABrokerThatDoesNotAnswerAtFirst(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b := metaqtest.Start(t)
	conn, err := Dial(ctx, b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	put := func(body string) {
		t.Helper()
		if _, err := conn.Put(ctx, Message{Topic: "t", Partition: At(0), Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	wait.Until(t, time.Millisecond, time.Second, "the clock goes on by the millisecond in which messages are dated", func() func() bool {
		end := time.Now().Add(2 * time.Millisecond)
		return func() bool { return time.Now().After(end) }
	}())
	line, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	tried, stored := make(chan struct{}), make(chan struct{})
	go func() {
		for first := true; ; first = false {
			client, err := line.Accept()
			if err != nil {
				return
			}
			if first {
				close(tried)
				<-stored
				client.Close()
				continue
			}
			broker, err := net.Dial("tcp", b.Addr)
			if err != nil {
				client.Close()
				continue
			}
			go func() { _, _ = io.Copy(client, broker); client.Close() }()
			go func() { _, _ = io.Copy(broker, client); broker.Close() }()
		}
	}()
	c, err := NewConsumer(line.Addr().String(), "g", []string{"t"}, WithStart(FromLatest()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	got := make(chan string, 4)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(running, func(_ context.Context, m Received) error { got <- string(m.Body); return nil })
	}()
	<-tried
	put("new")
	close(stored)
	select {
	case body := <-got:
		if body != "new" {
			t.Errorf("given %s, want what came since the consumer began", body)
		}
	case <-ctx.Done():
		t.Error("what was stored while the broker could not be reached is never given")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
