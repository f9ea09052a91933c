package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

var groupCommit = Rules{FlushMessages: 0, SegmentSize: 1 << 30}

func rulesOf(r Rules) func(protocol.Topic) Rules { return func(protocol.Topic) Rules { return r } }

func testOptions(fsys vfs.FS, r Rules) Options {
	return Options{FS: fsys, Dir: "data", BrokerID: 7, LogSegmentSize: 64 << 10, MaxUnflushed: 1 << 20, Rules: rulesOf(r), BootID: "boot-1"}
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustQueue(t testing.TB, s *Store, topic string, partition int32) *Queue {
	t.Helper()
	q, err := s.CreateQueue(protocol.Topic(topic), partition)
	if err != nil {
		t.Fatalf("create %s-%d: %v", topic, partition, err)
	}
	return q
}

// put appends messages one batch each and waits until they are acknowledged. It returns their offsets.
func put(t testing.TB, s *Store, q *Queue, bodies ...string) []int64 {
	t.Helper()
	var offsets []int64
	for _, body := range bodies {
		var b Batch
		b.Add(q, 0, []byte(body))
		ack, err := s.Append(&b)
		if err != nil {
			t.Fatalf("append: %v", err)
		}
		if err := s.wait(ack); err != nil {
			t.Fatalf("wait: %v", err)
		}
		_, offset := b.Receipt(0)
		offsets = append(offsets, offset)
	}
	return offsets
}

// bodies reads a queue from an offset to its end and returns the data of its messages.
func bodies(t testing.TB, q *Queue, offset int64) []string {
	t.Helper()
	var list []string
	for {
		b, err := q.Read(nil, offset, 1<<20, 1<<20, false)
		if errors.Is(err, ErrEnd) {
			return list
		}
		var moved *MovedError
		if errors.As(err, &moved) && moved.Offset > offset {
			offset = moved.Offset
			continue
		}
		if err != nil {
			t.Fatalf("read %s-%d at %d: %v", q.topic, q.partition, offset, err)
		}
		for len(b) > 0 {
			n := recordSize(b)
			list = append(list, string(b[protocol.RecordHeader:n]))
			b, offset = b[n:], offset+n
		}
	}
}

func numbered(from, to int) []string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("message number %d", i))
	}
	return list
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d messages, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: message %d is %q, want %q", what, i, got[i], want[i])
		}
	}
}

func TestAppend_OffsetsAreDenseAndReadBack(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "orders", 0)
	offsets := put(t, s, q, "hello", "world", "")
	if offsets[0] != 0 || offsets[1] != 25 || offsets[2] != 50 {
		t.Fatalf("offsets %v, want [0 25 50]", offsets)
	}
	equal(t, "from the start", bodies(t, q, 0), []string{"hello", "world", ""})
	equal(t, "from the second", bodies(t, q, 25), []string{"world", ""})
	if st := q.Stat(); st != (QueueStat{Min: 0, End: 70, Messages: 3, Bytes: 70}) {
		t.Errorf("stat %+v", st)
	}
}

func TestRead_OffsetsThatAreNoMessage(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	var b Batch
	for _, body := range []string{"hello", "world", "again"} {
		b.Add(q, 0, []byte(body)) // one run of three
	}
	ack, err := s.Append(&b)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.wait(ack); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ offset, moved int64 }{
		{-1, 0}, {math.MinInt64, 0}, {7, 0}, {24, 0}, {26, 25}, {49, 25}, {74, 50}, {math.MaxInt64, 75},
	} {
		_, err := q.Read(nil, c.offset, 100, 100, true)
		var moved *MovedError
		if !errors.As(err, &moved) || moved.Offset != c.moved {
			t.Errorf("read at %d: %v, want moved to %d", c.offset, err, c.moved)
		}
	}
	for _, offset := range []int64{75, 76, math.MaxInt64 - 1} {
		if _, err := q.Read(nil, offset, 100, 100, true); !errors.Is(err, ErrEnd) {
			t.Errorf("read at %d: %v, want ErrEnd", offset, err)
		}
	}
}

