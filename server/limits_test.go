package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/server/config"
	"github.com/metaq/metaq/store"
	"github.com/metaq/metaq/zkcoord"
)

// bothWays runs a test over an event loop and over a plain connection.
func bothWays(t *testing.T, set settings, test func(t *testing.T, s *Server, addr string)) {
	for _, way := range []string{"loop", "plain"} {
		t.Run(way, func(t *testing.T) {
			s := startServer(t, set)
			addr := s.Addr()
			if way == "plain" {
				addr = listenPlain(t, s)
			}
			test(t, s, addr)
		})
	}
}

// setLimits changes bounds that are not in the configuration, or too coarse there for a test.
func (s *Server) setLimits(change func(*limits)) {
	lim := *s.limits.Load()
	change(&lim)
	s.limits.Store(&lim)
}

func TestLimit_LineWithoutEnd(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, _ *Server, addr string) {
		c := dial(t, addr)
		// The client goes on sending long after the limit, and can read the answer all the same.
		c.send("version " + strings.Repeat("1", 3<<20))
		if text := c.want(protocol.StatusBadRequest); !strings.Contains(text, "4096 bytes") || !strings.Contains(text, "maxLineLength") {
			t.Errorf("the answer %q does not name the limit", text)
		}
		c.wantEnd()
	})
}

func TestLimit_DeclaredLength(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		c := dial(t, addr)
		c.send("put t 0 2147483647 0 7\r\nhello")
		r, ok := c.next()
		if !ok || r.status != protocol.StatusBadRequest || r.opaque != 7 || !strings.Contains(r.body, "maxMessageSize") {
			t.Fatalf("answer %+v, want 400 with the opaque and the limit", r)
		}
		c.wantEnd()
		if s.store.Queue([]byte("t"), 0) != nil {
			t.Error("the refused put has made a partition")
		}
	})
}

func TestLimit_LargestMessageComesInPieces(t *testing.T) {
	bothWays(t, settings{"maxMessageSize": "1048576"}, func(t *testing.T, _ *Server, addr string) {
		c := dial(t, addr)
		body := strings.Repeat("0123456789abcdef", 1<<16)
		c.send(fmt.Sprintf("put t 0 %d 0 1\r\n%s", len(body), body))
		c.want(protocol.StatusOK)
		c.send("get t g 0 0 2000000 2\r\n")
		r, _ := c.next()
		if got := payloads(t, r.body); len(got) != 1 || got[0] != body {
			t.Fatalf("%d messages, want the one that was put", len(got))
		}
		c.send(fmt.Sprintf("put t 0 %d 0 3\r\n", len(body)+1))
		c.want(protocol.StatusBadRequest)
	})
}

// TestLimit_MessagesAgainstSegments has segments of the log that are smaller than a message may be otherwise.
func TestLimit_MessagesAgainstSegments(t *testing.T) {
	s := startServer(t, settings{"logSegmentSize": "1M", "maxMessageSize": "4194304"})
	c := dial(t, s.Addr())
	offset := 0
	for _, size := range []int{900_000, 200_000, 200_000, 200_000, 1_000_000, 10, 900_000, 900_000} {
		c.send(fmt.Sprintf("put t 0 %d 0 %d\r\n%s", size, offset, strings.Repeat("x", size)))
		offset += 20 + size
	}
	for range 8 {
		r, _ := c.next()
		if _, _, at, err := protocol.ParsePutResult([]byte(r.body)); err != nil || at != int64(r.opaque) {
			t.Fatalf("%+v: offset %d, %v", r, at, err)
		}
	}
	c.send("put t 0 1100000 0 1\r\n")
	c.want(protocol.StatusBadRequest)
}

// putMany stores count messages of size bytes in partition 0 of topic t.
func putMany(t testing.TB, addr string, count, size int) {
	t.Helper()
	c := dial(t, addr)
	defer c.nc.Close()
	body := strings.Repeat("x", size)
	for i := range count {
		c.send(fmt.Sprintf("put t 0 %d 0 %d\r\n%s", size, i, body))
	}
	for range count {
		c.want(protocol.StatusOK)
	}
}

