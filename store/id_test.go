package store

import (
	"math/rand/v2"
	"testing"
	"time"
)

const idTestNow = idEpoch + 500_000_000_000

func newTestIDWorker(t *testing.T, broker int) *idWorker {
	t.Helper()
	w, err := newIDWorker(broker)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestIDWorker_LayoutIsTheOriginals(t *testing.T) {
	w := newTestIDWorker(t, 3)
	id := w.next(idTestNow)
	if want := int64(500_000_000_000<<22 | 3<<12); id != want {
		t.Fatalf("first id %d, want %d", id, want)
	}
	if second := w.next(idTestNow); second != id+1 {
		t.Fatalf("second id of the millisecond %d, want %d", second, id+1)
	}
	if got, want := IDTime(id), time.UnixMilli(idTestNow); !got.Equal(want) {
		t.Fatalf("IDTime %v, want %v", got, want)
	}
}

func TestIDWorker_BorrowsTimeWhenTheSequenceIsUsedUp(t *testing.T) {
	w := newTestIDWorker(t, 1023)
	var id int64
	for range 4097 {
		id = w.next(idTestNow)
	}
	if got, want := IDTime(id), time.UnixMilli(idTestNow+1); !got.Equal(want) {
		t.Fatalf("the id after 4096 of a millisecond has time %v, want %v", got, want)
	}
	if broker := id >> 12 & 1023; broker != 1023 {
		t.Fatalf("broker bits %d after borrowing, want 1023", broker)
	}
}

func TestIDWorker_AlwaysIncreasesWhateverTheClockDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := newTestIDWorker(t, 7)
	now, last := int64(idTestNow), int64(-1)
	for i := range 200_000 {
		switch rng.IntN(1000) {
		case 0:
			now -= rng.Int64N(3_600_000)
		case 1:
			now += rng.Int64N(3_600_000)
		case 2:
			w.observe(w.last + rng.Int64N(1<<40) - 1<<39)
		}
		id := w.next(now)
		if id <= last {
			t.Fatalf("id %d at step %d is not beyond %d", id, i, last)
		}
		if id>>12&1023 != 7 {
			t.Fatalf("id %d at step %d has another broker's bits", id, i)
		}
		last = id
	}
}

func TestIDWorker_StaysBeyondWhatWasStored(t *testing.T) {
	tests := []struct {
		name     string
		observed int64
	}{
		{"own id of the future", (500_000_000_000+60_000)<<22 | 3<<12 | 9},
		{"own last id of a millisecond", 500_000_000_000<<22 | 3<<12 | 4095},
		{"id of a smaller broker", 500_000_000_000<<22 | 2<<12 | 4095},
		{"id of a greater broker", 500_000_000_000<<22 | 4<<12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newTestIDWorker(t, 3)
			w.observe(tt.observed)
			id := w.next(idTestNow)
			if id <= tt.observed {
				t.Fatalf("id %d is not beyond the stored %d", id, tt.observed)
			}
			if broker := id >> 12 & 1023; broker != 3 {
				t.Fatalf("broker bits %d, want 3", broker)
			}
			if ahead := id>>22 - tt.observed>>22; ahead > 1 {
				t.Fatalf("borrowed %d ms, want at most 1", ahead)
			}
		})
	}
}

func TestIDWorker_NeverGivesZeroOrLess(t *testing.T) {
	w := newTestIDWorker(t, 0)
	w.observe(-5)
	w.observe(1<<63 - 1)
	for _, now := range []int64{-1 << 62, 0, idEpoch} {
		if id := w.next(now); id <= 0 {
			t.Fatalf("id %d at %d", id, now)
		}
	}
}

func TestNewIDWorker_RefusesBrokerIDsOfMoreThanTenBits(t *testing.T) {
	for _, id := range []int{-1, 1024} {
		if _, err := newIDWorker(id); err == nil {
			t.Fatalf("broker id %d was accepted", id)
		}
	}
}
