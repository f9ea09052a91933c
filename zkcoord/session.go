package zkcoord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// Answers of ZooKeeper, for errors.Is.
var (
	ErrNoNode     = zk.ErrNoNode
	ErrNodeExists = zk.ErrNodeExists
	ErrBadVersion = zk.ErrBadVersion // somebody else has changed the node
	ErrNotEmpty   = zk.ErrNotEmpty   // it has children

	// ErrClosed is the answer of a Session that was closed.
	ErrClosed = errors.New("zookeeper: the session is closed")
	// ErrUnknown is wrapped when the connection broke, or the context ended, while ZooKeeper had the request: a write may have happened.
	ErrUnknown = errors.New("zookeeper: it is not known whether this happened")
)

// AnyVersion of a node is good for Set and Delete.
const AnyVersion int32 = -1

// maxPacket is ZooKeeper's own bound for a request and for an answer, in bytes (jute.maxbuffer).
const maxPacket = 1 << 20

// State is that of a Session.
type State int

const (
	// Suspended: there is no connection just now. The ephemeral nodes are there yet.
	Suspended State = iota
	// Connected: a server answers.
	Connected
	// Lost: no server has answered for two thirds of the time-out. The ephemeral nodes may be gone, and what they stood for may be somebody else's.
	Lost
	// Closed: it was closed. It never becomes anything else.
	Closed
)

func (s State) String() string {
	return [...]string{"suspended", "connected", "lost", "closed"}[s]
}

// Status is the state of a Session at one time.
type Status struct {
	State State
	ID    int64 // of ZooKeeper's session; 0 before the first. Ephemeral nodes of another one are not there, or will not be for long
}

// Config is what a Session needs.
type Config struct {
	Connect        string        // see ParseConnect
	SessionTimeout time.Duration // asked for; ZooKeeper grants 2 to 20 of its ticks. Default: 10 s
	ConnectTimeout time.Duration // for the connection to one server and for its greeting. Default: a third of SessionTimeout, 5 s at most
	Log            *slog.Logger  // default: silent

	clock     func() time.Duration // of a test; default: newClock
	lookAgain time.Duration        // of a test; default: lookAgain
}

const (
	defaultSessionTimeout = 10 * time.Second
	mostConnectTimeout    = 5 * time.Second
)

// A Session is a connection to ZooKeeper that is opened again for as long as it is wanted, see the package's documentation. It may be used from
// several goroutines.
type Session struct {
	config  Config
	servers []string
	chroot  string
	log     *slog.Logger
	clock   func() time.Duration
	heard   atomic.Int64 // a server has heard of us at this time of the clock, or later
	dialed  atomic.Int64 // when the last connection was begun

	connections atomic.Int64 // how often a server has greeted us

	mu       sync.Mutex
	conn     *zk.Conn // the library's; another one when a server will have no more of it, see renew
	opened   time.Time
	status   Status
	changed  chan struct{} // closed when status changes
	timeout  time.Duration // that was granted, or asked for until then
	watching map[watchKey]*watcher

	ephemerals ephemerals

	quit chan struct{}
	off  sync.WaitGroup
}

// Connect makes a Session and returns at once; an error is about the configuration. Whether there is a server shows in its Status.
func Connect(c Config) (*Session, error) {
	servers, chroot, err := ParseConnect(c.Connect)
	if err != nil {
		return nil, err
	}
	if c.SessionTimeout <= 0 {
		c.SessionTimeout = defaultSessionTimeout
	}
	if c.ConnectTimeout <= 0 {
		// One server that takes connections and is silent must not cost the session while others answer.
		c.ConnectTimeout = min(mostConnectTimeout, c.SessionTimeout/3)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.clock == nil {
		c.clock = newClock()
	}
	if c.lookAgain == 0 {
		c.lookAgain = lookAgain
	}
	s := &Session{
		config: c, servers: servers, chroot: chroot, log: c.Log, clock: c.clock, timeout: c.SessionTimeout,
		changed: make(chan struct{}), watching: map[watchKey]*watcher{}, quit: make(chan struct{}),
	}
	s.mu.Lock()
	err = s.openLocked()
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.off.Go(s.watchClock)
	return s, nil
}

// openLocked makes a connection of the library.
func (s *Session) openLocked() error {
	var mine *zk.Conn
	// The library says what happens on a channel that drops what does not fit, so it calls us instead.
	happened := func(e zk.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.conn == mine {
			s.happenedLocked(e)
		}
	}
	conn, _, err := zk.Connect(s.servers, s.config.SessionTimeout, zk.WithEventCallback(happened), zk.WithDialer(s.dial),
		zk.WithHostProvider(&rotation{}), zk.WithLogger(quiet{s.log}), zk.WithLogInfo(false), zk.WithMaxBufferSize(maxPacket))
	if err != nil {
		return fmt.Errorf("zookeeper %q: %w", s.config.Connect, err)
	}
	mine, s.conn, s.opened = conn, conn, time.Now()
	return nil
}

// renew begins with a new connection of the library when a session is over by our clock and the library still tries to have it back. A server
// that knows less than the library has seen, because it was set up anew, sends it away each time without a word.
func (s *Session) renew() {
	s.mu.Lock()
	old := s.conn
	if s.status.State != Lost || time.Since(s.opened) < 2*s.timeout {
		s.mu.Unlock()
		return
	}
	err := s.openLocked()
	s.mu.Unlock()
	if err != nil {
		s.log.Error("zookeeper: a new connection", "error", err)
		return
	}
	s.off.Go(old.Close)
}

func (s *Session) library() *zk.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// Close ends the session: ZooKeeper removes its ephemeral nodes at once, if it can be reached. Requests that wait end with ErrClosed.
func (s *Session) Close() {
	s.mu.Lock()
	if s.status.State == Closed {
		s.mu.Unlock()
		return
	}
	s.setLocked(Status{Closed, s.status.ID})
	s.mu.Unlock()
	close(s.quit)
	s.library().Close()
	s.off.Wait()
}

// Status is how it is now, and a channel that is closed when that changes.
func (s *Session) Status() (Status, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.changed
}

// Holds says whether what was registered in a session still stands for sure: it is the session now, and it was heard of within two thirds of its time-out.
// It looks at the clock itself, so it is right also in a process that was stopped for a while.
func (s *Session) Holds(id int64) bool {
	status, _ := s.Status()
	return status.ID == id && (status.State == Connected || status.State == Suspended) && s.lostIn() > 0
}

// Timeout is the time-out of the session: what ZooKeeper has granted, or what was asked for as long as that is not known.
func (s *Session) Timeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timeout
}

