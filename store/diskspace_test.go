package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/store/vfs"
)

// fullDisk is a store on a disk in memory of 1 MiB, with segments of 16 KiB.
func fullDisk(t *testing.T, limits DiskLimits, r Rules) (*Store, *vfs.Mem) {
	t.Helper()
	fsys := vfs.NewMem()
	fsys.SetCapacity(1 << 20)
	o := testOptions(fsys, r)
	o.LogSegmentSize, o.DiskLimits = 16<<10, limits
	return mustOpen(t, o), fsys
}

// fillDisk appends until the store refuses, and returns how many it took and why it took no more.
func fillDisk(s *Store, queues ...*Queue) (taken int, err error) {
	for ; taken < 10000; taken++ {
		var b Batch
		b.Add(queues[taken%len(queues)], 0, make([]byte, 1000))
		if _, err = s.Append(&b); err != nil {
			return taken, err
		}
		if taken%16 == 0 {
			s.checkDisk()
		}
	}
	return taken, nil
}

func TestDiskLimits_RefusesAndComesBack(t *testing.T) {
	s, fsys := fullDisk(t, DiskLimits{Refuse: 50}, groupCommit)
	q := mustQueue(t, s, "t", 0)
	taken, err := fillDisk(s, q)
	var full *FullError
	if !errors.As(err, &full) || !errors.Is(err, ErrFull) || full.Used < 50 || full.Limit != 50 {
		t.Fatalf("after %d messages: %v", taken, err)
	}
	if taken < 300 || taken > 600 {
		t.Errorf("%d messages of 1000 bytes were taken on half of a disk of 1 MiB", taken)
	}
	waitFor(t, "what was taken to be readable", func() bool { return len(bodies(t, q, 0)) == taken })
	if _, err := s.CommitOffset("t", "g", 0, 20); err != nil {
		t.Errorf("a consumer cannot commit while puts are refused: %v", err)
	}
	if st := s.Stats(); st.DiskFull == nil || st.DiskUsed < 50 {
		t.Errorf("stats: %d%% used, full %v", st.DiskUsed, st.DiskFull)
	}
	fsys.SetCapacity(4 << 20)
	waitFor(t, "puts to be taken again", func() bool { return s.Stats().DiskFull == nil })
	put(t, s, q, "again")
	s.SetDiskLimits(DiskLimits{Refuse: 10})
	if st := s.Stats(); st.DiskFull == nil {
		t.Error("a lower limit is not looked at when it is set")
	}
}

func TestDiskLimits_ALimitJustReachedHasSlack(t *testing.T) {
	s, fsys := fullDisk(t, DiskLimits{Refuse: 50}, groupCommit)
	if _, err := fillDisk(s, mustQueue(t, s, "t", 0)); err == nil {
		t.Fatal("never refused")
	}
	waitFor(t, "the work behind the puts, which takes room too", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.toSeal) == 0 && s.next != nil
	})
	free, total, err := fsys.Free("data")
	if err != nil {
		t.Fatal(err)
	}
	fsys.SetCapacity((total - free) * 1000 / 495) // 49.5 %: below the limit, and within the slack
	if s.checkDisk(); s.Stats().DiskFull == nil {
		t.Error("taken again half a per cent below the limit")
	}
	fsys.SetCapacity((total - free) * 1000 / 485)
	if s.checkDisk(); s.Stats().DiskFull != nil {
		t.Error("still refused beyond the slack")
	}
}

func TestDiskLimits_CleanGivesUpTheOldestOfWhatMayGo(t *testing.T) {
	keep := Rules{SegmentSize: 4 << 10}
	deletes := Rules{SegmentSize: 4 << 10, Retention: Policy{MaxAge: 100 * time.Hour}}
	for _, c := range []struct {
		name    string
		rules   Rules
		cleaned bool
	}{{"delete", deletes, true}, {"keep", keep, false}, {"archive", Rules{SegmentSize: 4 << 10, Retention: Policy{Archive: true, MaxAge: 100 * time.Hour}}, false}} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := fullDisk(t, DiskLimits{Clean: 60, Refuse: 90}, c.rules)
			var queues []*Queue
			for p := range int32(3) {
				queues = append(queues, mustQueue(t, s, "t", p))
			}
			taken, err := 0, error(nil)
			for taken = 0; taken < 3000 && err == nil; taken += 16 {
				for i := range 16 {
					var b Batch
					b.Add(queues[i%3], 0, fmt.Appendf(nil, "%04d %900d", taken+i, 0))
					if _, err = s.Append(&b); err != nil {
						break
					}
				}
				s.checkDisk()
				if !c.cleaned {
					if cleanErr := s.cleanDisk(); cleanErr != nil {
						t.Fatal(cleanErr)
					}
					continue
				}
				waitFor(t, "room", func() bool { // segments go once they are sealed and the checkpoint is behind them
					if cleanErr := s.cleanDisk(); cleanErr != nil {
						t.Fatal(cleanErr)
					}
					used, _ := s.diskUsed()
					return used < 80
				})
			}
			st := s.Stats()
			if c.cleaned != (err == nil) || c.cleaned != (st.Cleaned > 0) {
				t.Fatalf("after %d messages: %v, %d removed early, %d%% used", taken, err, st.Cleaned, st.DiskUsed)
			}
			for _, q := range queues {
				if got := q.Stat(); got.Messages == 0 || c.cleaned != (got.Min > 0) {
					t.Errorf("partition %d holds %d messages from offset %d on", q.Partition(), got.Messages, got.Min)
				}
			}
		})
	}
}