func TestLimit_ReaderThatPausesGetsEverything(t *testing.T) {
	bothWays(t, settings{"maxOutboundBytes": "262144"}, func(t *testing.T, s *Server, addr string) {
		putMany(t, addr, 1, 200_000)
		c := dial(t, addr)
		const gets = 400 // 80 MB of answers, far more than the sockets hold
		var commands strings.Builder
		for i := range gets {
			fmt.Fprintf(&commands, "get t g 0 0 1000000 %d\r\n", i)
		}
		go c.send(commands.String())
		other := dial(t, addr)
		other.send("version 1\r\n")
		other.want(protocol.StatusOK)
		most := s.outbound.Load()
		for i := range gets {
			r, ok := c.next()
			if !ok || r.opaque != int32(i) || len(r.body) != 200_020 {
				t.Fatalf("answer %d: %d bytes, number %d, %v", i, len(r.body), r.opaque, ok)
			}
			most = max(most, s.outbound.Load())
		}
		if bound := int64(262144 + 200_100 + flushSize); most > bound {
			t.Errorf("%d bytes waited for the reader, want at most %d", most, bound)
		}
	})
}

func TestLimit_ReaderThatNeverReadsIsClosed(t *testing.T) {
	bothWays(t, settings{"maxOutboundBytes": "262144"}, func(t *testing.T, s *Server, addr string) {
		s.setLimits(func(l *limits) { l.stall = 200 * time.Millisecond })
		putMany(t, addr, 1, 200_000)
		c := dial(t, addr)
		c.send(strings.Repeat("get t g 0 0 1000000 1\r\n", 400))
		waitFor(t, "the slow connection is closed", func() bool {
			return stat(t, addr, "connections", "slow_closed_total") == "1"
		})
		other := dial(t, addr)
		other.send("version 1\r\n")
		other.want(protocol.StatusOK)
	})
}

func TestLimit_WriterThatNeverReadsIsClosed(t *testing.T) {
	s := startServer(t, settings{"maxOutboundBytes": "65536", "maxMessageSize": "1024"})
	putMany(t, s.Addr(), 60, 1000)
	c := dial(t, s.Addr())
	go func() { // until it is closed
		gets := strings.Repeat("get t g 0 0 1000000 1\r\n", 1000)
		for {
			_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
			if _, err := c.nc.Write([]byte(gets)); err != nil {
				return
			}
		}
	}()
	waitFor(t, "the connection is closed", func() bool { return stat(t, s.Addr(), "connections", "slow_closed_total") == "1" })
}

func TestLimit_CommandsInFlight(t *testing.T) {
	bothWays(t, settings{"maxCommandsInFlight": "3"}, func(t *testing.T, _ *Server, addr string) {
		putMany(t, addr, 1, 1)
		c := dial(t, addr)
		for i := range 4 {
			c.send(fmt.Sprintf("get t g 0 21 100 15000 %d\r\n", i))
		}
		r, _ := c.next()
		if r.status != protocol.StatusUnavailable || r.opaque != 3 || !strings.Contains(r.body, "maxCommandsInFlight") {
			t.Fatalf("answer %+v, want 503 for the fourth, with the limit", r)
		}
		putMany(t, addr, 1, 1)
		for range 3 {
			if r, ok := c.next(); !ok || !r.value {
				t.Fatalf("answer %+v, want the message", r)
			}
		}
	})
}

