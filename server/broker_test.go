package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/server/config"
	"github.com/metaq/metaq/store"
	"github.com/metaq/metaq/test/wait"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

// settings are the configuration of a broker under test; keys as in server.ini.
type settings map[string]string

// testConfig has any free ports and a directory of the test.
func testConfig(t testing.TB, set settings) *config.Config {
	t.Helper()
	all := map[string]string{
		"hostName": "127.0.0.1", "serverPort": "0", "dashboardHttpPort": "0", "dataPath": t.TempDir(), "logSegmentSize": "4M",
	}
	maps.Copy(all, set)
	cfg, err := config.Load("", nil, all)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// testLog shows warnings when a test is run with -v.
func testLog(t testing.TB) zerolog.Logger {
	if !testing.Verbose() {
		return zerolog.Nop()
	}
	return zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
}

// startServer runs a broker for the length of the test.
func startServer(t testing.TB, set settings) *Server {
	t.Helper()
	cfg := testConfig(t, set)
	return startWith(t, cfg, storeOptions(cfg, testLog(t)))
}

func startWith(t testing.TB, cfg *config.Config, options store.Options) *Server {
	t.Helper()
	s, err := newServer(cfg, testLog(t), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return s
}

// servePlain serves a connection without an event loop from its first byte on, and returns when it has ended.
func servePlain(s *Server, nc net.Conn) {
	c := s.newConn(nc)
	if text := s.admission.enter(c.remote); text != "" {
		refuse(nc, text)
		return
	}
	s.plains.Add(1)
	defer s.plains.Done()
	s.newPlain(c, nc).serve()
}

// listenPlain serves plain connections too, and returns their address.
func listenPlain(t testing.TB, s *Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			go servePlain(s, nc)
		}
	}()
	return listener.Addr().String()
}

// client is one connection of a test.
type client struct {
	t   testing.TB
	nc  net.Conn
	buf []byte
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc}
}

// send writes text; a "\n" in it is sent as it is.
func (c *client) send(text string) {
	c.t.Helper()
	_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.nc, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// reply is one answer.
type reply struct {
	value  bool
	status protocol.Status
	opaque int32
	body   string
}

// next reads one answer; ok is false at the end of the stream.
func (c *client) next() (r reply, ok bool) {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	chunk := make([]byte, 64<<10)
	for {
		var resp protocol.Response
		n, err := protocol.ParseResponse(c.buf, 64<<20, &resp)
		if err != nil {
			c.t.Fatalf("answer %.200q: %v", c.buf, err)
		}
		if n > 0 {
			r = reply{resp.Value, resp.Status, resp.Opaque, string(resp.Body)}
			c.buf = c.buf[n:]
			return r, true
		}
		got, err := c.nc.Read(chunk)
		c.buf = append(c.buf, chunk[:got]...)
		if got == 0 && err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.t.Fatalf("no answer in %v; so far %.200q", patience, c.buf)
			}
			return r, false
		}
	}
}

// want reads one answer and checks its code; it returns the text.
func (c *client) want(status protocol.Status) string {
	c.t.Helper()
	r, ok := c.next()
	if !ok {
		c.t.Fatalf("the connection was closed, want an answer %d", status)
	}
	if r.value || r.status != status {
		c.t.Fatalf("answer %+v, want code %d", r, status)
	}
	return r.body
}

// wantEnd checks that the broker closes the connection without another answer.
func (c *client) wantEnd() {
	c.t.Helper()
	if r, ok := c.next(); ok {
		c.t.Fatalf("answer %+v, want the end of the connection", r)
	}
}

// stat reads one line of an item of stats from the broker.
func stat(t testing.TB, addr, item, name string) string {
	t.Helper()
	c := dial(t, addr)
	defer c.nc.Close()
	c.send("stats " + item + " 1\r\n")
	for line := range strings.Lines(c.want(protocol.StatusOK)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == name {
			return value
		}
	}
	t.Fatalf("stats %s has no line %s", item, name)
	return ""
}

// waitFor waits until a condition holds.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	wait.Until(t, 2*time.Millisecond, patience, what, ok)
}

// payloads are the data of the whole messages in the body of a value.
func payloads(t testing.TB, body string) (list []string) {
	t.Helper()
	for b := []byte(body); ; {
		m, n, err := protocol.DecodeMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return list
		}
		list = append(list, string(bytes.Clone(m.Data)))
		b = b[n:]
	}
}
