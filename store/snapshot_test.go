package store

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// changeAll does to random queues and offsets everything that a checkpoint must show, or must not show yet.
func changeAll(t *testing.T, s *Store, rng *rand.Rand, n int) {
	t.Helper()
	var batch Batch
	for range n {
		queue := s.byID[rng.IntN(len(s.byID))]
		switch rng.IntN(8) {
		case 0:
			mustQueue(t, s, "late", int32(rng.IntN(100)))
		case 1:
			if _, err := s.CommitOffset(queue.topic, protocol.Group(fmt.Sprint("g", rng.IntN(3))), queue.partition, rng.Int64N(1000)); err != nil {
				t.Fatal(err)
			}
		case 2:
			s.mu.Lock()
			to := queue.end
			s.mu.Unlock()
			if _, err := s.appendControl(kindTrim, queue.id, to, nil, func(int64) { queue.trimLocked(to) }); err != nil {
				t.Fatal(err)
			}
		case 3:
			s.mu.Lock()
			queue.jumpLocked(queue.end + 1000)
			s.mu.Unlock()
		default:
			batch.Reset()
			batch.Add(queue, 0, make([]byte, rng.IntN(100)))
			if _, err := s.Append(&batch); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSnapshot_IsTheStateWhenItWasBegun(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		s := mustOpen(t, Options{FS: vfs.NewMem(), Dir: "data", LogSegmentSize: 8 << 20, Rules: rulesOf(Rules{FlushMessages: 1000, SegmentSize: 300})})
		for i := range int32(1000) {
			mustQueue(t, s, "t", i)
		}
		changeAll(t, s, rng, 3000)
		want := s.encodeCheckpoint(s.appended, false)
		s.mu.Lock()
		n := s.beginSnapshotLocked(s.appended, false)
		s.mu.Unlock()
		changeAll(t, s, rng, 300)
		if seed%2 == 0 {
			s.SetRules(rulesOf(Rules{}))
		}
		n.walk(s, func() { changeAll(t, s, rng, 100) })
		got := n.encode(s.salt)
		wantPoint, err := parseCheckpoint("want", want, s.salt)
		if err != nil {
			t.Fatal(err)
		}
		gotPoint, err := parseCheckpoint("got", got, s.salt)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !reflect.DeepEqual(gotPoint, wantPoint) {
			for i, q := range wantPoint.queues {
				if !reflect.DeepEqual(q, gotPoint.queues[i]) {
					t.Errorf("seed %d: queue %d is %+v, want %+v", seed, i+1, gotPoint.queues[i], q)
				}
			}
			t.Fatalf("seed %d: %d queues and %d offsets, want %d and %d", seed, len(gotPoint.queues), len(gotPoint.offsets), len(wantPoint.queues), len(wantPoint.offsets))
		}
		if s.walking != nil {
			t.Fatal("the snapshot is finished, but states are still kept for it")
		}
	}
}

func TestCheckpoint_APowerCutBetweenTheTwoNamesLosesNothing(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	s := mustOpen(t, o)
	put(t, s, mustQueue(t, s, "t", 0), "one")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, o)
	q := s.Queue([]byte("t"), 0)
	put(t, s, q, "two")
	left := fsys.KillClone()
	if err := left.Rename("data/checkpoint", "data/checkpoint.prev"); err != nil {
		t.Fatal(err)
	}
	o.FS = left
	again := mustOpen(t, o)
	if got := again.Queue([]byte("t"), 0).Stat(); got != q.Stat() {
		t.Fatalf("after a start from checkpoint.prev: %+v, want %+v", got, q.Stat())
	}
}
