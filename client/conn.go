package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/metaq/metaq/protocol"
)

const (
	maxAnswerBytes = 1 << 30   // of one answer; a larger one is taken for garbage
	maxQueuedBytes = 4 << 20   // of requests that wait for the socket; beyond it do blocks
	readBufferSize = 256 << 10 // grows for larger answers
)

// Conn is one connection to a broker. Requests of many goroutines are pipelined on it and their answers matched by opaque. It does not
// reconnect: after an error all calls fail with it.
type Conn struct {
	net net.Conn

	mu      sync.Mutex
	change  *sync.Cond // queued shrank, or the connection broke
	queued  []byte     // requests that the writer has not taken
	pending calls
	broken  error

	wake chan struct{} // to the writer
	done sync.WaitGroup
}

// Dial connects to a broker at host:port.
func Dial(ctx context.Context, addr string) (*Conn, error) {
	var d net.Dialer
	n, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	c := &Conn{net: n, wake: make(chan struct{}, 1)}
	c.change = sync.NewCond(&c.mu)
	c.done.Add(2)
	go c.write()
	go c.read()
	return c, nil
}

// Close ends the connection. Calls that wait fail with ErrClosed.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.done.Wait()
	return nil
}

// Err is why the connection is of no more use, nil while it works.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// fail breaks the connection and answers all that wait, in the order in which they asked.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.broken != nil {
		c.mu.Unlock()
		return
	}
	c.broken = err
	pending := c.pending.takeAll()
	c.mu.Unlock()
	c.change.Broadcast()
	c.net.Close()
	c.signal()
	for _, fn := range pending {
		fn(nil, err)
	}
}

func (c *Conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// do queues a request and calls fn once with its answer or an error, on a goroutine of the connection: fn must not block, and the
// answer's body is gone when it returns. do blocks while the socket takes no more.
func (c *Conn) do(encode func(dst []byte, opaque int32) []byte, fn func(*protocol.Response, error)) {
	c.mu.Lock()
	for len(c.queued) > maxQueuedBytes && c.broken == nil {
		c.change.Wait()
	}
	if err := c.broken; err != nil {
		c.mu.Unlock()
		fn(nil, err)
		return
	}
	c.queued = encode(c.queued, c.pending.add(fn))
	c.mu.Unlock()
	c.signal()
}

// write sends what is queued; whatever came meanwhile goes out with one call.
func (c *Conn) write() {
	defer c.done.Done()
	var buf []byte
	for range c.wake {
		c.mu.Lock()
		buf, c.queued = c.queued, buf[:0]
		broken := c.broken
		c.mu.Unlock()
		if broken != nil {
			return
		}
		c.change.Broadcast()
		if _, err := c.net.Write(buf); err != nil {
			c.fail(fmt.Errorf("metaq: %w", err))
			return
		}
		if cap(buf) > 2*maxQueuedBytes {
			buf = nil // a large message made it so
		}
	}
}

func (c *Conn) read() {
	defer c.done.Done()
	buf := make([]byte, readBufferSize)
	from, to := 0, 0
	for {
		var r protocol.Response
		n, err := protocol.ParseResponse(buf[from:to], maxAnswerBytes, &r)
		if err != nil {
			c.fail(err)
			return
		}
		if n > 0 {
			c.answer(&r)
			from += n
			continue
		}
		if from > 0 {
			copy(buf, buf[from:to])
			from, to = 0, to-from
		}
		if to == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
		got, err := c.net.Read(buf[to:])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			c.fail(fmt.Errorf("metaq: the connection to %s broke: %w", c.net.RemoteAddr(), err))
			return
		}
		to += got
	}
}

func (c *Conn) answer(r *protocol.Response) {
	c.mu.Lock()
	fn := c.pending.take(r.Opaque)
	c.mu.Unlock()
	if fn != nil { // nil: nobody waits for it any more
		fn(r, nil)
	}
}

// check turns an answer into an error if it is not what was asked for.
func check(r *protocol.Response) error {
	switch r.Status {
	case protocol.StatusOK:
		return nil
	case protocol.StatusMoved:
		if offset, err := parseOffset(r.Body); err == nil {
			return &MovedError{offset}
		}
	}
	return &StatusError{Status: r.Status, Text: string(r.Body)}
}

// call sends a request and waits for its answer. The body is a copy.
func (c *Conn) call(ctx context.Context, encode func(dst []byte, opaque int32) []byte) ([]byte, error) {
	type result struct {
		body []byte
		err  error
	}
	got := make(chan result, 1)
	c.do(encode, func(r *protocol.Response, err error) {
		if err == nil {
			err = check(r)
		}
		if err != nil {
			got <- result{err: err}
			return
		}
		got <- result{body: slices.Clone(r.Body)}
	})
	select {
	case r := <-got:
		return r.body, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
