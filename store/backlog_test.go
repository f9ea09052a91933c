package store

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// Whatever a queue's messages look like in the log, and wherever its virtual segments begin: a backlog is what a reader from there gets.
func TestBacklog_IsWhatAReaderGets(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules Rules
	}{
		{"one virtual segment", groupCommit},
		{"virtual segments smaller than a run", Rules{SegmentSize: 700}},
		{"virtual segments larger than a run", Rules{SegmentSize: 20_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 7))
			fsys := vfs.NewMem()
			clock := &jumpyClock{} // which goes on with each batch, and does not jump
			options := testOptions(fsys, c.rules)
			options.Now, options.Uptime = clock.now, clock.uptime
			s := mustOpen(t, options)
			q, other := mustQueue(t, s, "t", 0), mustQueue(t, s, "t", 1)
			var offsets, times []int64 // of every message
			for s.Stats().Segments < 4 {
				clock.real.Add(1 + rng.Int64N(2000))
				var b Batch
				n := 1 + rng.IntN(40)
				for range n {
					b.Add(q, 0, make([]byte, rng.IntN(300)))
				}
				b.Add(other, 0, make([]byte, rng.IntN(2000)))
				ack, err := s.Append(&b)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.wait(ack); err != nil {
					t.Fatal(err)
				}
				for i := range n {
					_, offset := b.Receipt(i)
					offsets, times = append(offsets, offset), append(times, clock.now().UnixMilli())
				}
			}
			check := func(when string, s *Store, first int) {
				t.Helper()
				q := s.Queue([]byte("t"), 0)
				end := q.Stat().End
				for i := first; i < len(offsets); i += 1 + rng.IntN(40) {
					for _, inside := range []int64{0, 5} {
						got, err := q.Backlog(offsets[i] + inside)
						if err != nil || got.Messages != int64(len(offsets)-i) || got.Bytes != end-offsets[i]-inside || got.Oldest != times[i] {
							t.Fatalf("%s: at message %d of %d, %d bytes inside: %+v, %v; the end is %d, its time %d", when, i, len(offsets), inside, got, err, end, times[i])
						}
					}
				}
				for _, beyond := range []int64{end, end + 1, math.MaxInt64} {
					if got, err := q.Backlog(beyond); err != nil || got != (Backlog{}) {
						t.Errorf("%s: at %d, the end is %d: %+v, %v", when, beyond, end, got, err)
					}
				}
			}
			check("as it was written", s, 0)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, options)
			check("after a restart", s, 0)
			q = s.Queue([]byte("t"), 0)
			s.mu.Lock()
			q.trimLocked(q.starts[len(q.starts)/2].offset)
			kept := q.min
			s.mu.Unlock()
			first := 0
			for first < len(offsets) && offsets[first] < kept {
				first++
			}
			check("after messages were removed", s, first)
			if got, err := q.Backlog(0); err != nil || got.Messages != int64(len(offsets)-first) || got.Bytes != q.Stat().Bytes {
				t.Errorf("before the first offset: %+v, %v, want %d messages", got, err, len(offsets)-first)
			}
		})
	}
}

// What was put and may not be read yet is behind nobody.
func TestBacklog_LeavesOutWhatIsNotReadable(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	offsets := put(t, s, q, numbered(0, 10)...)
	s.mu.Lock()
	q.readable = offsets[5] // as it is between an append and its flush
	s.mu.Unlock()
	if got, err := q.Backlog(0); err != nil || got.Messages != 5 || got.Bytes != offsets[5] {
		t.Errorf("%+v, %v, want 5 messages in %d bytes", got, err, offsets[5])
	}
}

// A queue that goes on further up after a power cut has nothing between.
func TestBacklog_OverAGap(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, numbered(0, 10)...)
	s.mu.Lock()
	gap := q.end
	q.jumpLocked(gap + 1000)
	s.mu.Unlock()
	offsets := put(t, s, q, numbered(10, 15)...)
	if offsets[0] != gap+1000 {
		t.Fatalf("the queue goes on at %d, want %d", offsets[0], gap+1000)
	}
	for _, c := range []struct{ offset, messages int64 }{{0, 15}, {gap - 1, 6}, {gap, 5}, {gap + 500, 5}, {offsets[0], 5}, {offsets[4], 1}} {
		if got, err := q.Backlog(c.offset); err != nil || got.Messages != c.messages {
			t.Errorf("at %d: %+v, %v, want %d messages", c.offset, got, err, c.messages)
		}
	}
}

// While others append, and segments are sealed, each answer is true of one moment.
func TestBacklog_WhileOthersAppend(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), Rules{SegmentSize: 5000}))
	q := mustQueue(t, s, "t", 0)
	size := int64(protocol.RecordHeader + len("message number 0"))
	done := make(chan error, 1)
	go func() {
		for s.Stats().Segments < 6 {
			var b Batch
			for range 50 {
				b.Add(q, 0, []byte("message number 0"))
			}
			if _, err := s.Append(&b); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for asked := 0; ; asked++ {
		got, err := q.Backlog(7 * size)
		if err != nil || got.Messages*size != got.Bytes {
			t.Fatalf("%+v, %v: %d messages have %d bytes", got, err, got.Messages, got.Messages*size)
		}
		select {
		case err := <-done:
			if err != nil || asked == 0 {
				t.Fatalf("asked %d times, %v", asked, err)
			}
			return
		default:
		}
	}
}
