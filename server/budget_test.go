package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
)

func TestBudget_SharesWhatIsFree(t *testing.T) {
	lim := &limits{buffered: 1 << 20, highWater: 600 << 10}
	var b budget
	for held, want := range map[int64]int{0: 600 << 10, 512 << 10: 512 << 10, 1<<20 - 100: freeShare, 1 << 20: freeShare, 5 << 20: freeShare} {
		b.held.Store(held)
		if got := b.share(lim); got != want {
			t.Errorf("%d bytes held: a connection may have %d waiting, want %d", held, got, want)
		}
		if got := b.spent(lim); got != (held >= 1<<20) {
			t.Errorf("%d bytes held: spent %v", held, got)
		}
	}
}

// TestBudget_ReadersShareIt has many readers that take nothing: together they have no more than the bound waiting, and somebody who takes the
// answers gets them, though in pieces.
func TestBudget_ReadersShareIt(t *testing.T) {
	bothWays(t, settings{"maxBufferedBytes": "4M", "maxOutboundBytes": "4M"}, func(t *testing.T, s *Server, addr string) {
		s.setLimits(func(l *limits) { l.stall = patience })
		putMany(t, addr, 40, 50_000)
		gets := strings.Repeat("get t g 0 0 1048576 1\r\n", 200)
		for range 20 {
			dial(t, addr).send(gets)
		}
		waitFor(t, "most of the budget is used", func() bool { return s.budget.held.Load() > 2<<20 })
		good := dial(t, addr)
		for i := range 50 {
			good.send(fmt.Sprintf("get t g 0 0 1048576 %d\r\n", i))
			if r, ok := good.next(); !ok || !r.value || r.opaque != int32(i) || len(r.body) < 50_020 {
				t.Fatalf("answer %d: %d bytes, %v", i, len(r.body), ok)
			}
		}
		if peak, most := s.budget.peak.Load(), int64(4<<20+21*(1<<20)); peak > most {
			t.Errorf("%d bytes were held, want at most %d", peak, most)
		}
	})
}

func TestBudget_RefusesHalfCommands(t *testing.T) {
	bothWays(t, settings{"maxBufferedBytes": "1M"}, func(t *testing.T, s *Server, addr string) {
		putMany(t, addr, 1, 10)
		half := "put t 0 4000000 0 1\r\n" + strings.Repeat("x", 600<<10)
		first, second := dial(t, addr), dial(t, addr)
		first.send(half)
		waitFor(t, "the first half is there", func() bool { return s.budget.held.Load() > 500<<10 })
		second.send(half)
		if text := second.want(protocol.StatusUnavailable); !strings.Contains(text, "maxBufferedBytes") {
			t.Errorf("the answer %q does not name the limit", text)
		}
		second.wantEnd()
		waitFor(t, "what it held is given back", func() bool { return s.budget.held.Load() < 1<<20 })
		small := dial(t, addr)
		small.send("put t 0 5 0 7\r\nhello")
		small.want(protocol.StatusOK)
		if s.budget.refused.Load() == 0 {
			t.Error("the refusal is not counted")
		}
	})
}

func TestBudget_EndsAtNothing(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		putMany(t, addr, 10, 50_000)
		for range 5 {
			c := dial(t, addr)
			c.send(strings.Repeat("get t g 0 0 1048576 1\r\n", 20) + "get t g 0 500200 10 60000 1\r\nput t 0 99 0 1\r\nhal")
			if r, ok := c.next(); !ok || !r.value {
				t.Fatalf("answer %+v", r)
			}
			c.nc.Close()
		}
		waitFor(t, "all is given back", func() bool { return s.admission.count() == 0 && s.budget.held.Load() == 0 })
	})
}

// TestTurn_ManyAnswersGiveWay asks for far more than a pass writes, on more connections than there are loops, and wants every answer in order.
func TestTurn_ManyAnswersGiveWay(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		putMany(t, addr, 10, 50_000)
		const gets = 60
		var commands strings.Builder
		for i := range gets {
			fmt.Fprintf(&commands, "get t g 0 0 1048576 %d\r\n", i)
		}
		list := make([]*client, 8)
		for i := range list {
			list[i] = dial(t, addr)
			list[i].send(commands.String())
		}
		for i := range gets {
			for _, c := range list {
				if r, ok := c.next(); !ok || r.opaque != int32(i) || len(r.body) != 10*50_020 {
					t.Fatalf("answer %d: number %d, %d bytes, %v", i, r.opaque, len(r.body), ok)
				}
			}
		}
		waitFor(t, "nothing waits any more", func() bool { return s.outbound.Load() == 0 })
	})
}
