package server

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

// TestConn_HalfClosed is `printf ... | nc -N host port`: the peer closes its half at once and still gets every answer.
func TestConn_HalfClosed(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, _ *Server, addr string) {
		for range 20 {
			c := dial(t, addr)
			c.send("put t 0 5 0 1\r\nhelloput t 0 5 0 2\r\nworldstats topics 3\r\n")
			if err := c.nc.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got := map[int32]bool{}
			for range 3 {
				r, ok := c.next()
				if !ok || r.status != protocol.StatusOK {
					t.Fatalf("answer %+v, %v; so far %v", r, ok, got)
				}
				got[r.opaque] = true
			}
			c.wantEnd()
			if len(got) != 3 {
				t.Fatalf("answers to %v, want 1, 2 and 3", got)
			}
		}
	})
}

func TestConn_ByteByByte(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, _ *Server, addr string) {
		c := dial(t, addr)
		for _, b := range []byte("\r\nput t 0 5 0 1\r\nhelloput t 0 0 0 2\r\nversion 3\n") {
			c.send(string(b))
		}
		seen := map[int32]protocol.Status{}
		for range 3 {
			r, _ := c.next()
			seen[r.opaque] = r.status
		}
		if seen[1] != 200 || seen[2] != 200 || seen[3] != 200 {
			t.Fatalf("answers %v", seen)
		}
	})
}

// TestConn_PanicCostsOneConnection asks for a partition that panics when it is read.
func TestConn_PanicCostsOneConnection(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		repair := breakTopic(s)
		bystander := dial(t, addr)
		bystander.send("version 1\r\n")
		bystander.want(protocol.StatusOK)

		c := dial(t, addr)
		c.send("version 1\r\nget broken g 0 0 100 2\r\nversion 3\r\n")
		c.want(protocol.StatusOK)
		if text := c.want(protocol.StatusError); text != internalError {
			t.Errorf("answer %q", text)
		}
		c.wantEnd()

		c = dial(t, addr) // on a worker
		c.send("seek broken 0 0 4\r\n")
		if text := c.want(protocol.StatusError); text != internalError {
			t.Errorf("answer %q", text)
		}
		bystander.send("put t 0 1 0 5\r\nx")
		bystander.want(protocol.StatusOK)
		repair()
	})
}

// breakTopic makes a topic whose partition panics when it is read.
func breakTopic(s *Server) (repair func()) {
	broken := &topic{name: "broken", accepts: 1, parts: make([]atomic.Pointer[store.Queue], 1), counts: newTopicCounts(time.Now())}
	broken.parts[0].Store(&store.Queue{})
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	s.catalog.topics["broken"] = broken
	return func() {
		s.catalog.mu.Lock()
		defer s.catalog.mu.Unlock()
		delete(s.catalog.topics, "broken")
	}
}

// lineCounter counts the lines of a log.
type lineCounter struct{ lines atomic.Int64 }

func (n *lineCounter) Write(line []byte) (int, error) {
	n.lines.Add(1)
	return len(line), nil
}

// TestConn_PanicsDoNotFillTheLog has a client that has found out how to make the broker panic.
func TestConn_PanicsDoNotFillTheLog(t *testing.T) {
	cfg := testConfig(t, nil)
	var log lineCounter
	s, err := New(cfg, zerolog.New(&log).Level(zerolog.ErrorLevel))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	repair := breakTopic(s)
	began := time.Now()
	c := dial(t, s.Addr())
	const panics = 1000
	c.send(strings.Repeat("seek broken 0 0 1\r\n", panics))
	for range panics {
		c.want(protocol.StatusError)
	}
	repair()
	if most := 5 * (int64(time.Since(began)/time.Second) + 2); log.lines.Load() > most || log.lines.Load() == 0 {
		t.Errorf("%d lines in the log for %d panics within %s, want some, and at most %d", log.lines.Load(), panics, time.Since(began), most)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestConn_ColdReads reads a log of which nothing counts as being in memory, by several connections at once.
func TestConn_ColdReads(t *testing.T) {
	cfg := testConfig(t, nil)
	options := storeOptions(cfg, testLog(t))
	options.HotBytes = 1
	s := startWith(t, cfg, options)
	c := dial(t, s.Addr())
	const messages = 300
	for i := range messages {
		c.send(fmt.Sprintf("put t 0 10 0 %d\r\n%010d", i, i))
	}
	for range messages {
		c.want(protocol.StatusOK)
	}
	readers := make([]*client, 4)
	for i := range readers {
		readers[i] = dial(t, s.Addr())
		for m := range messages {
			readers[i].send(fmt.Sprintf("get t g 0 %d 30 %d\r\n", m*30, m))
		}
	}
	for _, r := range readers {
		for m := range messages {
			got, ok := r.next()
			if !ok || !got.value || got.opaque != int32(m) || !strings.HasSuffix(got.body, fmt.Sprintf("%010d", m)) {
				t.Fatalf("answer %d: %+v, %v", m, got, ok)
			}
		}
	}
	if n := stat(t, s.Addr(), "connections", "cold_reads_total"); n == "0" {
		t.Error("no read was cold")
	}
}
