package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// noRoom is a store whose disk is full to the last byte, and whose log does not hold another message of one byte. taken is what it holds.
func noRoom(t *testing.T, r Rules) (s *Store, fsys *vfs.Mem, q *Queue, taken int) {
	t.Helper()
	s, fsys = fullDisk(t, DiskLimits{}, r)
	q = mustQueue(t, s, "t", 0)
	awaitReserve(t, s)
	fill := func(size int) (n int) {
		for ; n < 10000; n++ {
			var b Batch
			b.Add(q, 0, make([]byte, size))
			if _, err := s.Append(&b); err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				break
			}
			// The reserve is made for a segment or two without an index, not for dozens of small ones that were filled within a millisecond.
			waitFor(t, "full segments to be sealed", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.toSeal) <= 1 || s.diskFull.Load() != nil
			})
		}
		return n
	}
	taken = fill(1000)
	waitFor(t, "the disk to be full", func() bool { // sealing takes room, and gives some back
		used := diskHolds(t, fsys)
		fsys.SetCapacity(used)
		n := fill(1)
		taken += n
		return n == 0 && diskHolds(t, fsys) == used
	})
	waitFor(t, "what was taken to be readable", func() bool { return len(bodies(t, q, 0)) == taken })
	return s, fsys, q, taken
}

// diskHolds is the size of all files.
func diskHolds(t *testing.T, fsys *vfs.Mem) (sum int64) {
	t.Helper()
	for _, dir := range []string{"data", "data/log", "data/reserve"} {
		names, err := fsys.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			size, err := fsys.Stat(dir + "/" + n)
			if err != nil && !isNotExist(err) { // it may be gone by now
				t.Fatal(err)
			}
			sum += size
		}
	}
	return sum
}

func awaitReserve(t *testing.T, s *Store) {
	t.Helper()
	waitFor(t, "the reserve", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.reserve.whole
	})
}

// A disk that is full and does not answer either is noticed also where only the reserve is left.
func TestReserve_StuckDisk(t *testing.T) {
	s, fsys, _, _ := noRoom(t, groupCommit)
	s.SetDiskTimeout(testTimeout)
	gate := make(chan struct{})
	release := sync.OnceFunc(func() { close(gate) })
	defer release()
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpOpen {
			<-gate
		}
		return nil
	})
	committed := make(chan error, 1)
	go func() {
		_, err := s.CommitOffset("t", "g", 0, 1)
		committed <- err
	}()
	eventually(t, "busy", func() bool { return s.Busy() != nil && s.Busy().Blocks() })
	var busy *BusyError
	if _, err := s.CommitOffset("t", "h", 0, 1); !errors.As(err, &busy) {
		t.Errorf("another commit: %v", err)
	}
	release()
	if err := <-committed; err != nil {
		t.Errorf("the commit that hung: %v", err)
	}
}

// Consumers go on committing with no room at all, and leave half of the reserve to what makes room. Puts are refused meanwhile, and so are new
// partitions, which would fill it too.
func TestReserve_CommitsLeaveHalf(t *testing.T) {
	s, fsys, q, _ := noRoom(t, groupCommit)
	commits, err := 0, error(nil)
	for ; commits < 10000 && err == nil; commits++ {
		_, err = s.CommitOffset("t", "g", 0, int64(commits))
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d commits: %v", commits, err)
	}
	s.mu.Lock()
	used, size, reserve := s.appended-s.open.base, s.open.limit-s.open.base, s.open.reserve
	s.mu.Unlock()
	if !reserve || used > size/2 || used < size/4 {
		t.Errorf("%d commits take %d of %d bytes of the reserve (%v)", commits, used, size, reserve)
	}
	var full *FullError
	var b Batch
	b.Add(q, 0, []byte("x"))
	if _, err := s.Append(&b); !errors.As(err, &full) || full.Reserve == 0 || !strings.Contains(err.Error(), "reserve") {
		t.Errorf("a put while the reserve is in use: %v", err)
	}
	if _, err := s.CreateQueue("t", 1); !errors.As(err, &full) {
		t.Errorf("a new partition while the reserve is in use: %v", err)
	}
	if _, err := s.appendControl(kindTrim, q.id, 0, nil, nil); err != nil {
		t.Errorf("what makes room has none: %v", err)
	}
	fsys.SetCapacity(2 << 20)
	waitFor(t, "puts to be taken again", func() bool { return s.Stats().DiskFull == nil })
	awaitReserve(t, s)
	put(t, s, q, "again")
}

