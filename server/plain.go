package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// A plain connection is served by two goroutines of its own: one reads, the other is its loop. It runs the same commands as a connection
// of an event loop; what differs is that writing may block (up to the stall timeout) and that nothing is read while it is paused.

// adopt goes on with a connection that has left its event loop, on goroutines of its own. untaken is what waits for the peer.
func (s *Server) adopt(c *conn, nc net.Conn, untaken []byte) {
	s.adopted.Add(1)
	p := s.newPlain(c, nc)
	s.plains.Go(func() {
		if len(untaken) > 0 {
			_, _ = p.Write(untaken) // if that fails, the connection is closed
			untaken = nil
		}
		p.serve()
	})
}

// plain is a connection with a loop of its own.
type plain struct {
	conn   *conn
	loop   *loop
	net    net.Conn
	woken  chan struct{}
	chunks chan []byte   // what was read; closed at the end of input
	used   chan struct{} // the last chunk may be overwritten
	quit   chan struct{} // closed when the connection has ended
}

func (s *Server) newPlain(c *conn, nc net.Conn) *plain {
	p := &plain{
		conn: c, net: nc, loop: s.newLoop(int(s.plainLoops.Add(1))),
		woken: make(chan struct{}, 1), chunks: make(chan []byte), used: make(chan struct{}), quit: make(chan struct{}),
	}
	p.loop.wake = func() {
		select {
		case p.woken <- struct{}{}:
		default:
		}
	}
	c.sock = p
	p.loop.add(c)
	s.plainSet.add(p)
	return p
}

// serve is the connection's loop.
func (p *plain) serve() {
	c := p.conn
	defer c.server.plainSet.remove(p)
	defer p.loop.close()
	reading := !c.eof
	if reading {
		go p.read()
	}
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	c.resume()
	if c.eof {
		c.settle()
	}
	if c.server.draining.Load() {
		c.drain()
	}
	for !c.closed {
		chunks := p.chunks
		if c.paused || !reading {
			chunks = nil
		}
		select {
		case b, ok := <-chunks:
			if !ok {
				reading = false
				c.eof = true
				c.settle()
				continue
			}
			c.feed(b)
			if reading && !c.closed {
				p.used <- struct{}{}
			}
		case <-p.woken:
			p.loop.drain()
		case now := <-tick.C:
			p.loop.tick(now)
		}
	}
}

// read hands what comes in to the loop, one chunk at a time.
func (p *plain) read() {
	defer close(p.chunks)
	buf := make([]byte, plainBuffer)
	for {
		n, err := p.net.Read(buf)
		if n > 0 {
			select {
			case p.chunks <- buf[:n]:
			case <-p.quit:
				return
			}
			select {
			case <-p.used:
			case <-p.quit:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// plainBuffer is what one read of a plain connection takes, in bytes.
const plainBuffer = 16 << 10

// Write blocks until the peer's side of the connection has taken everything, for at most the stall timeout.
func (p *plain) Write(b []byte) (int, error) {
	s := p.conn.server
	lim := s.limits.Load()
	patience := lim.stall
	if s.budget.spent(lim) {
		patience = min(patience, hurryTime)
	}
	s.budget.add(int64(len(b))) // they wait here while the peer does not take them
	defer s.budget.add(-int64(len(b)))
	_ = p.net.SetWriteDeadline(time.Now().Add(patience))
	n, err := p.net.Write(b)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.loop.counts.slowClosed.Add(1)
		}
		p.Close()
	}
	return n, err
}

func (p *plain) Buffered() int { return 0 }

func (p *plain) CloseWrite() {
	if half, ok := p.net.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	} else {
		p.Close()
	}
}

func (p *plain) Close() {
	if p.conn.closed {
		return
	}
	close(p.quit)
	_ = p.net.Close()
	p.conn.gone()
}

// newConn is a connection that has just come in.
func (s *Server) newConn(nc net.Conn) *conn {
	now := time.Now()
	return &conn{server: s, remote: addressOf(nc), input: now, came: now}
}

// addressOf is the peer's address, without the port; the zero address if it has none.
func addressOf(nc net.Conn) netip.Addr {
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// plainSet holds the plain connections, so that they can be told to stop.
type plainSet struct {
	mu  sync.Mutex
	all map[*plain]struct{} // guarded by mu
}

func (s *plainSet) add(p *plain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*plain]struct{}{}
	}
	s.all[p] = struct{}{}
}

func (s *plainSet) remove(p *plain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, p)
}

// each has fn run on the loop of every plain connection.
func (s *plainSet) each(fn func(*loop)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.all {
		p.loop.post(taskFunc(fn))
	}
}

// cut closes the sockets: their loops may be writing, and then see nothing else.
func (s *plainSet) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.all {
		_ = p.net.Close()
	}
}
