package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/server/config"
	"github.com/metaq/metaq/store"
	"github.com/metaq/metaq/store/vfs"
)

// Server is a broker. Make one with New, then call Start, and Shutdown at the end also when Start has failed.
type Server struct {
	log       zerolog.Logger
	acceptLog zerolog.Logger // throttled, like the next three
	slowLog   zerolog.Logger
	errorLog  zerolog.Logger
	damageLog zerolog.Logger

	brokerID int
	started  time.Time
	host     string // that clients are told
	store    *store.Store
	catalog  *catalog
	cluster  atomic.Pointer[cluster] // nil: the broker is alone
	workers  *workerPool
	engine   *engine

	cfg       atomic.Pointer[config.Config]
	limits    atomic.Pointer[limits]
	reloads   reloads
	admission *admission
	fileRoom  atomic.Int64 // connections that the limit on file descriptors leaves room for
	outbound  atomic.Int64 // bytes that wait for slow readers, as of the last tick
	budget    budget
	window    window
	latePuts  atomic.Int64 // that became safe after they were answered with 504

	counts     [shards]counters
	adopted    atomic.Int64 // connections that have left their event loop
	plainLoops atomic.Int64
	plains     sync.WaitGroup
	plainSet   plainSet

	listener net.Listener
	acceptor *acceptor
	http     *httpSide
	running  atomic.Bool
	leaving  atomic.Bool   // Shutdown has begun
	draining atomic.Bool   // nobody is let in any more
	stopping chan struct{} // closed when Shutdown begins
	house    sync.WaitGroup
	done     chan error
	shutdown sync.Once
	stopErr  error
}

// New opens the store, which recovers what a crash has left and may take a while. Nobody is let in before Start.
func New(cfg *config.Config, log zerolog.Logger) (*Server, error) {
	return newServer(cfg, log, storeOptions(cfg, log))
}

func newServer(cfg *config.Config, log zerolog.Logger, options store.Options) (*Server, error) {
	s := &Server{
		log: log, acceptLog: throttled(log), slowLog: throttled(log), errorLog: throttled(log), damageLog: throttled(log),
		brokerID: cfg.BrokerID, host: hostOf(cfg.HostName), started: time.Now(), stopping: make(chan struct{}), done: make(chan error, 1),
	}
	s.cfg.Store(cfg)
	s.reloads.note(nil)
	s.limits.Store(newLimits(cfg))
	st, err := store.Open(options)
	if err != nil {
		return nil, openError(cfg.DataPath, err)
	}
	s.store = st
	s.catalog = newCatalog(st, cfg)
	s.workers = newWorkerPool(s)
	s.admission = newAdmission(s)
	s.window.reset(s.started, sample{})
	s.countFiles()
	return s, nil
}

func storeOptions(cfg *config.Config, log zerolog.Logger) store.Options {
	return store.Options{
		Dir: cfg.DataPath, BrokerID: cfg.BrokerID, Log: log, Rules: cfg.Rules,
		LogSegmentSize: cfg.LogSegmentSize, RewriteRate: cfg.RewriteRate,
		DiskLimits: cfg.Disk, OffsetLimits: cfg.Offsets, DiskTimeout: cfg.Limits.DiskTimeout(),
	}
}

func (s *Server) config() *config.Config { return s.cfg.Load() }

// openError adds the next step to an error of opening the data directory.
func openError(dir string, err error) error {
	var locked *vfs.LockedError
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("open %s: %w; a broker or 'metaq check' works on it: stop that, or give this broker another dataPath", dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("open %s: %w; the user that runs the broker has to be able to read and write it, or give another dataPath", dir, err)
	}
	return fmt.Errorf("open %s: %w", dir, err)
}

// listenError adds the next step to an error of listening on the port of a key.
func listenError(key string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %w: stop the program that listens there, or set another %s", key, err, key)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: ports below 1024 are for privileged users, set another %s", key, err, key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %w: this machine does not have the address, set another hostName", key, err)
	}
	return fmt.Errorf("%s: %w", key, err)
}

// Start listens on both ports and returns when they answer.
func (s *Server) Start() error {
	if s.running.Swap(true) {
		return ErrStarted
	}
	cfg := s.config()
	var err error
	if s.engine, err = newEngine(s); err != nil {
		return err
	}
	if err := s.engine.start(); err != nil {
		s.engine = nil
		return err
	}
	s.workers.start()
	if s.listener, err = net.Listen("tcp", net.JoinHostPort(cfg.HostName, strconv.Itoa(cfg.Port))); err != nil {
		return listenError("serverPort", err)
	}
	if cfg.HTTPPort >= 0 {
		if s.http, err = newHTTPSide(s, net.JoinHostPort(cfg.HostName, strconv.Itoa(cfg.HTTPPort))); err != nil {
			return listenError("dashboardHttpPort", err)
		}
	}
	if cfg.InCluster() {
		k, err := joinCluster(s)
		if err != nil {
			return fmt.Errorf("zk.zkConnect: %w", err)
		}
		s.cluster.Store(k)
	}
	s.acceptor = newAcceptor(s, s.listener)
	go s.acceptor.run()
	s.house.Go(s.keepHouse)
	s.log.Info().Str("address", s.Addr()).Str("http", s.HTTPAddr()).Int("max_connections", s.maxConnections()).Msg("listening")
	s.log.Info().Msg(cfg.LossWindow())
	return nil
}

