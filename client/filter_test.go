//go:build linux

package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
)

func TestWithFilter_WhatIsLeftOutCountsAsDone(t *testing.T) {
	b := metaqtest.Start(t)
	p := producer(t, b.Addr)
	for _, attribute := range []string{"red", "blue", "red", "green", ""} {
		if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Attribute: attribute, Body: []byte(attribute)}); err != nil {
			t.Fatal(err)
		}
	}
	c := consumer(t, b.Addr, "g", "t", client.WithCommitEvery(0),
		client.WithFilter(client.AttributeIs("red", "green")), client.WithFilter(client.AttributePrefix("r")))
	if got := fmt.Sprint(read(t, c, 2)[0]); got != "[red red]" {
		t.Errorf("got %s", got)
	}
	// Nobody asks whether the last ones are wanted unless more is asked for.
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	go func() {
		for range c.Messages(ctx) {
		}
	}()
	conn, err := client.Dial(testContext(t), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "the end is committed", func() bool {
		if err := c.Commit(testContext(t)); err != nil {
			t.Fatal(err)
		}
		offset, err := conn.Committed(testContext(t), "t", "g", 0)
		if err != nil {
			return false
		}
		lag, err := conn.Lag(testContext(t), "t", 0, offset)
		return err == nil && lag.Messages == 0
	})
}

func TestFilters(t *testing.T) {
	glob, err := client.AttributeGlob("order/*/[0-9]?")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		filter    client.Filter
		attribute string
		want      bool
	}{
		{"is", client.AttributeIs("a", "b"), "b", true}, {"is", client.AttributeIs("a", "b"), "c", false}, {"is none", client.AttributeIs(""), "", true},
		{"prefix", client.AttributePrefix("or"), "order", true}, {"prefix", client.AttributePrefix("or"), "o", false},
		{"glob", glob, "order/x/1y", true}, {"glob", glob, "order/x/yy", false}, {"glob", glob, "order/x/y/1y", false}, {"glob", glob, "an order/x/1y", false},
	} {
		if got := c.filter(client.Received{Attribute: c.attribute}); got != c.want {
			t.Errorf("%s of %q: %t", c.name, c.attribute, got)
		}
	}
	if _, err := client.AttributeGlob("[a"); err == nil {
		t.Error("a pattern without an end is taken")
	}
}

// The second reader of the same messages gets what the first one has not handled, although no offset was committed.
func TestWithSeen_LeavesOutWhatWasHandled(t *testing.T) {
	b := metaqtest.Start(t)
	sendAll(t, b.Addr, "t", "a", "b", "c", "d")
	cache, err := client.NewSeenCache(100, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	errStop := errors.New("enough")
	first := consumer(t, b.Addr, "one", "t", client.WithSeen(cache))
	err = first.Run(testContext(t), func(_ context.Context, m client.Received) error {
		if string(m.Body) == "c" {
			return errStop
		}
		return nil
	})
	if !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	if got := fmt.Sprint(read(t, consumer(t, b.Addr, "two", "t", client.WithSeen(cache)), 2)[0]); got != "[c d]" {
		t.Errorf("got %s", got)
	}
	// A cache that is away: rather twice than never.
	if got := fmt.Sprint(read(t, consumer(t, b.Addr, "three", "t", client.WithSeen(brokenCache{})), 4)[0]); got != "[a b c d]" {
		t.Errorf("got %s", got)
	}
}

type brokenCache struct{}

func (brokenCache) Seen(context.Context, client.MessageKey) (bool, error) {
	return true, errors.New("away")
}
func (brokenCache) Add(context.Context, client.MessageKey) error { return errors.New("away") }

func TestSeenCache_ForgetsByCountAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.NewSeenCache(3, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		key := func(id int64) client.MessageKey { return client.MessageKey{Topic: "t", ID: id} }
		seen := func(k client.MessageKey) bool {
			ok, err := c.Seen(t.Context(), k)
			if err != nil {
				t.Error(err)
			}
			return ok
		}
		for id := range int64(3) {
			c.Add(t.Context(), key(id))
		}
		if !seen(key(0)) || seen(client.MessageKey{Topic: "u"}) || seen(client.MessageKey{Topic: "t", Broker: 1}) {
			t.Error("a message of another topic or broker counts as seen, or one that was added does not")
		}
		c.Add(t.Context(), key(3)) // 1 was met longest ago
		if seen(key(1)) || !seen(key(0)) || !seen(key(2)) || !seen(key(3)) || c.Len() != 3 {
			t.Errorf("%d messages are remembered", c.Len())
		}
		<-time.After(40 * time.Second)
		c.Add(t.Context(), key(2))
		<-time.After(40 * time.Second)
		if seen(key(0)) || seen(key(3)) || !seen(key(2)) || c.Len() != 1 {
			t.Errorf("%d messages are remembered", c.Len())
		}
	})
	for _, bad := range []func() (*client.SeenCache, error){
		func() (*client.SeenCache, error) { return client.NewSeenCache(0, 0) },
		func() (*client.SeenCache, error) { return client.NewSeenCache(1, -1) },
	} {
		if _, err := bad(); err == nil {
			t.Error("a cache for nothing is made")
		}
	}
}

// Several workers handle partitions beside each other, and one message of a partition at a time, in order.
func TestWithWorkers_OneMessageOfAPartitionAtATime(t *testing.T) {
	const partitions, each = 4, 50
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", fmt.Sprint(partitions)))
	p := producer(t, b.Addr)
	for i := range partitions * each {
		if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.At(int32(i % partitions)), Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	// With a small fetch size there are many batches of a partition.
	c := consumer(t, b.Addr, "g", "t", client.WithWorkers(3), client.WithFetchSize(200))
	var mu sync.Mutex
	busy, most, total := map[int32]bool{}, 0, 0
	got := map[int32][]int64{}
	together := make(chan struct{})
	meet := sync.OnceFunc(func() { close(together) })
	ctx, stop := context.WithCancel(testContext(t))
	err := c.Run(ctx, func(ctx context.Context, m client.Received) error {
		mu.Lock()
		if busy[m.Partition] {
			t.Errorf("two messages of partition %d at the same time", m.Partition)
		}
		busy[m.Partition] = true
		if most = max(most, len(busy)); len(busy) == 3 {
			meet()
		}
		mu.Unlock()
		select {
		case <-together: // the first ones wait until three workers have something
		case <-ctx.Done():
		}
		mu.Lock()
		defer mu.Unlock()
		delete(busy, m.Partition)
		got[m.Partition] = append(got[m.Partition], m.Offset)
		if total++; total == partitions*each {
			stop()
		}
		return nil
	})
	if err != nil || most != 3 || total != partitions*each {
		t.Errorf("%d messages, at most %d at the same time, %v", total, most, err)
	}
	for partition, offsets := range got {
		if !slices.IsSorted(offsets) {
			t.Errorf("partition %d is not in order", partition)
		}
	}
	if _, err := client.NewConsumer(b.Addr, "g", []string{"t"}, client.WithWorkers(0)); err == nil {
		t.Error("no workers are taken")
	}
}
