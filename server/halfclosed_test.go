package server

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// sendEnd closes the client's half of the connection, as `nc -N` does.
func (c *client) sendEnd() {
	c.t.Helper()
	if err := c.nc.(*net.TCPConn).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// Whoever asks for more than the sockets hold and closes its half at once still gets all of it, and so it is with a quit at the end.
func TestHalfClosed_AnswersThePeerHasNotTaken(t *testing.T) {
	for _, last := range []string{"", "quit\r\n"} {
		t.Run("last="+strings.TrimSpace(last), func(t *testing.T) {
			bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
				const size, gets = 1_000_000, 30
				body := strings.Repeat("0123456789", size/10)
				c := dial(t, addr)
				c.send(fmt.Sprintf("put t 0 %d 0 1\r\n%s", size, body))
				c.want(protocol.StatusOK)
				for i := range gets {
					c.send(fmt.Sprintf("get t g 0 0 %d %d\r\n", 2*size, i))
				}
				c.send(last)
				c.sendEnd()
				for i := range gets {
					r, ok := c.next()
					if got := payloads(t, r.body); !ok || r.opaque != int32(i) || len(got) != 1 || got[0] != body {
						t.Fatalf("answer %d: opaque %d, %d bytes, %v; want the message", i, r.opaque, len(r.body), ok)
					}
				}
				c.wantEnd()
				waitFor(t, "nothing is held for the connection", func() bool { return s.budget.held.Load() == 0 && s.outbound.Load() == 0 && s.admission.count() == 0 })
			})
		})
	}
}

// A peer that closes its half and then reads nothing is closed when it has taken nothing for too long.
func TestHalfClosed_PeerThatNeverReads(t *testing.T) {
	s := startServer(t, nil)
	s.setLimits(func(l *limits) { l.stall = hurryTime / 4 })
	putMany(t, s.Addr(), 1, 1_000_000)
	c := dial(t, s.Addr())
	c.send(strings.Repeat("get t g 0 0 1000000 1\r\n", 30))
	c.sendEnd()
	waitFor(t, "the connection is closed, and counts as a slow one", func() bool {
		return s.admission.count() == 0 && s.budget.held.Load() == 0 && stat(t, s.Addr(), "connections", "slow_closed_total") == "1"
	})
}