// TestLimit_PutsInFlight sends many more puts than may wait for the flush, until the broker holds as much unread input as it may and the
// connection leaves its event loop. Each put is answered once, in order.
func TestLimit_PutsInFlight(t *testing.T) {
	bothWays(t, settings{"maxCommandsInFlight": "20", "maxOutboundBytes": "65536", "maxMessageSize": "1024"}, func(t *testing.T, s *Server, addr string) {
		c := dial(t, addr)
		const puts = 20_000
		var commands strings.Builder
		for i := range puts {
			fmt.Fprintf(&commands, "put t 0 10 0 %d\r\n0123456789", i)
		}
		go c.send(commands.String())
		for i := range puts {
			r, ok := c.next()
			if !ok || r.status != protocol.StatusOK || r.opaque != int32(i) {
				t.Fatalf("answer %d: %+v, %v", i, r, ok)
			}
			if _, _, offset, err := protocol.ParsePutResult([]byte(r.body)); err != nil || offset != int64(i*30) {
				t.Fatalf("answer %d: offset %d, %v", i, offset, err)
			}
		}
		c.send("get t g 0 0 30 1\r\nquit\r\n")
		if r, _ := c.next(); !r.value {
			t.Fatalf("answer %+v, want a message", r)
		}
		c.wantEnd()
		if addr == s.Addr() && s.adopted.Load() != 1 {
			t.Error("the connection has not left its event loop")
		}
	})
}

func TestLimit_Connections(t *testing.T) {
	s := startServer(t, settings{"maxConnections": "3"})
	list := []*client{dial(t, s.Addr()), dial(t, s.Addr()), dial(t, s.Addr())}
	for _, c := range list {
		c.send("version 1\r\n")
		c.want(protocol.StatusOK)
	}
	c := dial(t, s.Addr())
	if text := c.want(protocol.StatusUnavailable); !strings.Contains(text, "maxConnections") {
		t.Errorf("the answer %q does not name the limit", text)
	}
	c.wantEnd()
	list[0].nc.Close()
	waitFor(t, "there is room again", func() bool { return s.admission.count() == 2 })
	c = dial(t, s.Addr())
	c.send("version 1\r\n")
	c.want(protocol.StatusOK)
}

func TestLimit_ConnectionsPerAddress(t *testing.T) {
	s := startServer(t, settings{"maxConnectionsPerAddress": "1"})
	c := dial(t, s.Addr())
	c.send("version 1\r\n")
	c.want(protocol.StatusOK)
	refused := dial(t, s.Addr())
	refused.send("version 1\r\n") // what the peer has sent by then does not cost it the answer
	if text := refused.want(protocol.StatusUnavailable); !strings.Contains(text, "maxConnectionsPerAddress") {
		t.Errorf("the answer %q does not name the limit", text)
	}
	refused.wantEnd()
}

func TestLimit_HalfACommand(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		s.setLimits(func(l *limits) { l.partial = 50 * time.Millisecond })
		c := dial(t, addr)
		c.send("put t 0 10 0 1\r\nhel")
		if text := c.want(protocol.StatusTimeout); !strings.Contains(text, "not complete") {
			t.Errorf("answer %q", text)
		}
		c.wantEnd()
	})
}

// TestLimit_HalfALargeCommand sends much of a large message and then nothing: the time that it gets for its size is for one that goes on coming.
func TestLimit_HalfALargeCommand(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		s.setLimits(func(l *limits) { l.partial = 50 * time.Millisecond })
		c := dial(t, addr)
		c.send("put t 0 4000000 0 1\r\n" + strings.Repeat("x", 1<<20))
		c.want(protocol.StatusTimeout)
		c.wantEnd()
	})
}

func TestLimit_FirstCommand(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		old := dial(t, addr)
		old.send("version 1\r\n")
		old.want(protocol.StatusOK)
		s.setLimits(func(l *limits) { l.first = 50 * time.Millisecond })
		c := dial(t, addr)
		if text := c.want(protocol.StatusTimeout); !strings.Contains(text, "firstCommandTimeout") {
			t.Errorf("the answer %q does not name the limit", text)
		}
		c.wantEnd()
		old.send("version 1\r\n")
		old.want(protocol.StatusOK)
	})
}

