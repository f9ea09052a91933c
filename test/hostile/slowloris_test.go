package hostile

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

// swarm is connections that do the same bad thing.
type swarm struct {
	list []net.Conn
}

func newSwarm(t *testing.T, addr string, count int, text string) *swarm {
	t.Helper()
	s := &swarm{}
	for range count {
		nc, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_ = nc.SetWriteDeadline(time.Now().Add(patience))
		// A broker that refuses may have closed already, which is what the test wants to see.
		_, _ = nc.Write([]byte(text))
		s.list = append(s.list, nc)
	}
	return s
}

// drip sends one byte on each connection.
func (s *swarm) drip() {
	for _, nc := range s.list {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write([]byte("x"))
	}
}

// cut waits until the broker has closed every connection and returns what the last one was told. In the meantime all of them drip if asked to.
func (s *swarm) cut(t *testing.T, drip bool) (took time.Duration, told string) {
	t.Helper()
	begin := time.Now()
	open := append([]net.Conn(nil), s.list...)
	for len(open) > 0 {
		if time.Since(begin) > patience {
			t.Fatalf("%d connections are still open after %s", len(open), patience)
		}
		if drip {
			s.drip()
		}
		var left []net.Conn
		for _, nc := range open {
			_ = nc.SetReadDeadline(time.Now().Add(time.Millisecond))
			buf := make([]byte, 512)
			n, err := nc.Read(buf)
			if n > 0 {
				told = strings.TrimSpace(strings.ReplaceAll(string(buf[:n]), "\r\n", " "))
			}
			if err == nil || os.IsTimeout(err) {
				left = append(left, nc)
			}
		}
		if open = left; len(open) > 0 {
			pause(50 * time.Millisecond)
		}
	}
	for _, nc := range s.list {
		nc.Close()
	}
	return time.Since(begin), told
}

// Test 22: half commands for ever, by the hundred. Each kind is cut by a limit or a timer, and what one holds until then is small.
func TestSlowloris(t *testing.T) {
	const bound = 32 << 20
	patient := chaos.Pick("400ms", "2s")
	b := process.Start(t, process.Options{Args: []string{
		"--set", "partialCommandTimeout=" + patient, "--set", "firstCommandTimeout=" + patient, "--set", fmt.Sprintf("maxBufferedBytes=%d", bound),
	}})
	fill(t, b.Addr, "small", 1, 100)
	p := newProber(t, b.Addr, "small", 2)
	p.measure(t, 500*time.Millisecond)
	for _, kind := range []struct {
		name, text string
		count      int
		drip       bool
		holds      int64 // most bytes for one
	}{
		{"nothing at all", "", 500, false, 1 << 10},
		{"half a command line", "get small g 0", 500, false, 4 << 10},
		{"half a line, a byte at a time", "get small g 0 ", 200, true, 8 << 10},
		{"a line without end", "version " + strings.Repeat("1", 4000), 500, false, 16 << 10},
		{"a line longer than the limit", "version " + strings.Repeat("1", 64<<10), 200, false, 1 << 10},
		{"2 GiB declared", "put small 0 2147483647 0 1\r\nhello", 500, false, 1 << 10},
		{"a body that never comes", "put small 0 4000000 0 1\r\n", 500, false, 4 << 10},
		{"half a large body, by all together", "put small 0 4000000 0 1\r\n" + strings.Repeat("x", 1<<20), chaos.Pick(100, 300), false, 2 << 20},
	} {
		for range chaos.Pick(1, 3) {
			before := stat(t, b.Addr, "connections", "buffered_bytes")
			_, anonymousBefore := b.Memory(t)
			memory := watchMemory(t, b)
			s := newSwarm(t, b.Addr, kind.count, kind.text)
			held := max(0, stat(t, b.Addr, "connections", "buffered_bytes")-before) / int64(kind.count)
			took, told := s.cut(t, kind.drip)
			_, anonymous := memory.stop()
			chaos.Figure(t, 22, kind.name, "%d connections, %d bytes held for each, cut after %.1f s, anonymous memory %s to %s; told: %.60s",
				kind.count, held, took.Seconds(), mib(anonymousBefore), mib(anonymous), told)
			if held > kind.holds {
				t.Errorf("%s: %d bytes are held for each, want at most %d", kind.name, held, kind.holds)
			}
			if took > 20*time.Second {
				t.Errorf("%s: cut after %s", kind.name, took)
			}
			if told == "" {
				t.Errorf("%s: cut without a word", kind.name)
			}
		}
	}
	lat := p.measure(t, time.Second)
	_, anonymous := b.Memory(t)
	peak := stat(t, b.Addr, "connections", "buffered_peak_bytes")
	chaos.Figure(t, 22, "held at most, for all together", "%s, bound %s; anonymous memory at the end %s", mib(peak), mib(bound), mib(anonymous))
	if peak > bound*3/2 {
		t.Errorf("%d bytes were held at most, want at most %d", peak, bound*3/2)
	}
	if stat(t, b.Addr, "connections", "silent_closed_total") == 0 || stat(t, b.Addr, "connections", "timeouts_total") == 0 ||
		stat(t, b.Addr, "connections", "buffered_refusals_total") == 0 {
		t.Error("not every bound was met: the test has not done what it should")
	}
	if len(lat) == 0 {
		t.Error("nobody else was served")
	}
}

// Connections that only exist cost little, and are served when they wake up.
func TestIdleConnections(t *testing.T) {
	count := chaos.Pick(2000, 15000)
	b := process.Start(t, process.Options{})
	fill(t, b.Addr, "small", 1, 100)
	before, anonymousBefore := b.Memory(t)
	list := make([]*client, count)
	for i := range list {
		list[i] = dial(t, b.Addr)
		list[i].ask(t, 200, "version 1\r\n")
	}
	after, anonymous := b.Memory(t)
	chaos.Figure(t, 22, "memory of an idle connection", "%d bytes, %d of them anonymous (%d connections)",
		(after-before)/int64(count), (anonymous-anonymousBefore)/int64(count), count)
	if each := (after - before) / int64(count); each > 8<<10 {
		t.Errorf("an idle connection takes %d bytes, want at most 8 KiB", each)
	}
	for i := 0; i < count; i += 97 {
		list[i].ask(t, 200, "get small g 0 0 4096 1\r\n")
	}
}
