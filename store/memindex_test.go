package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// memFile is a file of bytes that only grows.
type memFile struct{ b []byte }

func (f *memFile) WriteAt(p []byte, at int64) (int, error) {
	if need := int(at) + len(p); need > len(f.b) {
		f.b = append(f.b, make([]byte, need-len(f.b))...)
	}
	return copy(f.b[at:], p), nil
}

// fillIndex adds n runs of random queues, most of them of queue 1, and returns what was added.
func fillIndex(x *memIndex, rng *rand.Rand, queues, n int) map[uint32][]entry {
	lists := map[uint32][]entry{}
	for i := range n {
		queue := uint32(1)
		if rng.IntN(4) == 0 {
			queue = 1 + uint32(rng.IntN(queues))
		}
		e := entry{logical: int64(i) * 100, pos: int64(i) * 200, time: int64(i / 3), bytes: 100, count: uint32(1 + i%7)}
		x.add(queue, e)
		lists[queue] = append(lists[queue], e)
	}
	return lists
}

func TestMemIndex_IsTheIndexFile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := newMemIndex()
	defer x.release()
	for _, size := range []int{0, 1, 10, 1000, 100_000} {
		lists := fillIndex(x, rng, 5000, size)
		var file memFile
		if err := x.write(&file, 4096, salt(7)); err != nil {
			t.Fatal(err)
		}
		if want := indexBuilder(lists).encode(4096, false, salt(7)); !bytes.Equal(file.b, want) {
			t.Fatalf("%d runs: the file of %d bytes is not the one that is made from the frames, of %d bytes", size, len(file.b), len(want))
		}
		x.reset()
	}
}

func TestMemIndex_FindsWhatASliceFinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	x := newMemIndex()
	defer x.release()
	lists := fillIndex(x, rng, 300, 60_000)
	for queue := uint32(1); queue <= 301; queue++ {
		want := lists[queue]
		r := runs{mem: x.of(queue)}
		if r.len() != len(want) {
			t.Fatalf("queue %d has %d runs, want %d", queue, r.len(), len(want))
		}
		for range 200 {
			if len(want) == 0 {
				continue
			}
			i := rng.IntN(len(want))
			if got := r.at(i); got != want[i] {
				t.Fatalf("run %d of queue %d is %+v, want %+v", i, queue, got, want[i])
			}
			if got := r.find(want[i].logical + int64(rng.IntN(100))); got != i {
				t.Fatalf("queue %d: found run %d, want %d", queue, got, i)
			}
			first := i
			for first > 0 && want[first-1].time >= want[i].time {
				first--
			}
			if got := r.findTime(want[i].time); got != first {
				t.Fatalf("queue %d: found run %d by its time, want %d", queue, got, first)
			}
		}
		if got := r.find(-1); got != -1 {
			t.Fatalf("queue %d: found run %d before the first one", queue, got)
		}
	}
}

func TestMemIndex_AListThatWasTakenDoesNotChange(t *testing.T) {
	x := newMemIndex()
	defer x.release()
	for i := range int64(100) {
		x.add(7, entry{logical: i})
	}
	taken := runs{mem: x.of(7)}
	for i := range int64(10_000) {
		x.add(7, entry{logical: 100 + i})
	}
	if taken.len() != 100 || taken.find(5000) != 99 {
		t.Fatalf("a list of 100 runs has %d, and finds run %d last", taken.len(), taken.find(5000))
	}
}

func TestAppend_ASegmentIsFullWhenItsIndexIs(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), Rules: rulesOf(Rules{FlushMessages: 1 << 30})})
	var batch Batch
	queues := make([]*Queue, 1000)
	for i := range queues {
		queues[i] = mustQueue(t, s, "t", int32(i))
	}
	for n := 0; n <= maxRuns; n += len(queues) {
		batch.Reset()
		for _, q := range queues {
			batch.Add(q, 0, []byte("x"))
		}
		if _, err := s.Append(&batch); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) != 2 || s.segments[0].end-s.segments[0].base > maxRuns*128 || s.open.runs.runs != len(queues) {
		t.Fatalf("%d segments, the open one with %d runs", len(s.segments), s.open.runs.runs)
	}
}

// BenchmarkMemIndex_Add is the share of the index in a put, a run each.
func BenchmarkMemIndex_Add(b *testing.B) {
	for _, queues := range []int{1, 1000, 50_000} {
		b.Run(fmt.Sprintf("queues%d", queues), func(b *testing.B) {
			x := newMemIndex()
			defer x.release()
			b.ReportAllocs()
			for n := 0; n < b.N; n++ {
				if x.runs == maxRuns {
					b.StopTimer()
					x.reset()
					b.StartTimer()
				}
				x.add(uint32(n%queues)+1, entry{logical: int64(n)})
			}
		})
	}
}
