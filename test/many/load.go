package many

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
)

// load puts messages into all partitions of a topic in turn, over one connection, a window of them at a time.
type load struct {
	conn       net.Conn
	in         *bufio.Reader
	topic      protocol.Topic
	partitions int
	next       int
	body       []byte
	out        []byte
	latencies  []time.Duration // of windows
}

func dial(t testing.TB, addr string, topic protocol.Topic, partitions, size int) *load {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &load{conn: c, in: bufio.NewReaderSize(c, 64<<10), topic: topic, partitions: partitions, body: bytes.Repeat([]byte{'x'}, size)}
}

// put writes n messages and waits for their answers.
func (l *load) put(n int) error {
	l.out = l.out[:0]
	for range n {
		l.out = protocol.AppendPut(l.out, l.topic, int32(l.next%l.partitions), 0, l.body, int32(l.next))
		l.next++
	}
	began := time.Now()
	if err := l.conn.SetDeadline(began.Add(time.Minute)); err != nil {
		return err
	}
	if _, err := l.conn.Write(l.out); err != nil {
		return err
	}
	for range n {
		line, err := l.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		words := bytes.Fields(line)
		if len(words) != 4 || string(words[1]) != "200" {
			return fmt.Errorf("the answer to a put is %q", line)
		}
		length, err := strconv.Atoi(string(words[2]))
		if err != nil {
			return fmt.Errorf("the answer to a put is %q", line)
		}
		if _, err := l.in.Discard(length); err != nil {
			return err
		}
	}
	l.latencies = append(l.latencies, time.Since(began))
	return nil
}

// quantile is the latency that a part of the windows stayed below.
func (l *load) quantile(part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(l.latencies))
	return sorted[int(part*float64(len(sorted)-1))]
}

// usage is what a process has taken from the machine.
type usage struct {
	anonymous, resident int64 // bytes
	files, mappings     int
}

func usageOf(t testing.TB, pid int) (u usage) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		n, _ := strconv.ParseInt(words[1], 10, 64)
		switch words[0] {
		case "RssAnon:":
			u.anonymous = n << 10
		case "VmRSS:":
			u.resident = n << 10
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	u.files, u.mappings = len(files), bytes.Count(maps, []byte("\n"))
	return u
}
