// Package offsettest has the tests that every store of offsets passes: those of this project, and yours.
//
//	func TestStore(t *testing.T) {
//		dir := t.TempDir()
//		offsettest.Run(t, offsettest.Store{Open: func(t *testing.T) client.OffsetStore { return open(t, dir) }})
//	}
package offsettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// What the tests name; a store that has to know them beforehand prepares them.
const (
	Topic      = protocol.Topic("offsettest-a")
	OtherTopic = protocol.Topic("offsettest-b")
	Partitions = 300 // of each topic, on each of the Brokers
	Brokers    = 2   // 0 and 1
)

// bound is how long one call may take.
const bound = 30 * time.Second

// Store is what the tests need of a store.
type Store struct {
	// Open opens the store; the same offsets are in it each time. What is opened is closed before the next time if it is an io.Closer, and at the end of t.
	Open func(t *testing.T) client.OffsetStore
	// Break makes that nothing can be saved until mend is called. What was kept stays, and an open store works again afterwards.
	Break func(t *testing.T) (mend func())
	// ForgetsMessageIDs: a store that keeps the logical offset alone, and loads zkcoord.UnknownMessage.
	ForgetsMessageIDs bool
}

// Run runs the tests. Each has a group of its own, so that the offsets may lie in one place. As a Consumer does, they load what they save.
func Run(t *testing.T, s Store) {
	for _, c := range []struct {
		name string
		test func(*session)
	}{
		{"Absent", absent}, {"SaveAndLoad", saveAndLoad}, {"KeysAreTheirOwn", keysAreTheirOwn}, {"BackAndForth", backAndForth}, {"Nothing", nothing}, {"Many", many},
		{"ConcurrentKeys", concurrentKeys}, {"EndedContext", endedContext}, {"Broken", broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			ss := &session{T: t, of: s, group: protocol.Group("offsettest-" + strings.ToLower(c.name))}
			t.Cleanup(ss.close)
			ss.open()
			c.test(ss)
		})
	}
}

// session is one test's use of the store.
type session struct {
	*testing.T
	of    Store
	store client.OffsetStore
	group protocol.Group
}

func (s *session) open() {
	s.Helper()
	s.close()
	s.store = s.of.Open(s.T)
}

func (s *session) close() {
	s.Helper()
	c, ok := s.store.(io.Closer)
	s.store = nil
	if !ok {
		return
	}
	if err := c.Close(); err != nil {
		s.Errorf("close: %v", err)
	}
}

func (s *session) key(topic protocol.Topic, broker int, partition int32) client.OffsetKey {
	return client.OffsetKey{Group: s.group, Topic: topic, Partition: zkcoord.Partition{Broker: broker, Number: partition}}
}

func (s *session) load(key client.OffsetKey) (zkcoord.Offset, bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	offset, ok, err := s.store.Load(ctx, key)
	if err != nil {
		s.Fatalf("load %v: %v", key, err)
	}
	return offset, ok
}

func (s *session) save(offsets map[client.OffsetKey]zkcoord.Offset) {
	s.Helper()
	for key := range offsets {
		s.load(key)
	}
	if err := s.trySave(offsets); err != nil {
		s.Fatalf("save: %v", err)
	}
}

func (s *session) trySave(offsets map[client.OffsetKey]zkcoord.Offset) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	return s.store.Save(ctx, offsets)
}

func (s *session) want(offsets map[client.OffsetKey]zkcoord.Offset) {
	s.Helper()
	for key, want := range offsets {
		if s.of.ForgetsMessageIDs {
			want.MessageID = zkcoord.UnknownMessage
		}
		if got, ok := s.load(key); !ok || got != want {
			s.Fatalf("%v: %+v, %v; want %+v", key, got, ok, want)
		}
	}
}

func (s *session) wantAbsent(key client.OffsetKey) {
	s.Helper()
	if got, ok := s.load(key); ok {
		s.Fatalf("%v: %+v, which nobody has saved", key, got)
	}
}

func absent(s *session) {
	s.wantAbsent(s.key(Topic, 0, 0))
}

func saveAndLoad(s *session) {
	for i, offset := range []zkcoord.Offset{
		{MessageID: -5468921164271190016, Offset: 44}, {MessageID: 7, Offset: 0}, {MessageID: zkcoord.UnknownMessage, Offset: 1 << 40}, {MessageID: math.MaxInt64, Offset: math.MaxInt64},
		{MessageID: math.MinInt64, Offset: 1},
	} {
		kept := map[client.OffsetKey]zkcoord.Offset{s.key(Topic, 0, int32(i)): offset}
		s.save(kept)
		s.want(kept)
		s.open()
		s.want(kept)
	}
}