// TestLimit_FirstCommandWhenCrowded fills nearly all the places with connections that say nothing: they get little time then.
func TestLimit_FirstCommandWhenCrowded(t *testing.T) {
	s := startServer(t, settings{"maxConnections": "8", "firstCommandTimeout": "1h"})
	lim := s.limits.Load()
	var list []*client
	for range 6 {
		list = append(list, dial(t, s.Addr()))
	}
	waitFor(t, "six are in", func() bool { return s.admission.count() == 6 })
	if got := s.admission.patience(lim); got != time.Hour {
		t.Errorf("patience %s with room for others, want that of the configuration", got)
	}
	list = append(list, dial(t, s.Addr()))
	waitFor(t, "seven are in", func() bool { return s.admission.count() == 7 })
	if got := s.admission.patience(lim); got != crowdedTime {
		t.Errorf("patience %s when it is crowded, want %s", got, crowdedTime)
	}
	list[0].nc.Close()
	waitFor(t, "one has left", func() bool { return s.admission.count() == 6 })
	if got := s.admission.patience(lim); got != time.Hour {
		t.Errorf("patience %s with room again", got)
	}
}

func TestLimit_Idle(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		s.setLimits(func(l *limits) { l.idle = 50 * time.Millisecond })
		c := dial(t, addr)
		c.wantEnd()
		// A consumer that waits for a message is not idle. The bound is longer here: a busy machine must not make the put idle.
		s.setLimits(func(l *limits) { l.idle = time.Second })
		putMany(t, addr, 1, 1)
		c = dial(t, addr)
		c.send("get t g 0 21 100 2500 1\r\n")
		c.want(protocol.StatusNotFound)
	})
}

// TestLimit_LoweredBelowWhatIsThere lowers the bounds of what is kept for ever, by a reload and then over a restart: only what is new is refused.
func TestLimit_LoweredBelowWhatIsThere(t *testing.T) {
	cfg := testConfig(t, settings{"numPartitions": "3"})
	low := *cfg
	low.Limits.MaxTopics, low.Limits.MaxPartitions, low.Offsets = 1, 1, store.OffsetLimits{Groups: 1, Offsets: 1}
	s, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	use := func(addr string) {
		t.Helper()
		c := dial(t, addr)
		for _, place := range []string{"t 0", "t 1", "u 0"} {
			topic, partition, _ := strings.Cut(place, " ")
			c.send("put " + place + " 1 0 1\r\nx")
			c.want(protocol.StatusOK)
			c.send("get " + topic + " g " + partition + " 0 21 2\r\n")
			if r, _ := c.next(); len(payloads(t, r.body)) != 1 {
				t.Fatalf("%s: %+v, want a message", place, r)
			}
			for _, group := range []string{"g", "h"} {
				c.send("commit " + topic + " " + group + " " + partition + " 21 3\r\n")
				c.want(protocol.StatusOK)
			}
		}
	}
	refuse := func(addr string) {
		t.Helper()
		c := dial(t, addr)
		for command, limit := range map[string]string{
			"put v 0 1 0 1\r\nx": "maxTopics 1", "put t 2 1 0 1\r\nx": "maxPartitions 1", "commit t i 0 21 1\r\n": "maxGroups 1",
		} {
			c.send(command)
			if text := c.want(protocol.StatusError); !strings.Contains(text, limit) {
				t.Errorf("%.14q: the answer %q does not name the limit", command, text)
			}
		}
	}
	use(s.Addr())
	if report, err := s.Reload(func() (*config.Config, error) { return &low, nil }); err != nil || strings.Contains(report, "restart") {
		t.Fatalf("report %q, %v", report, err)
	}
	use(s.Addr())
	refuse(s.Addr())
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}

	s = startWith(t, &low, storeOptions(&low, testLog(t)))
	use(s.Addr())
	refuse(s.Addr())
	if _, err := s.Reload(func() (*config.Config, error) { return cfg, nil }); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s.Addr())
	for _, command := range []string{"put v 0 1 0 1\r\nx", "put t 2 1 0 1\r\nx", "commit t i 2 21 1\r\n"} {
		c.send(command)
		c.want(protocol.StatusOK)
	}
}

