package client

import (
	"math/rand/v2"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// Calls come and go at random, some of them after a very long time, beside a map that does the same.
func TestCalls_AreFoundByTheirOpaque(t *testing.T) {
	for _, first := range []int32{0, protocol.NoOpaque - 1000} { // with the end of the opaques, too
		random := rand.New(rand.NewPCG(1, uint64(first)))
		c := calls{first: first}
		waiting := map[int32]int{}
		var order []int32
		told := -1
		for n := range 100_000 {
			if random.IntN(2) == 0 || len(order) == 0 {
				opaque := c.add(func(*protocol.Response, error) { told = n })
				if _, double := waiting[opaque]; double || opaque < 0 || opaque == protocol.NoOpaque {
					t.Fatalf("opaque %d is given twice, or is none", opaque)
				}
				waiting[opaque] = n
				order = append(order, opaque)
				continue
			}
			i := 0
			switch random.IntN(1000) {
			case 0: // the oldest
			default: // one of the newer ones, so that a few become very old
				i = max(0, len(order)-1-random.IntN(20))
			}
			opaque := order[i]
			order = append(order[:i], order[i+1:]...)
			fn := c.take(opaque)
			if fn == nil {
				t.Fatalf("call %d of opaque %d is not found", waiting[opaque], opaque)
			}
			if fn(nil, nil); told != waiting[opaque] {
				t.Fatalf("opaque %d has call %d, want %d", opaque, told, waiting[opaque])
			}
			delete(waiting, opaque)
			if c.take(opaque) != nil {
				t.Fatalf("opaque %d is answered twice", opaque)
			}
		}
		if len(c.ring) > 4*(len(order)+leastRing) {
			t.Errorf("the ring has %d places for %d calls", len(c.ring), len(order))
		}
		for _, unknown := range []int32{-1, protocol.NoOpaque} {
			if c.take(unknown) != nil {
				t.Errorf("opaque %d has a call", unknown)
			}
		}
		for i, fn := range c.takeAll() {
			if fn(nil, nil); told != waiting[order[i]] {
				t.Fatalf("call %d is the %dth to end, want %d", told, i, waiting[order[i]])
			}
		}
		if c.count != 0 || len(c.late) != 0 {
			t.Error("calls are left")
		}
	}
}