// Await waits until a server answers.
func (s *Session) Await(ctx context.Context) error {
	for {
		status, changed := s.Status()
		switch status.State {
		case Connected:
			return nil
		case Closed:
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("no answer from zookeeper at %s: %w", s.config.Connect, ctx.Err())
		}
	}
}

func (s *Session) setLocked(now Status) {
	if now == s.status || s.status.State == Closed {
		return
	}
	s.status = now
	close(s.changed)
	s.changed = make(chan struct{})
}

// happenedLocked takes an event of the library, which waits for it.
func (s *Session) happenedLocked(e zk.Event) {
	now := s.status
	switch {
	case e.Type != zk.EventSession:
		return
	case e.State == zk.StateHasSession:
		now = Status{Connected, s.conn.SessionID()}
		s.connections.Add(1)
		s.hear(time.Duration(s.dialed.Load())) // it has heard our greeting after that
		if now.ID != s.status.ID {
			s.log.Info("zookeeper: a new session", "id", fmt.Sprintf("%#x", now.ID), "server", e.Server, "timeout", s.timeout)
		}
	case e.State == zk.StateExpired:
		now.State = Lost
		s.log.Warn("zookeeper: the session has expired", "id", fmt.Sprintf("%#x", now.ID))
	case e.State == zk.StateDisconnected && now.State == Connected:
		now.State = Suspended
		s.log.Warn("zookeeper: the connection is gone", "server", e.Server)
	}
	s.setLocked(now)
}

// watchClock declares the session lost. ZooKeeper ends it when it has not heard of us for the time-out.
func (s *Session) watchClock() {
	timer := time.NewTimer(s.lostIn())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.quit:
			return
		}
		if s.lostIn() <= 0 {
			s.mu.Lock()
			if now := s.status; now.State == Connected || now.State == Suspended && now.ID != 0 {
				s.log.Warn("zookeeper: no answer for two thirds of the session's time-out, so it counts as lost", "id", fmt.Sprintf("%#x", now.ID), "timeout", s.timeout)
				s.setLocked(Status{Lost, now.ID})
			}
			s.mu.Unlock()
		}
		if status, _ := s.Status(); status.State == Lost {
			if s.library().State() == zk.StateHasSession {
				s.confirm()
			} else {
				s.renew()
			}
		}
		next := s.Timeout() / clockLooks // the timer may stand still while the machine sleeps
		if in := s.lostIn(); in > 0 {
			next = min(next, in)
		}
		timer.Reset(next)
	}
}

// clockLooks is how often in a time-out the clock is looked at.
const clockLooks = 20

// confirm asks the server about a session that counts as lost although the connection is there: this process may have been stopped for a while. An
// answer that came to it meanwhile says nothing; one to this request does.
func (s *Session) confirm() {
	conn := s.library()
	id := conn.SessionID()
	answered := make(chan error, 1)
	go func() {
		_, _, err := conn.Exists("/")
		answered <- err
	}()
	select {
	case err := <-answered:
		if err == nil && id == conn.SessionID() && s.lostIn() > 0 {
			s.mu.Lock()
			s.setLocked(Status{Connected, id})
			s.mu.Unlock()
		}
	case <-time.After(s.Timeout() / clockLooks):
	case <-s.quit:
	}
}

func (s *Session) lostIn() time.Duration {
	return time.Duration(s.heard.Load()) + s.Timeout()*2/3 - s.clock()
}

// hear notes that a server has heard of us, at a time of the clock or later.
func (s *Session) hear(at time.Duration) {
	for before := s.heard.Load(); int64(at) > before && !s.heard.CompareAndSwap(before, int64(at)); before = s.heard.Load() {
	}
}

func (s *Session) grant(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d != s.config.SessionTimeout && d != s.timeout {
		s.log.Warn("zookeeper: the server grants another time-out than was asked for", "asked", s.config.SessionTimeout, "granted", d)
	}
	s.timeout = d
}

func (s *Session) dial(network, address string, _ time.Duration) (net.Conn, error) {
	s.dialed.Store(int64(s.clock()))
	c, err := net.DialTimeout(network, address, s.config.ConnectTimeout)
	if err != nil {
		return nil, err
	}
	return &heardConn{Conn: c, greeting: s.config.ConnectTimeout, clock: s.clock, heard: s.hear, granted: s.grant}, nil
}

// quiet passes on what the library says as details: what matters is said above.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("zookeeper: " + fmt.Sprintf(format, args...))
}
