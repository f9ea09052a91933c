package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/test/wait"
)

// patience bounds every wait for something that should happen.
const patience = 60 * time.Second

// client is a connection that behaves: it speaks the protocol by itself, so that it shares no mistake with the broker.
type client struct {
	net.Conn
	in *bufio.Reader
}

func connect(addr string) (*client, error) {
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &client{nc, bufio.NewReaderSize(nc, 64<<10)}, nil
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// answer is a response; of a get that found something the code is 200 and value is set.
type answer struct {
	code   int
	opaque int64
	value  bool
	body   []byte
}

// read takes the next answer, waiting for it for some time.
func (c *client) read() (a answer, err error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	line, err := c.in.ReadString('\n')
	if err != nil {
		if err == io.EOF && line != "" {
			err = io.ErrUnexpectedEOF
		}
		return a, err
	}
	words := strings.Fields(line)
	switch {
	case len(words) == 4 && words[0] == "result":
		words = words[1:]
	case len(words) == 3 && words[0] == "value":
		a.value = true
		words[0] = "200"
	default:
		return a, fmt.Errorf("%q is no answer", line)
	}
	var n [3]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(words[i], 10, 32); err != nil || n[1] < 0 {
			return a, fmt.Errorf("%q is no answer", line)
		}
	}
	a.code, a.opaque, a.body = int(n[0]), n[2], make([]byte, n[1])
	_, err = io.ReadFull(c.in, a.body)
	return a, err
}

func (c *client) send(text string) error {
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, err := io.WriteString(c.Conn, text)
	return err
}

// ask sends a command and wants the answer with this code.
func (c *client) ask(t testing.TB, code int, command string) answer {
	t.Helper()
	if err := c.send(command); err != nil {
		t.Fatalf("%.40q: %v", command, err)
	}
	a, err := c.read()
	if err != nil || a.code != code {
		t.Fatalf("%.40q: answer %d %.200q, %v, want %d", command, a.code, a.body, err, code)
	}
	return a
}

// stat is a number of an item of `stats`.
func stat(t testing.TB, addr, item, name string) int64 {
	t.Helper()
	c, err := connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.number(t, item, name)
}

// number is a number of an item of `stats`.
func (c *client) number(t testing.TB, item, name string) int64 {
	t.Helper()
	a := c.ask(t, 200, "stats "+item+" 1\r\n")
	for line := range strings.Lines(string(a.body)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatalf("stats %s: %v", item, err)
			}
			return n
		}
	}
	t.Fatalf("stats %s has no %s", item, name)
	return 0
}

// waitFor polls until something is so.
func waitFor(t testing.TB, what string, ok func() bool) time.Duration {
	t.Helper()
	return wait.Until(t, 10*time.Millisecond, patience, what, ok)
}

// pause is the time between two looks at something, or between two steps of a client that is slow on purpose.
func pause(d time.Duration) { <-time.After(d) }

// fill puts messages of a size into partition 0 of a topic.
func fill(t testing.TB, addr, topic string, count, size int) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	body := strings.Repeat("x", size)
	for i := range count {
		c.ask(t, 200, fmt.Sprintf("put %s 0 %d 0 %d\r\n%s", topic, size, i, body))
	}
}