// Addr is the address that the broker listens on; "" before Start.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// HTTPAddr is the address of health and metrics; "" before Start, or if there is none.
func (s *Server) HTTPAddr() string {
	if s.http == nil {
		return ""
	}
	return s.http.listener.Addr().String()
}

func (s *Server) port() int {
	if s.listener != nil {
		if a, ok := s.listener.Addr().(*net.TCPAddr); ok {
			return a.Port
		}
	}
	return s.config().Port
}

// advertised is the address that clients are told.
func (s *Server) advertised() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port())) }

// hostOf is what others know this machine by: hostName, unless that stands for all addresses. Then it is an address, as the original has it, for a name
// that others cannot look up is of no use.
func hostOf(hostName string) string {
	if ip := net.ParseIP(hostName); hostName != "" && (ip == nil || !ip.IsUnspecified()) {
		return hostName
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		addresses = nil
	}
	var sixth string
	for _, a := range addresses {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || !n.IP.IsGlobalUnicast():
		case n.IP.To4() != nil:
			return n.IP.String()
		case sixth == "":
			sixth = n.IP.String()
		}
	}
	if sixth != "" {
		return sixth
	}
	return "localhost"
}

// brokerName is the broker's name in the texts of answers.
func (s *Server) brokerName() string { return "meta://" + s.advertised() }

// maxConnections is the bound of the configuration, or what the limit on file descriptors leaves if that is less.
func (s *Server) maxConnections() int {
	most := int(s.fileRoom.Load())
	if n := s.limits.Load().connections; n > 0 {
		return min(n, most)
	}
	return most
}

// countFiles finds out how many connections the limit on file descriptors leaves room for. The log needs a few, however long it is.
func (s *Server) countFiles() {
	files := fileLimit()
	room := files - reserveFDs
	s.fileRoom.Store(max(room, files/4, 1))
}

// Done receives the reason when the broker has ended by itself. Shutdown still has to be called.
func (s *Server) Done() <-chan error { return s.done }

// keepHouse does what is due every second.
func (s *Server) keepHouse() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last int64
	silent, n := 0, 0
	for {
		select {
		case <-s.stopping:
			return
		case now := <-tick.C:
			s.countFiles()
			if n++; n%int(sampleTime/time.Second) == 0 {
				s.takeSamples(now)
			}
			// The ticker of the loops ends with them. Counting instead of measuring, because the process may have been stopped.
			if ticks := s.engine.ticks.Load(); ticks != last {
				last, silent = ticks, 0
			} else if silent++; silent == deadTicks {
				s.done <- ErrEngine
				return
			}
		}
	}
}

// deadTicks is how many seconds without a tick say that the event loops have ended.
const deadTicks = 30

// Shutdown stops the broker in order: in a cluster clients are sent elsewhere, nobody is let in, commands that were read are answered, what waits for a message is answered at once,
// connections are closed, the log is flushed. When ctx is done the rest is cut off; the log is closed in order all the same.
// It may be called again and then returns the same.
func (s *Server) Shutdown(ctx context.Context) error {
	s.shutdown.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Server) stop(ctx context.Context) (err error) {
	s.leaving.Store(true)
	if k := s.cluster.Load(); k != nil {
		k.leave(ctx)
	}
	s.draining.Store(true)
	close(s.stopping)
	if s.listener != nil {
		s.listener.Close()
	}
	if s.acceptor != nil {
		<-s.acceptor.done
	}
	if s.engine != nil {
		s.eachLoop((*loop).drainAll)
		select {
		case <-s.admission.allGone():
		case <-ctx.Done():
			err = fmt.Errorf("%d connections were cut off: %w", s.admission.count(), ctx.Err())
			s.eachLoop((*loop).closeAll)
			s.plainSet.cut()
		}
	}
	s.workers.stop()
	s.house.Wait()
	if s.engine != nil {
		err = errors.Join(err, s.engine.stop())
	}
	s.plains.Wait()
	if s.http != nil {
		err = errors.Join(err, s.http.stop(ctx))
	}
	return errors.Join(err, s.store.Close())
}

func (s *Server) eachLoop(fn func(*loop)) {
	s.engine.each(fn)
	s.plainSet.each(fn)
}
