package store

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// appendOne appends a message without waiting for anything.
func appendOne(t testing.TB, s *Store, q *Queue, body string) Position {
	t.Helper()
	var b Batch
	b.Add(q, 0, []byte(body))
	ack, err := s.Append(&b)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return ack
}

// syncs counts the calls that make segments durable.
func syncs(m *vfs.Mem) int {
	n := 0
	for _, op := range m.Calls() {
		if op.Kind == vfs.OpSync && strings.Contains(op.Name, "/log/") && !strings.Contains(op.Name, ".idx") {
			n++
		}
	}
	return n
}

func TestGroupCommit_NothingIsReadableBeforeItsFlush(t *testing.T) {
	fsys := vfs.NewMem()
	s := mustOpen(t, testOptions(fsys, groupCommit))
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "first")
	hold, held := make(chan struct{}), make(chan struct{}, 100)
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			held <- struct{}{}
			<-hold
		}
		return nil
	})
	ack := appendOne(t, s, q, "second")
	<-held
	if s.Acked(ack) {
		t.Error("acknowledged before the flush")
	}
	if got := bodies(t, q, 0); len(got) != 1 {
		t.Errorf("readable before the flush: %q", got)
	}
	close(hold)
	if err := s.wait(ack); err != nil {
		t.Fatal(err)
	}
	if got := bodies(t, q, 0); len(got) != 2 {
		t.Errorf("after the flush: %q", got)
	}
}

func TestGroupCommit_OneFlushForAllThatWaits(t *testing.T) {
	fsys := vfs.NewMem()
	s := mustOpen(t, testOptions(fsys, groupCommit))
	var queues []*Queue
	for p := range int32(50) {
		queues = append(queues, mustQueue(t, s, "t", p))
	}
	put(t, s, queues[0], "x")
	hold, first := make(chan struct{}), make(chan struct{}, 100)
	fsys.ForgetCalls()
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && strings.Contains(op.Name, "/log/") { // not the file flushed, which is made at the start
			first <- struct{}{}
			<-hold
		}
		return nil
	})
	appendOne(t, s, queues[0], "starts a flush")
	<-first
	var last Position
	for _, q := range queues {
		last = appendOne(t, s, q, "comes meanwhile")
	}
	close(hold)
	if err := s.wait(last); err != nil {
		t.Fatal(err)
	}
	if n := syncs(fsys); n != 2 {
		t.Errorf("%d flushes, want 2: the first, and one for the 50 queues that waited", n)
	}
}

func TestFlush_ByCountAndByInterval(t *testing.T) {
	fsys := vfs.NewMem()
	s := mustOpen(t, testOptions(fsys, Rules{FlushMessages: 10, FlushInterval: time.Hour}))
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "makes the queue durable")
	fsys.ForgetCalls()
	for i := range 9 {
		if ack := appendOne(t, s, q, "x"); !s.Acked(ack) {
			t.Fatalf("message %d waits for a flush", i)
		}
	}
	if n := syncs(fsys); n != 0 {
		t.Fatalf("%d flushes before the threshold", n)
	}
	appendOne(t, s, q, "the tenth")
	waitFor(t, "the flush by count", func() bool { return syncs(fsys) == 1 })

	s.SetRules(rulesOf(Rules{FlushMessages: 1000, FlushInterval: time.Millisecond}))
	end := appendOne(t, s, q, "alone")
	if end != 0 {
		t.Fatal("it waits")
	}
	waitFor(t, "the flush by interval", func() bool { st := s.Stats(); return st.Flushed == st.Appended })
}

// Messages that come while a flush is under way are not a part of it, and count for the next one.
func TestFlush_CountsWhatComesMeanwhile(t *testing.T) {
	fsys := vfs.NewMem()
	s := mustOpen(t, testOptions(fsys, Rules{FlushMessages: 10, FlushInterval: time.Hour}))
	q, other := mustQueue(t, s, "t", 0), mustQueue(t, s, "t", 1)
	put(t, s, q, "makes both queues durable")
	flushes := s.Stats().Flushes
	began, hold := make(chan struct{}), make(chan struct{})
	var first sync.Once
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			first.Do(func() { close(began); <-hold })
		}
		return nil
	})
	for range 10 {
		appendOne(t, s, other, "x")
	}
	<-began
	for range 9 {
		appendOne(t, s, q, "comes meanwhile")
	}
	close(hold)
	waitFor(t, "the flush of the first ten", func() bool { return s.Stats().Flushes == flushes+1 })
	appendOne(t, s, q, "the tenth")
	waitFor(t, "the flush of the next ten", func() bool { st := s.Stats(); return st.Flushed == st.Appended })
}

