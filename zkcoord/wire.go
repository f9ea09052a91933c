package zkcoord

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// The library tells neither when the server has heard of it last nor which time-out the server has granted, and it waits ten times as long for the
// answer to its greeting as for anything else. All three are seen on the connection.

// handshakeSize is how much of the answer to the greeting tells the time-out: its length, the version of the protocol, the milliseconds.
const handshakeSize = 12

// heardConn is a connection to a server of ZooKeeper.
type heardConn struct {
	net.Conn
	greeting time.Duration // how long the answer to the greeting may take
	clock    func() time.Duration
	heard    func(at time.Duration) // the server has heard of us, at this time or later
	granted  func(d time.Duration)  // the server has said so

	mu      sync.Mutex
	first   []byte // of what came, up to handshakeSize
	in, out frames
	hailed  bool    // our greeting was sent
	greeted bool    // and is being answered
	asked   []asked // what is not answered yet, in order
}

// asked is a request that was sent.
type asked struct {
	xid int32
	at  time.Duration // or later
}

// Read tells when the server has heard of us: when the request was sent that it answers. That something came says nothing of that by itself: it may have lain there
// while this process was stopped, and what the server tells without being asked (watches) comes also when nothing of ours gets there any more.
func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sniff(b[:n])
		c.in.feed(b[:n], c.answeredLocked)
	}
	return n, err
}

func (c *heardConn) answeredLocked(xid int32) {
	switch {
	case !c.greeted:
		c.greeted = true // whether it is our session that is greeted, the library tells
	case xid != eventXid:
		i := slices.IndexFunc(c.asked, func(a asked) bool { return a.xid == xid })
		if i >= 0 {
			c.heard(c.asked[i].at)
			c.asked = c.asked[i+1:] // answers come in the order of requests
		}
	}
}

// Write notes when requests are sent.
func (c *heardConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.out.feed(b, func(xid int32) {
		if c.hailed {
			c.asked = append(c.asked, asked{xid, c.clock()})
		}
		c.hailed = true
	})
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *heardConn) sniff(b []byte) {
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

func (c *heardConn) isGreeted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.first) == handshakeSize
}

// SetReadDeadline keeps to its own bound until the server has answered the greeting.
func (c *heardConn) SetReadDeadline(t time.Time) error {
	if own := time.Now().Add(c.greeting); !c.isGreeted() && t.After(own) {
		t = own
	}
	return c.Conn.SetReadDeadline(t)
}

// rotation goes through the servers in turn, each session in an order of its own, so that not all of an installation are on the
// first one. Names are resolved when they are dialled, so a server may move.
type rotation struct {
	servers []string
	next    int
	since   int // servers tried since the last one that worked
}

func (r *rotation) Init(servers []string) error {
	r.servers = slices.Clone(servers)
	rand.Shuffle(len(servers), func(i, j int) { r.servers[i], r.servers[j] = r.servers[j], r.servers[i] })
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
