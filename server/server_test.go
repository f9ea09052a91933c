package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
)

func TestServer_ShutdownAnswersFirst(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, s *Server, addr string) {
		putMany(t, addr, 1, 1)
		c := dial(t, addr)
		c.send("get t g 0 21 100 60000 1\r\nversion 2\r\n")
		c.want(protocol.StatusOK)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(ctx) }()
		if r, ok := c.next(); !ok || r.status != protocol.StatusNotFound || r.opaque != 1 {
			t.Fatalf("answer %+v, %v, want 404 for the waiting get", r, ok)
		}
		c.wantEnd()
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("the second call: %v", err)
		}
	})
}

func TestServer_ShutdownCutsOffAtTheDeadline(t *testing.T) {
	s := startServer(t, nil)
	putMany(t, s.Addr(), 1, 1<<20)
	c := dial(t, s.Addr())
	c.send(strings.Repeat("get t g 0 0 2000000 1\r\n", 100)) // it never reads
	waitFor(t, "answers wait", func() bool { return s.outbound.Load() > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, want the deadline", err)
	}
	s.shutdown.Do(func() {}) // for the end of the test
}

func TestServer_ShutdownLeavesNoGoroutine(t *testing.T) {
	warm := startServer(t, nil) // gnet starts a pool of its own once
	putMany(t, warm.Addr(), 1, 1)
	before := runtime.NumGoroutine()
	cfg := testConfig(t, nil)
	s, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	putMany(t, s.Addr(), 10, 10)
	putMany(t, listenPlain(t, s), 10, 10)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+1 }) // the listener of listenPlain
}

func TestServer_KeepsEverythingOverARestart(t *testing.T) {
	cfg := testConfig(t, settings{"numPartitions": "2"})
	for round := range 3 {
		s, err := New(cfg, testLog(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		c := dial(t, s.Addr())
		c.send("put t 0 1 0 1\r\nx")
		c.want(protocol.StatusOK)
		if round == 0 {
			c.send("commit t g 0 42 2\r\n")
			c.want(protocol.StatusOK)
			c.send("close t 1 1 3\r\n")
			c.want(protocol.StatusOK)
		}
		c.send("committed t g 0 4\r\n")
		if got := c.want(protocol.StatusOK); got != "42" {
			t.Fatalf("round %d: committed %s", round, got)
		}
		for i := range round + 1 {
			c.send(fmt.Sprintf("get t g 0 %d 21 5\r\n", i*21))
			if r, _ := c.next(); len(payloads(t, r.body)) != 1 {
				t.Fatalf("round %d, message %d: %+v", round, i, r)
			}
		}
		c.send("put t 1 1 0 5\r\nx")
		c.want(protocol.StatusForbidden)
		if err := s.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServer_PortInUse(t *testing.T) {
	s := startServer(t, nil)
	_, port, _ := strings.Cut(s.Addr(), ":")
	second, err := New(testConfig(t, settings{"serverPort": port}), testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err == nil || !strings.Contains(err.Error(), "serverPort") {
		t.Errorf("%v, want an error that names serverPort", err)
	}
	if err := second.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func fetch(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + s.HTTPAddr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestHTTP(t *testing.T) {
	s := startServer(t, nil)
	putMany(t, s.Addr(), 3, 10)
	c := dial(t, s.Addr())
	c.send("commit t g 0 30 1\r\nput t 9 1 0 2\r\nx")
	c.next()
	c.next()
	for _, path := range []string{"/healthz", "/readyz", "/debug/pprof/goroutine?debug=1"} {
		if code, body := fetch(t, s, path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, body := fetch(t, s, "/"); code != http.StatusOK || !strings.Contains(body, "/readyz") || !strings.Contains(body, s.Addr()) {
		t.Errorf("/: %d %s", code, body)
	}
	if code, body := fetch(t, s, "/nothing"); code != http.StatusNotFound {
		t.Errorf("/nothing: %d %s", code, body)
	}
	_, text := fetch(t, s, "/metrics")
	for _, line := range []string{
		`metaq_put_messages_total{topic="t"} 3`,
		`metaq_put_bytes_total 30`,
		`metaq_put_failures_total{code="500"} 1`,
		`metaq_partition_end_offset_bytes{partition="0",topic="t"} 90`,
		`metaq_consumer_lag_bytes{group="g",partition="0",topic="t"} 60`,
		`metaq_request_duration_seconds_count{cmd="put"} 3`,
		`metaq_connections 1`,
		`metaq_partition_poisoned 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("/metrics has no line %s", line)
		}
	}
	for _, name := range []string{"metaq_flush_duration_seconds_count", "metaq_disk_free_bytes", "metaq_segment_count", "metaq_build_info", "metaq_connections_rejected_total", "go_goroutines"} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
	s.leaving.Store(true)
	if code, body := fetch(t, s, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "stopping") {
		t.Errorf("/readyz while stopping: %d %s", code, body)
	}
	s.leaving.Store(false)
}

// TestHTTP_WhoReadsNothingKeepsNobodyOut takes all connections of the HTTP side with clients that ask for metrics and never read them.
func TestHTTP_WhoReadsNothingKeepsNobodyOut(t *testing.T) {
	s := startServer(t, nil)
	s.setLimits(func(l *limits) { l.stall = 500 * time.Millisecond })
	for range httpConns {
		nc, err := net.Dial("tcp", s.HTTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if err := nc.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		go func() { // until it is closed
			for {
				if _, err := io.WriteString(nc, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: metaq\r\n\r\n", 100)); err != nil {
					return
				}
			}
		}()
	}
	health := http.Client{Timeout: patience}
	r, err := health.Get("http://" + s.HTTPAddr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
}