// Retention empties a disk that the log has filled to its last byte.
func TestReserve_RetentionMakesRoom(t *testing.T) {
	s, _, q, taken := noRoom(t, Rules{SegmentSize: 4 << 10, Retention: Policy{MaxAge: time.Nanosecond}})
	if err := s.Expire(s.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left := len(bodies(t, q, 0)); left >= taken {
		t.Fatalf("%d messages of %d are left", left, taken)
	}
	waitFor(t, "puts to be taken again", func() bool { return s.Stats().DiskFull == nil })
	put(t, s, q, "again")
}

// A store on a disk without any room is closed in order, and opened again.
func TestReserve_CloseAndOpen(t *testing.T) {
	s, fsys, _, taken := noRoom(t, groupCommit)
	if err := s.Close(); err != nil {
		t.Fatalf("close on a full disk: %v", err)
	}
	fsys.SetCapacity(diskHolds(t, fsys)) // what the end has given back is gone
	o := testOptions(fsys, groupCommit)
	o.LogSegmentSize = 16 << 10
	s = mustOpen(t, o)
	q := s.Queue([]byte("t"), 0)
	if got := len(bodies(t, q, 0)); got != taken {
		t.Errorf("%d messages of %d are there", got, taken)
	}
	if st := s.Stats(); st.DiskFull == nil {
		t.Error("messages are taken on the reserve")
	}
	fsys.SetCapacity(2 << 20)
	waitFor(t, "puts to be taken again", func() bool { return s.Stats().DiskFull == nil })
	put(t, s, q, "again")
}

// The first message behind a start that had to begin in the reserve does not fit the short segment, in which nothing is yet. The next segment
// must not get its name: retention would take the files of the one for those of the other.
func TestReserve_TooShortForTheFirstMessage(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	s := mustOpen(t, o)
	put(t, s, mustQueue(t, s, "t", 0), "small")
	awaitReserve(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fsys.SetCapacity(diskHolds(t, fsys))
	s = mustOpen(t, o)
	if !s.open.reserve {
		t.Fatal("the start has found room for a whole segment")
	}
	fsys.SetCapacity(2 << 20)
	waitFor(t, "puts to be taken again", func() bool { return s.Stats().DiskFull == nil })
	q := s.Queue([]byte("t"), 0)
	want := []string{"small"}
	for i := range 20 { // of which the first alone is longer than the reserve
		want = append(want, fmt.Sprintf("%d %s", i, make([]byte, 20<<10)))
		put(t, s, q, want[len(want)-1])
	}
	waitFor(t, "all segments to be sealed", s.sealedUpTo)
	list := s.segmentList()
	for i := range len(list) - 1 {
		if list[i].base == list[i+1].base {
			t.Errorf("two segments begin at %d", list[i].base)
		}
	}
	s.retention.Lock()
	err := s.removeDead()
	s.retention.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "afterwards", bodies(t, q, 0), want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, o)
	equal(t, "after a restart", bodies(t, s.Queue([]byte("t"), 0), 0), want)
}

// A power cut while the reserve is in use loses nothing that was flushed.
func TestReserve_PowerCut(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		s, fsys, _, taken := noRoom(t, groupCommit)
		for onReserve := false; !onReserve; { // the first few may still have room
			ack, err := s.CommitOffset("t", "g", 0, 42)
			if err != nil {
				t.Fatal(err)
			}
			if flushed {
				if err := s.wait(ack); err != nil {
					t.Fatal(err)
				}
			}
			s.mu.Lock()
			onReserve = s.open.reserve
			s.mu.Unlock()
		}
		for seed := range uint64(40) {
			clone := fsys.CrashClone(rand.New(rand.NewPCG(seed, 0)))
			clone.SetCapacity(2 << 20)
			o := testOptions(clone, groupCommit)
			o.LogSegmentSize, o.BootID = 16<<10, "boot-2"
			after, err := Open(o)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got := len(bodies(t, after.Queue([]byte("t"), 0), 0)); got != taken {
				t.Errorf("seed %d: %d messages of %d are there", seed, got, taken)
			}
			if got, _, ok := after.CommittedOffset([]byte("t"), []byte("g"), 0); flushed && (!ok || got != 42) {
				t.Errorf("seed %d: the committed offset is %d, %v", seed, got, ok)
			}
			if err := after.Close(); err != nil {
				t.Errorf("seed %d: close: %v", seed, err)
			}
		}
	}
}

// What is not empty is no reserve.
func TestReserve_NotEmpty(t *testing.T) {
	s, fsys, _, _ := noRoom(t, groupCommit)
	f, err := fsys.Open("data/reserve/segment")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1}, 100); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range 10000 { // as many as there is room for
		if _, err = s.CommitOffset("t", "g", 0, 1); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a commit: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open.reserve {
		t.Error("it was used all the same")
	}
}
