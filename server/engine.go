package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/buffer/elastic"

	"github.com/rs/zerolog"
)

// engine runs gnet's event loops. It is used without gnet's own listener, because that ends all loops when the process is out of file
// descriptors; accept.go hands the connections over one by one.
type engine struct {
	server *Server
	client *gnet.Client
	ticks  atomic.Int64 // calls of OnTick, which end when the loops do

	mu    sync.Mutex
	loops map[gnet.EventLoop]*loop // guarded by mu
}

func newEngine(s *Server) (*engine, error) {
	e := &engine{server: s, loops: map[gnet.EventLoop]*loop{}}
	client, err := gnet.NewClient(e, gnet.WithNumEventLoop(max(1, runtime.GOMAXPROCS(0)/2)), gnet.WithTicker(true),
		gnet.WithReadBufferCap(readBuffer), gnet.WithWriteBufferCap(readBuffer), gnet.WithLogger(gnetLog{s.log}))
	if err != nil {
		return nil, fmt.Errorf("event loops: %w", err)
	}
	e.client = client
	return e, nil
}

// readBuffer is what one read takes from a socket, in bytes.
const readBuffer = 64 << 10

func (e *engine) start() error {
	if err := e.client.Start(); err != nil {
		return fmt.Errorf("event loops: %w", err)
	}
	return nil
}

// enroll hands a connection to the event loop with the fewest. It blocks until the loop has it.
func (e *engine) enroll(nc net.Conn, c *conn) error {
	_, err := e.client.EnrollContext(nc, c)
	return err
}

// stop ends the loops. No connection may be handed over any more.
func (e *engine) stop() error {
	e.mu.Lock()
	for _, l := range e.loops {
		l.close()
	}
	e.mu.Unlock()
	return e.client.Stop()
}

// each calls fn on every loop that has ever had a connection.
func (e *engine) each(fn func(*loop)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		l.post(taskFunc(fn))
	}
}

// loopOf is our side of an event loop.
func (e *engine) loopOf(ev gnet.EventLoop) *loop {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.loops[ev]
	if l == nil {
		l = e.server.newLoop(len(e.loops))
		l.shared = true
		run := gnet.RunnableFunc(func(context.Context) error { l.drain(); return nil })
		l.wake = func() { _ = ev.Execute(context.Background(), run) } // it fails only when the engine has stopped
		e.loops[ev] = l
	}
	return l
}

// OnBoot is part of gnet.EventHandler.
func (e *engine) OnBoot(gnet.Engine) gnet.Action { return gnet.None }

// OnShutdown is part of gnet.EventHandler.
func (e *engine) OnShutdown(gnet.Engine) {}

// OnOpen is part of gnet.EventHandler.
func (e *engine) OnOpen(g gnet.Conn) ([]byte, gnet.Action) {
	c := g.Context().(*conn)
	c.sock = &gnetSocket{conn: c, gnet: g}
	e.loopOf(g.EventLoop()).add(c)
	if e.server.draining.Load() {
		c.ending = true
		c.finish()
	}
	return nil, gnet.None
}

// OnTraffic is part of gnet.EventHandler. What is not used is kept by the connection, so gnet's own buffer stays empty.
func (e *engine) OnTraffic(g gnet.Conn) gnet.Action {
	c, ok := g.Context().(*conn)
	if !ok {
		return gnet.Close
	}
	b, err := g.Peek(-1)
	if err != nil || len(b) == 0 {
		return gnet.None
	}
	c.feed(b)
	if c.closed {
		return gnet.None
	}
	_, _ = g.Discard(-1) // everything
	if sock, ok := c.sock.(*gnetSocket); ok && sock.moved != nil {
		return gnet.Close
	}
	return gnet.None
}

// OnClose is part of gnet.EventHandler.
func (e *engine) OnClose(g gnet.Conn, err error) gnet.Action {
	c, ok := g.Context().(*conn)
	if !ok {
		return gnet.None
	}
	sock := c.sock.(*gnetSocket)
	c.commit()
	var untaken []byte
	if sock.moved == nil && errors.Is(err, io.EOF) && (c.unanswered() || sock.Buffered() > 0) && sock.move() {
		// The peer has closed its half only, as `nc -N` does: it still wants the answers.
		c.eof = true
		var whole bool
		if untaken, whole = sock.takeBuffered(); !whole {
			_ = sock.moved.Close()
			sock.moved = nil
		}
	}
	if sock.moved == nil {
		c.gone()
		return gnet.None
	}
	l := c.loop.Load()
	l.remove(c)
	e.server.adopt(c, sock.moved, untaken)
	return gnet.None
}

// OnTick is part of gnet.EventHandler. It is called by a goroutine of its own.
func (e *engine) OnTick() (time.Duration, gnet.Action) {
	e.ticks.Add(1)
	e.each(func(l *loop) { l.tick(time.Now()) })
	return tickTime, gnet.None
}

// gnetSocket is a connection on an event loop.
type gnetSocket struct {
	conn  *conn
	gnet  gnet.Conn
	moved net.Conn // set by move
}

// mover is a socket that can leave its event loop.
type mover interface {
	// move prepares the connection for a goroutine of its own, which can wait without reading. What is buffered does not go with it.
	move() bool
}

func (s *gnetSocket) Write(p []byte) (int, error) { return s.gnet.Write(p) }

// writev is Write for several pieces.
func (s *gnetSocket) writev(parts [][]byte) error { _, err := s.gnet.Writev(parts); return err }

func (s *gnetSocket) Buffered() int { return s.gnet.OutboundBuffered() }
func (s *gnetSocket) CloseWrite()   { closeWrite(s.gnet.Fd()) }

// Close must be called on the loop, like everything else of a connection.
func (s *gnetSocket) Close() { _ = s.gnet.EventLoop().Close(s.gnet) }

func (s *gnetSocket) move() bool {
	fd, err := s.gnet.Dup()
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	if s.moved, err = net.FileConn(f); err != nil {
		s.moved = nil
		return false
	}
	return true
}

// takeBuffered takes what waits for the peer. When a connection ends, gnet tries once to send it and then throws it away, and has no call to get at it, hence
// the look inside. With a gnet that keeps it elsewhere whole is false, and TestHalfClosed_AnswersThePeerHasNotTaken fails.
func (s *gnetSocket) takeBuffered() (untaken []byte, whole bool) {
	size := s.Buffered()
	if size == 0 {
		return nil, true
	}
	field := reflect.ValueOf(s.gnet).Elem().FieldByName("outboundBuffer")
	if !field.IsValid() || field.Type() != reflect.TypeFor[elastic.Buffer]() {
		return nil, false
	}
	buffer := (*elastic.Buffer)(field.Addr().UnsafePointer())
	pieces, err := buffer.Peek(-1) // everything
	if untaken = bytes.Join(pieces, nil); err != nil || len(untaken) != size {
		return nil, false
	}
	buffer.Release()
	return untaken, true
}

// gnetLog gives gnet's words to our log.
type gnetLog struct{ log zerolog.Logger }

func (g gnetLog) Debugf(format string, args ...any) { g.log.Trace().Msgf("gnet: "+format, args...) }
func (g gnetLog) Infof(format string, args ...any)  { g.log.Debug().Msgf("gnet: "+format, args...) }
func (g gnetLog) Warnf(format string, args ...any)  { g.log.Warn().Msgf("gnet: "+format, args...) }
func (g gnetLog) Errorf(format string, args ...any) { g.log.Error().Msgf("gnet: "+format, args...) }
func (g gnetLog) Fatalf(format string, args ...any) { g.log.Error().Msgf("gnet: "+format, args...) }