// TestLimit_TopicsOfAZooKeeperSession has a client make up topics in a cluster, where each takes a part of what the broker's session may have.
func TestLimit_TopicsOfAZooKeeperSession(t *testing.T) {
	cfg := testConfig(t, settings{"zk.zkConnect": "127.0.0.1:1/chroot"})
	s := startWith(t, cfg, storeOptions(cfg, testLog(t)))
	c := dial(t, s.Addr())
	name := func(i int) string { return fmt.Sprintf("%s%04d", strings.Repeat("x", 251), i) }
	each := zkcoord.DefaultRoot.TopicBytes("/chroot", 0, protocol.Topic(name(0)))
	fit := zkcoord.MaxTopicBytes / each
	go func() {
		for i := range fit {
			c.send(fmt.Sprintf("put %s 0 1 0 1\r\nx", name(i)))
		}
	}()
	for range fit {
		c.want(protocol.StatusOK)
	}
	c.send(fmt.Sprintf("put %s 0 1 0 1\r\nx", name(fit)))
	if text := c.want(protocol.StatusError); !strings.Contains(text, "as much of ZooKeeper as is safe for one broker (1568768 bytes)") {
		t.Errorf("the answer %q does not name the limit", text)
	}
	c.send(fmt.Sprintf("put %s 0 1 0 1\r\nx", name(0)))
	c.want(protocol.StatusOK)
	if _, err := s.Reload(func() (*config.Config, error) { return cfg, nil }); err != nil {
		t.Fatal(err)
	}
	c.send(fmt.Sprintf("put %s 0 1 0 1\r\nx", name(fit)))
	c.want(protocol.StatusError)
}

// TestLimit_Lists has lists that are longer than an answer may be, and long ones while nothing is left of what the broker may hold for its clients.
func TestLimit_Lists(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		c := dial(t, addr)
		const topics = 2000
		go func() {
			for i := range topics {
				c.send(fmt.Sprintf("put topic-with-a-longer-name-%04d 0 1 0 1\r\nx", i))
			}
		}()
		for range topics {
			c.want(protocol.StatusOK)
		}
		for i := range topics {
			c.send(fmt.Sprintf("commit topic-with-a-longer-name-%04d g 0 21 1\r\n", i))
		}
		for range topics {
			c.want(protocol.StatusOK)
		}
		lists := []string{"topics", "stats topics", "stats offsets", "stats groups"}
		before := *s.limits.Load()
		s.setLimits(func(l *limits) { l.list = 65_000 })
		for _, list := range lists {
			c.send(list + " 1\r\n")
			if text := c.want(protocol.StatusError); !strings.Contains(text, "65000 bytes") || !strings.Contains(text, "maxTransferSize") {
				t.Errorf("%s: the answer %q does not name the limit", list, text)
			}
		}
		c.send("stats topic-with-a-longer-name-0000 1\r\n")
		c.want(protocol.StatusOK)

		waiting := dial(t, addr)
		waiting.send("get topic-with-a-longer-name-0000 g 0 21 100 60000 1\r\n")
		waitFor(t, "the get is held", func() bool { return s.budget.held.Load() > 0 })
		s.setLimits(func(l *limits) { *l = before; l.buffered = 1 })
		for _, list := range lists {
			c.send(list + " 1\r\n")
			if text := c.want(protocol.StatusUnavailable); !strings.Contains(text, "maxBufferedBytes") {
				t.Errorf("%s: the answer %q does not name the limit", list, text)
			}
		}
		c.send("stats connections 1\r\n") // it tells what is wrong
		c.want(protocol.StatusOK)
		s.setLimits(func(l *limits) { *l = before })
		for _, list := range lists {
			c.send(list + " 1\r\n")
			if text := c.want(protocol.StatusOK); strings.Count(text, "topic-with-a-longer-name-") != topics {
				t.Errorf("%s has %d topics", list, strings.Count(text, "topic-with-a-longer-name-"))
			}
		}
	})
}
