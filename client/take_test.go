//go:build linux

package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/chaos"
)

func take(t *testing.T, c *client.Consumer) *client.Held {
	t.Helper()
	h, err := c.Take(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// nothingToTake says that there is nothing now.
func nothingToTake(t *testing.T, c *client.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if h, err := c.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("took %v, %v; want nothing", h, err)
	}
}

// committed is the offset that the broker keeps of partition 0 of t.
func committed(t *testing.T, conn *client.Conn, c *client.Consumer) int64 {
	t.Helper()
	if err := c.Commit(testContext(t)); err != nil {
		t.Fatal(err)
	}
	offset, err := conn.Committed(testContext(t), "t", "g", 0)
	if status := (*client.StatusError)(nil); errors.As(err, &status) && status.Status == protocol.StatusNotFound {
		return 0 // nothing yet
	}
	if err != nil {
		t.Fatal(err)
	}
	return offset
}

// Messages are done and returned in any order. At each moment the offset that is committed is that of the first message that is not done, and what is handed out
// is the next one, or one that was returned.
func TestTake_InAnyOrder(t *testing.T) {
	const messages, most = 300, 7
	seed := chaos.Seed(t)
	r := rand.New(rand.NewPCG(seed, seed))
	b := metaqtest.Start(t)
	for i := range messages {
		sendAll(t, b.Addr, "t", fmt.Sprint(i))
	}
	conn, err := client.Dial(testContext(t), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := consumer(t, b.Addr, "g", "t", client.WithInHand(most), client.WithCommitEvery(0), client.WithFetchSize(500))
	var hand []*client.Held
	var ends []int64 // of the messages that were handed out for the first time
	done, returned := map[int64]bool{}, map[int64]bool{}
	for len(done) < messages {
		for len(hand) < most && len(done)+len(hand) < messages {
			h := take(t, c)
			switch {
			case returned[h.Offset]:
				delete(returned, h.Offset)
			case string(h.Body) != fmt.Sprint(len(ends)):
				t.Fatalf("message %s was handed out, want %d", h.Body, len(ends))
			default:
				ends = append(ends, h.Next)
			}
			hand = append(hand, h)
		}
		i := r.IntN(len(hand))
		h := hand[i]
		hand = slices.Delete(hand, i, i+1)
		if r.IntN(4) == 0 {
			h.Return()
			h.Done() // too late
			returned[h.Offset] = true
			continue
		}
		h.Done()
		h.Return() // too late
		done[h.Next] = true
		if r.IntN(8) > 0 && len(done) < messages {
			continue
		}
		want := int64(0)
		for _, end := range ends {
			if !done[end] {
				break
			}
			want = end
		}
		if got := committed(t, conn, c); got != want {
			t.Fatalf("%d is committed, want %d", got, want)
		}
	}
	nothingToTake(t, c)
}

// A partition of which as many messages are in hand as may be does not hold up others, nor does it go on before one is put down.
func TestTake_BoundIsForAPartition(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("numPartitions", "2"))
	p := producer(t, b.Addr)
	for i := range 20 {
		if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.At(int32(i % 2)), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	c := consumer(t, b.Addr, "g", "t", client.WithInHand(3))
	var hand [2][]*client.Held
	for range 6 {
		h := take(t, c)
		hand[h.Partition] = append(hand[h.Partition], h)
	}
	if len(hand[0]) != 3 || len(hand[1]) != 3 {
		t.Fatalf("%d and %d messages of the partitions are in hand, want 3 of each", len(hand[0]), len(hand[1]))
	}
	nothingToTake(t, c)
	hand[1][2].Done()
	if h := take(t, c); h.Partition != 1 {
		t.Errorf("took a message of partition %d, want 1", h.Partition)
	}
	nothingToTake(t, c)
	hand[0][1].Return()
	if h := take(t, c); h.Offset != hand[0][1].Offset || h.Partition != 0 {
		t.Errorf("took %d of partition %d, want the one that was returned", h.Offset, h.Partition)
	}
	if err := c.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	if _, err := c.Take(testContext(t)); !errors.Is(err, client.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// When a partition goes to another member, its channel says so; what is done soon counts, and the next owner gets the rest. Of other partitions nothing changes.
func TestTake_PartitionIsGivenUp(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	f := newFeed(t, c.addr)
	f.send(12)
	a := member(t, c, "g", "a")
	hand := map[int32][]*client.Held{}
	for range 12 {
		h := take(t, a)
		hand[h.Partition] = append(hand[h.Partition], h)
	}
	b := run(t, member(t, c, "g", "b"), nil)
	leaving := hand[1]
	select {
	case <-leaving[0].Leaving():
	case <-testContext(t).Done():
		t.Fatal("nothing says that partition 1 is b's")
	}
	select {
	case <-hand[0][0].Leaving():
		t.Error("partition 0 is said to go, too")
	default:
	}
	nothingToTake(t, a)
	if b.count() > 0 {
		t.Errorf("b has partition 1 while a has %d messages of it in hand", len(leaving))
	}
	leaving[0].Done()
	leaving[2].Done() // behind one that is not done: it comes again
	for _, h := range leaving[1:] {
		h.Return()
	}
	var want []string
	for _, h := range leaving[1:] {
		want = append(want, string(h.Body))
	}
	eventually(t, "b has the rest", func() bool { return b.count() >= len(want) })
	for i, m := range b.messages() {
		if m.Partition != 1 || string(m.Body) != want[i] {
			t.Errorf("b was given %s of partition %d, want %s", m.Body, m.Partition, want[i])
		}
	}
	for _, h := range hand[0] {
		h.Done()
	}
	leaving[1].Done() // it is b's by now
	if err := a.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	if got, _ := c.offset(t, "g", "0-0"); got != f.ends["0-0"] {
		t.Errorf("the offset of 0-0 is %+v, want %+v", got, f.ends["0-0"])
	}
	eventually(t, "b has committed what it was given", func() bool {
		if err := b.Commit(testContext(t)); err != nil {
			t.Error(err)
		}
		got, _ := c.offset(t, "g", "0-1")
		return got == f.ends["0-1"]
	})
}
