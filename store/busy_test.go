package store

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/wait"
)

// testTimeout is the DiskTimeout of these tests, and patience bounds what they wait for.
const (
	testTimeout = 300 * time.Millisecond
	patience    = 20 * time.Second
)

// stuckDisk is a store on a disk of which calls of one kind hang while they are held.
func stuckDisk(t *testing.T, kind vfs.Kind) (s *Store, hold func() (release func())) {
	t.Helper()
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	o.DiskTimeout = testTimeout
	s = mustOpen(t, o)
	var gate atomic.Pointer[chan struct{}]
	fsys.Inject(func(op vfs.Op) error {
		if g := gate.Load(); g != nil && op.Kind == kind {
			<-*g
		}
		return nil
	})
	return s, func() func() {
		c := make(chan struct{})
		gate.Store(&c)
		return func() {
			gate.Store(nil)
			close(c)
		}
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	wait.Until(t, 5*time.Millisecond, patience, what, ok)
}

// told receives what a waiter was told.
func told(t *testing.T, c waitChan) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		t.Fatalf("nobody was told within %s", patience)
		return nil
	}
}

func TestBusy_StuckFlush(t *testing.T) {
	s, hold := stuckDisk(t, vfs.OpSync)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "first")
	release := hold()
	ack := appendOne(t, s, q, "second")
	impatient, patient := make(waitChan, 1), make(waitChan, 1)
	began := time.Now()
	s.AwaitPatiently(ack, patient)
	s.Await(ack, impatient)
	var busy *BusyError
	if err := told(t, impatient); !errors.As(err, &busy) || !busy.Unknown || busy.For < testTimeout {
		t.Errorf("told %v, want that it is not known after %s", err, testTimeout)
	}
	if waited := time.Since(began); waited < testTimeout-watchEvery {
		t.Errorf("told after %s", waited)
	}
	eventually(t, "busy", func() bool { return s.Busy() != nil })
	if s.Busy().Blocks() {
		t.Error("a flush holds no lock")
	}
	end := s.Stats().Appended
	var b Batch
	b.Add(q, 0, []byte("refused"))
	if _, err := s.Append(&b); !errors.As(err, &busy) || busy.Unknown {
		t.Errorf("append: %v", err)
	}
	if _, err := s.CommitOffset("t", "g", 0, 0); !errors.As(err, &busy) {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.CreateQueue("t", 1); !errors.As(err, &busy) {
		t.Errorf("a new queue: %v", err)
	}
	if st := s.Stats(); st.Appended != end || st.BusyAnswers != 1 {
		t.Errorf("%d bytes were written while the disk was stuck, %d waiters were told", st.Appended-end, st.BusyAnswers)
	}
	if got := bodies(t, q, 0); len(got) != 1 {
		t.Errorf("readable while the disk is stuck: %q", got)
	}
	select {
	case err := <-patient:
		t.Errorf("the patient one was told %v", err)
	default:
	}
	release()
	if err := told(t, patient); err != nil {
		t.Errorf("the patient one: %v", err)
	}
	eventually(t, "not busy any more", func() bool { return s.Busy() == nil })
	put(t, s, q, "third")
	if got := bodies(t, q, 0); len(got) != 3 || got[1] != "second" {
		t.Errorf("readable afterwards: %q", got)
	}
	if n := s.BusyTimes(); n != 1 {
		t.Errorf("stuck %d times", n)
	}
}

func TestBusy_StuckWriteRefusesBeforeTheLock(t *testing.T) {
	s, hold := stuckDisk(t, vfs.OpWriteAt)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "first")
	release := hold()
	appended := make(chan error, 1)
	go func() {
		var b Batch
		b.Add(q, 0, []byte("hangs"))
		_, err := s.Append(&b)
		appended <- err
	}()
	eventually(t, "busy", func() bool { return s.Busy() != nil })
	if !s.Busy().Blocks() {
		t.Error("a write holds the lock")
	}
	c := make(waitChan, 1)
	s.Await(Position(s.flushed.Load()+1), c) // as one that was appended before the write began
	var busy *BusyError
	if err := told(t, c); !errors.As(err, &busy) || !busy.Unknown {
		t.Errorf("told %v", err)
	}
	var b Batch
	b.Add(q, 0, []byte("refused"))
	if _, err := s.Append(&b); !errors.As(err, &busy) || busy.Unknown {
		t.Errorf("append: %v", err)
	}
	release()
	if err := <-appended; err != nil {
		t.Errorf("the append that hung: %v", err)
	}
	eventually(t, "not busy any more", func() bool { return s.Busy() == nil })
	put(t, s, q, "third")
	if got := bodies(t, q, 0); len(got) != 3 {
		t.Errorf("readable afterwards: %q", got)
	}
}

func TestBusy_ZeroWaitsForEver(t *testing.T) {
	s, hold := stuckDisk(t, vfs.OpSync)
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "first")
	release := hold()
	ack := appendOne(t, s, q, "second")
	c := make(waitChan, 1)
	s.Await(ack, c)
	s.SetDiskTimeout(0)
	began := s.disk.clock.Load()
	eventually(t, "some looks of the watchdog", func() bool { return s.disk.clock.Load() >= began+int64(testTimeout+watchEvery) })
	if s.Busy() != nil || len(c) != 0 {
		t.Error("busy although the time is not bounded")
	}
	release()
	if err := told(t, c); err != nil {
		t.Error(err)
	}
}

func TestDiskCall_Age(t *testing.T) {
	var c diskCall
	steps := []struct {
		do   func()
		at   time.Duration
		want time.Duration
	}{
		{func() {}, 1, 0},
		{c.begin, 2, 0}, // seen first
		{func() {}, 5, 3},
		{func() { c.end(); c.begin() }, 6, 0}, // another one
		{func() {}, 9, 3},
		{c.end, 10, 0},
		{func() {}, 20, 0},
	}
	for i, step := range steps {
		step.do()
		if got := c.age(step.at); got != step.want {
			t.Errorf("step %d: age %d, want %d", i, got, step.want)
		}
	}
}