func TestFlush_TheShortestIntervalCounts(t *testing.T) {
	o := testOptions(vfs.NewMem(), groupCommit)
	o.Rules = rulesByTopic(map[string]Rules{"slow": {FlushMessages: 1000, FlushInterval: time.Hour}, "quick": {FlushMessages: 1000, FlushInterval: time.Millisecond}})
	s := mustOpen(t, o)
	slow, quick := mustQueue(t, s, "slow", 0), mustQueue(t, s, "quick", 0)
	put(t, s, slow, "makes the queue durable")
	put(t, s, quick, "makes the queue durable")
	appendOne(t, s, slow, "sets the timer to an hour")
	appendOne(t, s, quick, "does not wait for that")
	waitFor(t, "the flush by the shorter interval", func() bool { st := s.Stats(); return st.Flushed == st.Appended })
}

func TestFlush_UnflushedBytesAreBounded(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, Rules{FlushMessages: math.MaxInt32, FlushInterval: time.Hour})
	o.MaxUnflushed = 32 << 10
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "makes the queue durable")
	hold := make(chan struct{})
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			<-hold
		}
		return nil
	})
	var ack Position
	for i := 0; s.Acked(ack); i++ {
		if i > 100 {
			t.Fatal("100 KiB are acknowledged and not flushed")
		}
		ack = appendOne(t, s, q, strings.Repeat("x", 1000))
	}
	st := s.Stats()
	if readable := q.Stat().End; readable > st.Flushed+o.MaxUnflushed {
		t.Errorf("readable up to %d although only %d is flushed", readable, st.Flushed)
	}
	close(hold)
	if err := s.wait(ack); err != nil {
		t.Fatal(err)
	}
}

func TestPoison_AfterAFailedFlushNothingIsAcknowledgedAndReadsGoOn(t *testing.T) {
	fsys := vfs.NewMem()
	s := mustOpen(t, testOptions(fsys, groupCommit))
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "safe")
	broken := errors.New("the disk says no")
	fsys.ForgetCalls()
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			return broken
		}
		return nil
	})
	if err := s.wait(appendOne(t, s, q, "lost")); !errors.Is(err, ErrPoisoned) || !errors.Is(err, broken) {
		t.Fatalf("a failed flush: %v", err)
	}
	fsys.Inject(nil)
	var b Batch
	b.Add(q, 0, []byte("later"))
	if _, err := s.Append(&b); !errors.Is(err, ErrPoisoned) {
		t.Errorf("append afterwards: %v", err)
	}
	if _, err := s.CommitOffset("t", "g", 0, 1); !errors.Is(err, ErrPoisoned) {
		t.Errorf("commit afterwards: %v", err)
	}
	if n := syncs(fsys); n > 1 {
		t.Errorf("the flush was tried %d times", n)
	}
	equal(t, "reads", bodies(t, q, 0), []string{"safe"})
	if s.Stats().Failed == nil {
		t.Error("the statistics do not say it")
	}
}

func TestFull_RefusesPutsAndComesBackByItself(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "before")
	fsys.SetCapacity(200 << 10) // room for a segment or two of 64 KiB
	stored := []string{"before"}
	var err error
	for i := 0; err == nil; i++ {
		if i > 1000 {
			t.Fatal("the disk is never full")
		}
		var b Batch
		body := fmt.Sprintf("%d%s", i, strings.Repeat("x", 1000))
		b.Add(q, 0, []byte(body))
		var ack Position
		if ack, err = s.Append(&b); err == nil {
			if err := s.wait(ack); err != nil {
				t.Fatal(err)
			}
			stored = append(stored, body)
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("on a full disk: %v", err)
	}
	equal(t, "reads on a full disk", bodies(t, q, 0), stored)
	fsys.SetCapacity(1 << 30)
	waitFor(t, "the store to take puts again", func() bool {
		var b Batch
		b.Add(q, 0, []byte("after"))
		ack, err := s.Append(&b)
		return err == nil && s.wait(ack) == nil
	})
	equal(t, "nothing is missing", bodies(t, q, 0), append(stored, "after"))
}

func TestAppendAndRead_DoNotAllocatePerMessage(t *testing.T) {
	s := mustOpen(t, Options{FS: vfs.NewMem(), Dir: "data", LogSegmentSize: 16 << 20, Rules: rulesOf(Rules{FlushMessages: math.MaxInt32, FlushInterval: time.Hour})})
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "makes the queue durable")
	data := make([]byte, 100)
	var b Batch
	fill := func() {
		b.Reset()
		for range 64 {
			b.Add(q, 0, data)
		}
		if _, err := s.Append(&b); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	// The index grows now and then, so less than one allocation for the 64 messages of a batch.
	if n := testing.AllocsPerRun(500, fill); n >= 1 {
		t.Errorf("%v allocations for a batch of 64", n)
	}
	buf := make([]byte, 0, 64<<10)
	var views [][]byte
	use := func(v Views) { buf = append(buf[:0], v.Parts[0]...) }
	if n := testing.AllocsPerRun(100, func() {
		var err error
		if views, err = q.Gather(views, 43, 32<<10, 32<<10, true, use); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a read", n)
	}
}
