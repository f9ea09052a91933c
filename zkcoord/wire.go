package zkcoord

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// The library tells neither when it heard of the server last nor which time-out the server has granted, and it waits ten times as long for the
// answer to its greeting as for anything else. All three are seen on the connection.

// handshakeSize is how much of the answer to the greeting tells the time-out: its length, the version of the protocol, the milliseconds.
const handshakeSize = 12

// heardConn is a connection to a server of ZooKeeper.
type heardConn struct {
	net.Conn
	greeting time.Duration         // how long the answer to the greeting may take
	heard    func()                // something came
	granted  func(d time.Duration) // the server has said so

	mu    sync.Mutex
	first []byte // of what came, up to handshakeSize
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard()
		c.sniff(b[:n])
	}
	return n, err
}

func (c *heardConn) sniff(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.first) == handshakeSize {
		return
	}
	c.first = append(c.first, b[:min(len(b), handshakeSize-len(c.first))]...)
	if len(c.first) == handshakeSize {
		if ms := binary.BigEndian.Uint32(c.first[8:]); ms > 0 { // 0: the session is gone
			c.granted(time.Duration(ms) * time.Millisecond)
		}
	}
}

func (c *heardConn) greeted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.first) == handshakeSize
}

// SetReadDeadline keeps to its own bound until the server has answered the greeting.
func (c *heardConn) SetReadDeadline(t time.Time) error {
	if own := time.Now().Add(c.greeting); !c.greeted() && t.After(own) {
		t = own
	}
	return c.Conn.SetReadDeadline(t)
}

// rotation goes through the servers in turn. Names are resolved when they are dialled, so a server may move.
type rotation struct {
	servers []string
	next    int
	since   int // servers tried since the last one that worked
}

func (r *rotation) Init(servers []string) error {
	r.servers = servers
	return nil
}

func (r *rotation) Len() int { return len(r.servers) }

func (r *rotation) Next() (server string, retryStart bool) {
	server = r.servers[r.next]
	r.next = (r.next + 1) % len(r.servers)
	retryStart = r.since >= len(r.servers)
	if retryStart {
		r.since = 0
	}
	r.since++
	return server, retryStart
}

func (r *rotation) Connected() { r.since = 0 }
