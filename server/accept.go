package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/metaq/metaq/protocol"
)

// reason is why a connection was refused.
type reason int

const (
	refusedTotal reason = iota
	refusedAddress
	refusedFiles
	refusedDraining
	reasons
)

func (r reason) String() string {
	return [...]string{"max_connections", "max_connections_per_address", "file_descriptors", "draining"}[r]
}

// admission counts connections and decides which may come in.
type admission struct {
	server   *Server
	accepted atomic.Int64
	failed   atomic.Int64 // errors of accept
	silent   atomic.Int64 // connections closed because they never sent a command
	crowded  atomic.Bool  // most of the connections that there may be are there
	refused  [reasons]atomic.Int64

	mu    sync.Mutex
	total int                // guarded by mu
	from  map[netip.Addr]int // guarded by mu
	empty chan struct{}      // closed when no connection is left, if somebody waits; guarded by mu
}

func newAdmission(s *Server) *admission {
	return &admission{server: s, from: map[netip.Addr]int{}}
}

// enter lets a connection in, or says why not.
func (a *admission) enter(addr netip.Addr) (refusal string) {
	lim := a.server.limits.Load()
	most := a.server.maxConnections()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.server.draining.Load():
		a.refused[refusedDraining].Add(1)
		return "the broker is stopping"
	case a.total >= most:
		a.refused[refusedTotal].Add(1)
		return fmt.Sprintf("the broker has %d connections, which is the limit (maxConnections, or what the operating system allows)", a.total)
	case lim.perAddress > 0 && a.from[addr] >= lim.perAddress:
		a.refused[refusedAddress].Add(1)
		return fmt.Sprintf("your address has %d connections, which is the limit (maxConnectionsPerAddress)", a.from[addr])
	}
	a.total++
	a.from[addr]++
	a.accepted.Add(1)
	a.crowded.Store(a.total >= most-most/8)
	return ""
}

func (a *admission) leave(addr netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.from[addr]--; a.from[addr] == 0 {
		delete(a.from, addr)
	}
	if a.crowded.Load() {
		most := a.server.maxConnections()
		a.crowded.Store(a.total >= most-most/8)
	}
	if a.total == 0 && a.empty != nil {
		close(a.empty)
		a.empty = nil
	}
}

// patience is how long a connection may take until its first command; 0: for ever. It is short when there is hardly room for others.
func (a *admission) patience(lim *limits) time.Duration {
	if lim.first > crowdedTime && a.crowded.Load() {
		return crowdedTime
	}
	return lim.first
}

func (a *admission) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

func (a *admission) addresses() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.from)
}

// allGone is closed when no connection is left.
func (a *admission) allGone() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.empty == nil {
		a.empty = make(chan struct{})
	}
	c := a.empty
	if a.total == 0 {
		close(a.empty)
		a.empty = nil
	}
	return c
}

// acceptor takes connections from the listener until that is closed.
type acceptor struct {
	server   *Server
	listener net.Listener
	spare    *os.File      // a descriptor to give up when there is no other, so that even then a connection can be refused with an answer
	slots    chan struct{} // bounds the refused connections that linger
	done     chan struct{}
}

// Back-off after a failed accept.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

func newAcceptor(s *Server, listener net.Listener) *acceptor {
	a := &acceptor{server: s, listener: listener, slots: make(chan struct{}, refusals), done: make(chan struct{})}
	a.reserve()
	return a
}

func (a *acceptor) reserve() {
	if a.spare == nil {
		a.spare, _ = os.Open(os.DevNull) // without one, nobody is told
	}
}

// run ends when the listener is closed.
func (a *acceptor) run() {
	defer close(a.done)
	backoff := firstBackoff
	for {
		nc, err := a.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			if a.spare != nil {
				a.spare.Close()
			}
			return
		}
		if err != nil {
			a.server.admission.failed.Add(1)
			a.server.acceptLog.Error().Err(err).Dur("wait", backoff).Msg("accept failed, the connections that are there go on")
			if outOfFiles(err) {
				a.refuseWithSpare()
			}
			a.reserve()
			select {
			case <-time.After(backoff):
			case <-a.server.stopping:
			}
			backoff = min(backoff*2, lastBackoff)
			continue
		}
		backoff = firstBackoff
		a.reserve()
		a.take(nc)
	}
}

func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// take lets a connection in, or refuses it.
func (a *acceptor) take(nc net.Conn) {
	s := a.server
	c := s.newConn(nc)
	if text := s.admission.enter(c.remote); text != "" {
		a.refuse(nc, text)
		return
	}
	err := s.engine.enroll(nc, c)
	if err == nil && c.loop.Load() == nil {
		err = errNotPolled // gnet does not tell
	}
	if err != nil {
		s.admission.leave(c.remote)
		s.admission.failed.Add(1)
		if outOfFiles(err) {
			s.admission.refused[refusedFiles].Add(1)
		}
		s.acceptLog.Error().Err(err).Msg("connection not taken")
	}
}

// refuseWithSpare answers one connection although there is no descriptor left.
func (a *acceptor) refuseWithSpare() {
	if a.spare == nil {
		return
	}
	a.spare.Close()
	a.spare = nil
	if tcp, ok := a.listener.(*net.TCPListener); ok {
		_ = tcp.SetDeadline(time.Now().Add(firstBackoff))
		defer func() { _ = tcp.SetDeadline(time.Time{}) }()
	}
	if nc, err := a.listener.Accept(); err == nil {
		a.server.admission.refused[refusedFiles].Add(1)
		_, _ = nc.Write(refusalLine("the broker has no file descriptors left; try again later"))
		nc.Close()
	}
}

// refuse answers and closes a connection on a goroutine of its own, or at once if many are being refused.
func (a *acceptor) refuse(nc net.Conn, text string) {
	select {
	case a.slots <- struct{}{}:
		go func() {
			refuse(nc, text)
			<-a.slots
		}()
	default:
		_ = nc.SetWriteDeadline(time.Now().Add(firstBackoff))
		_, _ = nc.Write(refusalLine(text))
		nc.Close()
	}
}

func refusalLine(text string) []byte {
	return protocol.AppendResult(nil, protocol.StatusUnavailable, protocol.NoOpaque, text)
}

// refuse answers and closes a connection. It waits a little for the peer to close: what a peer has not read when a socket with unread
// input is closed is thrown away.
func refuse(nc net.Conn, text string) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(lingerTime))
	if _, err := nc.Write(refusalLine(text)); err != nil {
		return
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, nc, maxLinger)
	}
}