// The disk may have no room for a segment long before the limit: segments are large, and inodes run out on their own.
func TestDiskFull_NoRoomForASegment(t *testing.T) {
	for _, limits := range []DiskLimits{{}, {Refuse: 99}} {
		s, fsys := fullDisk(t, limits, groupCommit)
		q := mustQueue(t, s, "t", 0)
		fsys.Inject(func(op vfs.Op) error { // as without inodes: there is room, but not for another file
			if op.Kind == vfs.OpCreate {
				return syscall.ENOSPC
			}
			return nil
		})
		if st := s.Stats(); st.DiskFull != nil {
			t.Fatalf("full before a put was refused: %v", st.DiskFull)
		}
		taken, err := fillDisk(s, q)
		if !errors.Is(err, ErrFull) {
			t.Fatalf("after %d messages: %v", taken, err)
		}
		if st := s.Stats(); !errors.Is(st.DiskFull, ErrFull) {
			t.Errorf("a put was refused with %v, and the stats say %v", err, st.DiskFull)
		}
		waitFor(t, "what was taken to be readable", func() bool { return len(bodies(t, q, 0)) == taken })
		fsys.Inject(nil)
		waitFor(t, "the disk to have room again, with no put asking for it", func() bool { return s.Stats().DiskFull == nil })
		put(t, s, q, "again")
	}
}

// A batch is laid out before anybody knows whether there is room for it: when there is not, the offsets that it would have had are free again.
func TestAppend_ARefusedBatchLeavesNoHole(t *testing.T) {
	s, fsys := fullDisk(t, DiskLimits{}, groupCommit)
	queues := []*Queue{mustQueue(t, s, "t", 0), mustQueue(t, s, "t", 1)}
	const frames = 6 // of a batch, so that most often the last ones of it have no room
	var err error
	taken := int64(0)
	for ; err == nil && taken < 10000; taken += frames / 2 {
		var b Batch
		for i := range frames {
			b.Add(queues[i%2], 0, make([]byte, 1000))
		}
		if _, err = s.Append(&b); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) || taken == 0 {
		t.Fatalf("after %d messages: %v", taken, err)
	}
	ends := []int64{taken * 1020, taken * 1020}
	fsys.SetCapacity(4 << 20)
	var b Batch
	b.Add(queues[0], 0, []byte("first"))
	b.Add(queues[1], 0, []byte("second"))
	waitFor(t, "room", func() bool { _, err := s.Append(&b); return err == nil })
	for i, want := range ends {
		if _, offset := b.Receipt(i); offset != want {
			t.Errorf("partition %d goes on at offset %d, want %d", i, offset, want)
		}
	}
}

func TestAppend_ATooLargeBatchLeavesNoHole(t *testing.T) {
	s, _ := fullDisk(t, DiskLimits{}, groupCommit)
	queues := []*Queue{mustQueue(t, s, "t", 0), mustQueue(t, s, "t", 1)}
	var b Batch
	for i := range 6 {
		b.Add(queues[i%2], 0, make([]byte, 9000)) // two segments of 16 KiB have no room for them all
	}
	if _, err := s.Append(&b); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a batch of 54 kB with segments of 16 KiB: %v", err)
	}
	for i, q := range queues {
		if offsets := put(t, s, q, "first"); offsets[0] != 0 {
			t.Errorf("partition %d begins at offset %d, want 0", i, offsets[0])
		}
	}
}

// TestFullDisk_IsToldOnce looks at the log while the next segment is tried again and again.
func TestFullDisk_IsToldOnce(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	var lines, tries atomic.Int64
	var full atomic.Bool
	o.Log = zerolog.New(writerFunc(func(line []byte) (int, error) {
		if bytes.Contains(line, []byte("no room for the next segment")) {
			lines.Add(1)
		}
		return len(line), nil
	}))
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpAllocate && strings.Contains(op.Name, "next-") && full.Load() {
			tries.Add(1)
			return syscall.ENOSPC
		}
		return nil
	})
	s := mustOpen(t, o)
	q := mustQueue(t, s, "t", 0)
	eventually(t, "a segment is made ahead", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.next != nil
	})
	full.Store(true)
	for s.Stats().Segments < 2 {
		put(t, s, q, "what uses up the segment that is made ahead, so that the next one is")
	}
	eventually(t, "more tries", func() bool { return tries.Load() > 2 })
	if n := lines.Load(); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
}

// writerFunc is a function as a writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
