package server

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
)

// A put and a get that are pasted together: the get shows what was put, although the put waits for a flush. The end of the input
// (nc -N) changes nothing about that.
func TestGet_SeesThePutsBeforeItOnItsConnection(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, _ *Server, addr string) {
		for _, half := range []bool{false, true} {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			// The last get is of a queue that nobody has put to: it does not wait for anything.
			if _, err := c.Write([]byte("put paste 0 5 0\nhello\nget paste me 0 0 4096\nget nothing me 0 0 4096\n")); err != nil {
				t.Fatal(err)
			}
			if half {
				if err := c.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			var value, stored, missing bool
			for r := bufio.NewReader(c); !(value && stored && missing); {
				line, err := r.ReadString('\n')
				if err != nil {
					t.Fatalf("half closed %v: value %v, stored %v, missing %v, then %v", half, value, stored, missing, err)
				}
				value = value || strings.HasPrefix(line, "value ") || strings.Contains(line, "value ")
				stored = stored || strings.Contains(line, "result 200 ")
				missing = missing || strings.Contains(line, "result 404 ")
				if strings.Contains(line, "Could not find message") {
					t.Fatalf("half closed %v: the get did not wait: %q", half, line)
				}
			}
		}
	})
}

// A peer that has sent its last command and closed its half of the connection gets every answer at once, that of a get that would wait too.
func TestPaste_AGetThatWaitsIsAnsweredAtTheEndOfInput(t *testing.T) {
	s := startServer(t, nil)
	for _, text := range []string{
		"put t 0 5 0 1\r\nhelloget t g 0 0 4096 60000 2\r\n", // the put waits for its flush, and the get finds what it put
		"get t g 0 25 4096 60000 2\r\n",
	} {
		c := dial(t, s.Addr())
		c.send(text)
		if err := c.nc.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(text, "put") {
			for range 2 { // in either order
				if r, ok := c.next(); !ok || r.status != protocol.StatusOK || r.value && len(payloads(t, r.body)) != 1 {
					t.Errorf("after %q: %+v, want the message", text, r)
				}
			}
		} else {
			c.want(protocol.StatusNotFound)
		}
		c.wantEnd()
	}
}

// Many small runs make an answer of more pieces than the kernel takes at once; large ones go to the socket without a copy.
func TestGet_AnswersOfManyPieces(t *testing.T) {
	s := startServer(t, settings{"numPartitions": "2", "unflushThreshold": "1000", "logSegmentSize": "64M"})
	for _, c := range []struct{ count, size int }{{5000, 100}, {60, 16 << 10}} {
		conn := dial(t, s.Addr())
		topic := fmt.Sprintf("pieces-%d", c.size)
		for i := range c.count {
			for p := range 2 {
				conn.send(fmt.Sprintf("put %s %d %d 0 7\r\n%s", topic, p, c.size, strings.Repeat(string(rune('a'+i%26)), c.size)))
			}
			if i%50 == 49 || i == c.count-1 {
				for range 2 * (i%50 + 1) {
					conn.want(protocol.StatusOK)
				}
			}
		}
		conn.send(fmt.Sprintf("get %s g 1 0 1048576 8\r\n", topic))
		r, _ := conn.next()
		got := payloads(t, r.body)
		if least := min(c.count/4, 1<<20/(c.size+20)); len(got) < least { // an answer ends with its segment
			t.Errorf("%d messages of %d bytes, want %d", len(got), c.size, least)
		}
		for i, b := range got {
			if b != strings.Repeat(string(rune('a'+i%26)), c.size) {
				t.Fatalf("message %d of %d bytes is %.10q", i, len(b), b)
			}
		}
	}
}
