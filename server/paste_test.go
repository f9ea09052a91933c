package server

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
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
