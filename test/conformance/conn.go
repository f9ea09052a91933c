package conformance

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strconv"
	"time"
)

// chunkPause lies between the writes of a step that is sent in chunks, so that they arrive one by one.
const chunkPause = 3 * time.Millisecond

// conn is a connection to the broker and a reader of responses. It knows no more of the protocol than where a
// response ends: it must not share the mistakes of the code that it checks.
type conn struct {
	net   net.Conn
	buf   []byte
	ended bool // the broker closed it
}

func dial(addr string, timeout time.Duration) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return nil, err
	}
	return &conn{net: c}, nil
}

// send writes data, in pieces when chunk is not 0. A broker that closes while we write is seen by the next read.
func (c *conn) send(data []byte, chunk int, timeout time.Duration) {
	if err := c.net.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		c.ended = true
		return
	}
	if chunk == 0 {
		chunk = max(len(data), 1)
	}
	for len(data) > 0 {
		n := min(chunk, len(data))
		if _, err := c.net.Write(data[:n]); err != nil {
			// An answer that came before the close is still to be read: only a read can tell the end.
			return
		}
		data = data[n:]
		if len(data) > 0 {
			<-time.After(chunkPause)
		}
	}
}

// fill reads once, for at most timeout. It reports whether something came.
func (c *conn) fill(timeout time.Duration) bool {
	if c.ended {
		return false
	}
	if err := c.net.SetReadDeadline(time.Now().Add(max(timeout, time.Millisecond))); err != nil {
		c.ended = true
		return false
	}
	var piece [64 << 10]byte
	n, err := c.net.Read(piece[:])
	c.buf = append(c.buf, piece[:n]...)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.ended = true
	}
	return n > 0
}

// take removes a whole response from the buffer, or returns nil.
func (c *conn) take() []byte {
	end := bytes.Index(c.buf, []byte("\r\n"))
	if end < 0 {
		return nil
	}
	size := end + 2 + bodyLength(c.buf[:end])
	if len(c.buf) < size {
		return nil
	}
	response := bytes.Clone(c.buf[:size])
	c.buf = c.buf[size:]
	return response
}

// bodyLength is what the head of a response says; 0 when it cannot be read, so that the odd line is shown as it is.
func bodyLength(head []byte) int {
	words := bytes.Split(head, []byte(" "))
	place := 0
	switch string(words[0]) {
	case "result":
		place = 2
	case "value":
		place = 1
	}
	if place == 0 || place >= len(words) {
		return 0
	}
	size, err := strconv.Atoi(string(words[place]))
	if err != nil || size < 0 {
		return 0
	}
	return size
}

// response waits for a whole response; nil when none comes in time, or the broker closes the connection.
func (c *conn) response(timeout time.Duration) []byte {
	stop := time.Now().Add(timeout)
	for {
		if r := c.take(); r != nil {
			return r
		}
		left := time.Until(stop)
		if left <= 0 || c.ended {
			return nil
		}
		c.fill(left)
	}
}

func (c *conn) close() {
	// Closing what the broker closed already is no matter.
	_ = c.net.Close()
}
