package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/chaos"
)

// beside is a store that is used in every way while its segments are rewritten.
type beside struct {
	fsys  *vfs.Mem
	store *Store

	mu       sync.Mutex // around an append and its entry here, so that whoever has read a message finds it
	want     map[string][]string
	position map[string]map[string]int // of a message in the list of its queue
}

func (b *beside) noteLocked(q *Queue, body string) {
	key := queueKey(q)
	if b.position[key] == nil {
		b.position[key] = map[string]int{}
	}
	b.position[key][body] = len(b.want[key])
	b.want[key] = append(b.want[key], body)
}

// follows says whether messages lie one behind the other in what was put into a queue, and which they are: from, to.
func (b *beside) follows(key string, got []string) (from, to int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(got) == 0 {
		return 0, 0, nil
	}
	from, ok := b.position[key][got[0]]
	if !ok {
		return 0, 0, fmt.Errorf("%s: a message that nobody has put: %.40q", key, got[0])
	}
	if to = from + len(got); to > len(b.want[key]) || !slices.Equal(b.want[key][from:to], got) {
		return 0, 0, fmt.Errorf("%s: from message %d on %d are read that are not those that were put", key, from, len(got))
	}
	return from, to, nil
}

// checkpointLag is how many bytes of the log are behind what the last but one checkpoint says.
func (s *Store) checkpointLag() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appended - s.checkpointed
}

// put appends messages to some queues; some are hidden first and published at once.
func (b *beside) put(rng *rand.Rand, queues []*Queue, group int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var batch Batch
	q := queues[rng.IntN(len(queues))]
	if rng.IntN(40) == 0 {
		body := fmt.Sprintf("hidden %d", group)
		batch.Add(q, 0, []byte(body))
		if _, err := b.store.AppendHidden(group, &batch); err != nil {
			return err
		}
		if _, err := b.store.Publish(group); err != nil {
			return err
		}
		b.noteLocked(q, body)
		return nil
	}
	for i := range 1 + rng.IntN(6) {
		q := queues[rng.IntN(len(queues))]
		body := fmt.Sprintf("%d.%d %s", group, i, strings.Repeat("y", rng.IntN(300)))
		batch.Add(q, 0, []byte(body))
		b.noteLocked(q, body)
	}
	_, err := b.store.Append(&batch)
	return err
}

// readParts reads a queue from its minimum on, in parts that have no gap.
func readParts(q *Queue, rng *rand.Rand) (parts [][]string, err error) {
	part := []string(nil)
	for offset := q.Stat().Min; ; {
		raw, err := q.Read(nil, offset, 1<<20, 1+rng.IntN(4<<10), rng.IntN(2) == 0)
		var moved *MovedError
		switch {
		case errors.Is(err, ErrCold):
			continue
		case errors.Is(err, ErrEnd):
			return append(parts, part), nil
		case errors.As(err, &moved) && moved.Offset > offset:
			parts, part, offset = append(parts, part), nil, moved.Offset
			continue
		case err != nil:
			return nil, fmt.Errorf("%s at %d: %w", queueKey(q), offset, err)
		}
		for {
			m, n, err := protocol.DecodeMessage(raw)
			if err != nil {
				return nil, fmt.Errorf("%s at %d: %w", queueKey(q), offset, err)
			}
			if n == 0 {
				break
			}
			part, raw, offset = append(part, string(m.Data)), raw[n:], offset+int64(n)
		}
	}
}

// TestRewrite_BesideEverything: puts, hidden groups, readers of every kind, retention and archives, few mappings, and copies of the disk as a
// kill leaves it, all at the same time as segments are rewritten.
func TestRewrite_BesideEverything(t *testing.T) {
	for range chaos.Pick(3, 60) {
		seed := chaos.Seed(t)
		runBeside(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func runBeside(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 31))
	b := &beside{fsys: vfs.NewMem(), want: map[string][]string{}, position: map[string]map[string]int{}}
	rules := Rules{FlushMessages: 1000, SegmentSize: 4 << 10, Retention: Policy{MaxBytes: 96 << 10, Archive: seed%2 == 0}}
	o := testOptions(b.fsys, rules)
	o.LogSegmentSize, o.HotBytes = 16<<10, 8<<10
	b.store = mustOpen(t, o)
	b.store.mapped.max = 3
	var queues []*Queue
	for p := range 2 + rng.IntN(5) {
		queues = append(queues, mustQueue(t, b.store, "t", int32(p)))
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for n := range 3 {
		own := rand.New(rand.NewPCG(seed, uint64(100+n)))
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				q := queues[own.IntN(len(queues))]
				parts, err := readParts(q, own)
				for _, part := range parts {
					if err == nil {
						_, _, err = b.follows(queueKey(q), part)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Go(func() { // retention, which removes segments and archives from rewritten ones
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := b.store.Expire(b.store.now()); err != nil {
				t.Errorf("retention: %v", err)
				return
			}
		}
	})
	readers.Go(func() { // kills, in the middle of whatever is going on
		for {
			select {
			case <-stop:
				return
			default:
				b.copied(t, o)
			}
		}
	})
	rewritten := 0
	for group := int64(1); rewritten < 25 && group < 20000 && !t.Failed(); group++ {
		if err := b.put(rng, queues, group); err != nil {
			t.Fatalf("put: %v", err)
		}
		// Retention takes what lies too far back once it is in a checkpoint: puts that run ahead of the checkpoints would leave nothing to rewrite.
		waitFor(t, "a checkpoint", func() bool { return b.store.checkpointLag() <= 4*o.LogSegmentSize })
		if g := b.store.nextRewrite(); g != nil {
			err := b.store.rewriteSegment(g, func(int64) bool { return true })
			switch {
			case err == nil:
				rewritten++
			case !errors.Is(err, errNotWorth) && !errors.Is(err, errRemoved):
				t.Errorf("rewrite %s: %v", g.name, err)
			}
			g.judged.Store(true)
		}
	}
	close(stop)
	readers.Wait()
	if rewritten < 25 {
		t.Errorf("%d segments rewritten", rewritten)
	}
	b.copied(t, o)
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// copied opens the disk as a kill leaves it now: sound, and with everything that was put before, as far as retention keeps it.
func (b *beside) copied(t *testing.T, o Options) {
	t.Helper()
	b.mu.Lock()
	ends := map[string]int{}
	for key, list := range b.want {
		ends[key] = len(list)
	}
	b.mu.Unlock()
	fsys := b.fsys.KillClone()
	r, err := Check(CheckOptions{FS: fsys, Dir: o.Dir, BootID: o.BootID})
	if err != nil || !r.Sound() {
		t.Errorf("a killed store: %v, %s", err, describe(r))
		return
	}
	o.FS = fsys
	s, err := Open(o)
	if err != nil {
		t.Errorf("open a killed store: %v", err)
		return
	}
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, q := range s.Queues() {
		parts, err := readParts(q, rng)
		to := 0
		for _, part := range parts {
			if err == nil {
				_, to, err = b.follows(queueKey(q), part)
			}
		}
		if err != nil {
			t.Errorf("a killed store: %v", err)
		} else if to < ends[queueKey(q)] {
			t.Errorf("a killed store: %s ends with message %d, %d were put", queueKey(q), to, ends[queueKey(q)])
		}
	}
}
