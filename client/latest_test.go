//go:build linux

package client

import (
	"context"
	"fmt"
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
