//go:build linux

package client_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// memoryStore is a store of offsets that can be away.
type memoryStore struct {
	mu      sync.Mutex
	offsets map[client.OffsetKey]zkcoord.Offset
	err     error
	refused chan struct{} // takes one when a call was refused
}

func newMemoryStore() *memoryStore {
	return &memoryStore{offsets: map[client.OffsetKey]zkcoord.Offset{}, refused: make(chan struct{}, 1)}
}

func (s *memoryStore) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *memoryStore) available() error {
	if s.err != nil {
		select {
		case s.refused <- struct{}{}:
		default:
		}
	}
	return s.err
}

func (s *memoryStore) Load(_ context.Context, key client.OffsetKey) (zkcoord.Offset, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	offset, ok := s.offsets[key]
	return offset, ok, s.available()
}

func (s *memoryStore) Save(_ context.Context, offsets map[client.OffsetKey]zkcoord.Offset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.available(); err != nil {
		return err
	}
	maps.Copy(s.offsets, offsets)
	return nil
}

func TestConsumer_OffsetStoreOfTheProgram(t *testing.T) {
	b := metaqtest.Start(t)
	p := producer(t, b.Addr)
	ctx := testContext(t)
	var receipts []client.Receipt
	for i := range 5 {
		r, err := p.Send(ctx, "t", []byte(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	key := client.OffsetKey{Group: "g", Topic: "t"}
	store := newMemoryStore()
	store.offsets[key] = zkcoord.Offset{MessageID: zkcoord.UnknownMessage, Offset: receipts[2].Offset}
	// A store that cannot be had, with an error that would end a consumer if the broker gave it: the consumer waits.
	store.set(context.DeadlineExceeded)
	c := consumer(t, b.Addr, "g", "t", client.WithOffsetStore(store), client.WithCommitEvery(0))
	go func() {
		<-store.refused
		store.set(nil)
	}()
	if got := read(t, c, 2); fmt.Sprint(got[0]) != "[2 3]" {
		t.Fatalf("the group went on with %v", got)
	}
	// While it is away nothing is lost by a commit that fails.
	away := errors.New("the database is away")
	store.set(away)
	if err := c.Commit(ctx); !errors.Is(err, away) || !client.Retriable(err) {
		t.Errorf("commit: %v", err)
	}
	store.set(nil)
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := store.offsets[key], (zkcoord.Offset{MessageID: receipts[2].ID, Offset: receipts[3].Offset}); got != want {
		t.Errorf("kept %+v, want %+v", got, want)
	}
	conn, err := client.Dial(ctx, b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var status *client.StatusError
	if offset, err := conn.Committed(ctx, "t", "g", 0); !errors.As(err, &status) || status.Status != protocol.StatusNotFound {
		t.Errorf("the broker keeps %d too, %v", offset, err)
	}
}

// slowStore lets no call of Save end before it is told to.
type slowStore struct {
	client.OffsetStore
	entered, leave chan struct{}
}

func (s *slowStore) Save(ctx context.Context, offsets map[client.OffsetKey]zkcoord.Offset) error {
	s.entered <- struct{}{}
	select {
	case <-s.leave:
		return s.OffsetStore.Save(ctx, offsets)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestCommit_OneAtATime(t *testing.T) {
	b := metaqtest.Start(t)
	p := producer(t, b.Addr)
	for range 2 {
		if _, err := p.Send(testContext(t), "t", nil); err != nil {
			t.Fatal(err)
		}
	}
	store := &slowStore{newMemoryStore(), make(chan struct{}, 1), make(chan struct{})}
	c := consumer(t, b.Addr, "g", "t", client.WithOffsetStore(store), client.WithCommitEvery(0))
	read(t, c, 2)
	first := make(chan error, 1)
	go func() { first <- c.Commit(testContext(t)) }()
	<-store.entered
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := c.Commit(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second commit meanwhile: %v", err)
	}
	if len(store.entered) > 0 {
		t.Error("two commits at the same time")
	}
	close(store.leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
}