func keysAreTheirOwn(s *session) {
	one := s.key(Topic, 0, 1)
	s.save(map[client.OffsetKey]zkcoord.Offset{one: {MessageID: 1, Offset: 100}})
	others := []client.OffsetKey{s.key(OtherTopic, 0, 1), s.key(Topic, 1, 1), s.key(Topic, 0, 11), s.key(Topic, 1, 0)}
	group := one
	group.Group += "_2" // as a Java consumer of the group may be named
	others = append(others, group)
	offsets := map[client.OffsetKey]zkcoord.Offset{one: {MessageID: 1, Offset: 100}}
	for i, key := range others {
		s.wantAbsent(key)
		offset := zkcoord.Offset{MessageID: int64(i), Offset: int64(i)}
		s.save(map[client.OffsetKey]zkcoord.Offset{key: offset})
		offsets[key] = offset
	}
	s.want(offsets)
	s.open()
	s.want(offsets)
}

// An offset goes wherever it is set: somebody may want to read once more.
func backAndForth(s *session) {
	key := s.key(Topic, 0, 0)
	for _, offset := range []int64{500, 20, 20, 9000} {
		kept := map[client.OffsetKey]zkcoord.Offset{key: {MessageID: -offset, Offset: offset}}
		s.save(kept)
		s.want(kept)
	}
	s.open()
	s.want(map[client.OffsetKey]zkcoord.Offset{key: {MessageID: -9000, Offset: 9000}})
}

func nothing(s *session) {
	s.save(nil)
	s.wantAbsent(s.key(Topic, 0, 0))
}

func many(s *session) {
	offsets := map[client.OffsetKey]zkcoord.Offset{}
	fill := func(from int64) {
		for _, topic := range []protocol.Topic{Topic, OtherTopic} {
			for broker := range Brokers {
				for p := range int32(Partitions) {
					offsets[s.key(topic, broker, p)] = zkcoord.Offset{MessageID: -int64(p), Offset: from + int64(broker)<<20 + int64(p)}
				}
			}
		}
	}
	fill(0)
	s.save(offsets)
	s.want(offsets)
	fill(1 << 32)
	s.save(offsets)
	s.open()
	s.want(offsets)
}

func concurrentKeys(s *session) {
	const workers, rounds = 8, 10
	key := func(worker int) client.OffsetKey { return s.key(Topic, worker%Brokers, int32(worker)) }
	errs := make(chan error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range int64(rounds) {
				ctx, cancel := context.WithTimeout(context.Background(), bound)
				defer cancel()
				got, ok, err := s.store.Load(ctx, key(w))
				if err == nil && ok != (i > 0) || ok && got.Offset != i-1 {
					err = fmt.Errorf("%v: %+v, %v before round %d", key(w), got, ok, i)
				}
				if err == nil {
					err = s.store.Save(ctx, map[client.OffsetKey]zkcoord.Offset{key(w): {MessageID: i, Offset: i}})
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		s.Error(err)
	}
	offsets := map[client.OffsetKey]zkcoord.Offset{}
	for w := range workers {
		offsets[key(w)] = zkcoord.Offset{MessageID: rounds - 1, Offset: rounds - 1}
	}
	s.want(offsets)
	s.open()
	s.want(offsets)
}

func endedContext(s *session) {
	kept := map[client.OffsetKey]zkcoord.Offset{s.key(Topic, 0, 0): {MessageID: 3, Offset: 30}}
	s.save(kept)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	later := map[client.OffsetKey]zkcoord.Offset{s.key(Topic, 0, 0): {MessageID: 4, Offset: 40}}
	if err := s.store.Save(ctx, later); !errors.Is(err, context.Canceled) {
		s.Errorf("save: %v", err)
	}
	if _, _, err := s.store.Load(ctx, s.key(Topic, 0, 0)); !errors.Is(err, context.Canceled) {
		s.Errorf("load: %v", err)
	}
	s.want(kept)
	s.save(later)
	s.want(later)
}

func broken(s *session) {
	kept := map[client.OffsetKey]zkcoord.Offset{s.key(Topic, 0, 0): {MessageID: 5, Offset: 50}}
	s.save(kept)
	mend := s.of.Break(s.T)
	later := map[client.OffsetKey]zkcoord.Offset{s.key(Topic, 0, 0): {MessageID: 6, Offset: 60}}
	if err := s.trySave(later); err == nil {
		s.Error("save: no error")
	}
	mend()
	s.want(kept)
	s.save(later)
	s.open()
	s.want(later)
}