func TestRead_CutsAnywhereButGivesALargeMessageWhole(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	large := string(bytes.Repeat([]byte("x"), 5000))
	put(t, s, q, "hello", large)
	for _, c := range []struct {
		offset           int64
		max, limit, want int
	}{
		{0, 10, 100, 10}, {0, 26, 100, 26}, {0, 1 << 20, 30, 30},
		{25, 1 << 20, 100, 5020}, {25, 5019, 100, 100}, {25, 5020, 100, 5020},
	} {
		b, err := q.Read(nil, c.offset, c.max, c.limit, true)
		if err != nil || len(b) != c.want {
			t.Errorf("read at %d, max %d, limit %d: %d bytes, %v; want %d", c.offset, c.max, c.limit, len(b), err, c.want)
		}
	}
}

func TestAppend_BatchOverSegmentsAndQueues(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	want := map[*Queue][]string{}
	var queues []*Queue
	for p := range int32(3) {
		queues = append(queues, mustQueue(t, s, "t", p))
	}
	n := 0
	for s.Stats().Segments < 5 {
		var b Batch
		for range 100 {
			q := queues[n%3]
			body := fmt.Sprintf("%d %s", n, bytes.Repeat([]byte("."), n%300))
			b.Add(q, 0, []byte(body))
			want[q] = append(want[q], body)
			n++
		}
		ack, err := s.Append(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.wait(ack); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range queues {
		equal(t, fmt.Sprint("partition ", q.partition), bodies(t, q, 0), want[q])
	}
}

func TestOpen_AfterCloseAndAfterKill(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean=%v", clean), func(t *testing.T) {
			fsys := vfs.NewMem()
			s := mustOpen(t, testOptions(fsys, groupCommit))
			q := mustQueue(t, s, "t", 2)
			put(t, s, q, numbered(0, 3000)...)
			if _, err := s.CommitOffset("t", "g", 2, 75); err != nil {
				t.Fatal(err)
			}
			if err := q.SetClosed(true); err != nil {
				t.Fatal(err)
			}
			id := s.ids.last
			if clean {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				fsys = killed(fsys)
			}
			for round := range 3 {
				s = mustOpen(t, testOptions(fsys, groupCommit))
				q = s.Queue([]byte("t"), 2)
				if q == nil {
					t.Fatal("the queue is gone")
				}
				equal(t, "after the restart", bodies(t, q, 0), numbered(0, 3000+round))
				if offset, _, ok := s.CommittedOffset([]byte("t"), []byte("g"), 2); !ok || offset != 75 {
					t.Errorf("committed offset %d, %v", offset, ok)
				}
				if !q.Closed() {
					t.Error("the queue is open again")
				}
				put(t, s, q, numbered(3000+round, 3001+round)...)
				if s.ids.last <= id {
					t.Errorf("ids went back: %d after %d", s.ids.last, id)
				}
				if clean || round == 2 {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				} else {
					fsys = killed(fsys)
				}
			}
		})
	}
}

// killed is the disk of a process that was killed: everything that was written is there.
func killed(m *vfs.Mem) *vfs.Mem { return m.KillClone() }

func TestWatch_FiresWhenReadable(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	fired := make(chan int64, 2)
	q.Watch(0, func() { fired <- 0 })
	cancel := q.Watch(0, func() { t.Error("a cancelled watch fired") })
	cancel()
	put(t, s, q, "x")
	select {
	case <-fired:
	case <-time.After(5 * time.Second):
		t.Fatal("the watch did not fire")
	}
	if b, err := q.Read(nil, 0, 100, 100, true); err != nil || len(b) != 21 {
		t.Fatalf("read after the watch: %d bytes, %v", len(b), err)
	}
}
