package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpSide is the second port: health, metrics, profiles, and messages for clients that speak HTTP.
type httpSide struct {
	listener net.Listener
	server   *http.Server
	ended    chan struct{}
}

// newHTTPSide listens and serves.
func newHTTPSide(s *Server, addr string) (*httpSide, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	slots := make(chan struct{}, httpConns)
	h := &httpSide{listener: listener, ended: make(chan struct{}), server: &http.Server{
		Handler: takingTurns(slots, s.httpHandler()), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: httpIdle,
		MaxHeaderBytes: 64 << 10,
	}}
	go func() {
		defer close(h.ended)
		if err := h.server.Serve(&limitedListener{Listener: listener, slots: slots}); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error().Err(err).Msg("the HTTP side has ended, the broker goes on")
		}
	}()
	return h, nil
}

func (h *httpSide) stop(ctx context.Context) error {
	err := h.server.Shutdown(ctx)
	if err != nil {
		h.server.Close()
	}
	<-h.ended
	return err
}

func (s *Server) httpHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(s), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	ours := http.NewServeMux()
	ours.HandleFunc("GET /{$}", s.index)
	ours.HandleFunc("GET /healthz", s.healthz)
	ours.HandleFunc("GET /readyz", s.readyz)
	s.handleMessages(ours)
	ours.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes}))
	mux := http.NewServeMux()
	mux.Handle("/", s.inTime(ours))
	mux.Handle("/debug/pprof/", local(http.HandlerFunc(pprof.Index)))
	mux.Handle("/debug/pprof/cmdline", local(http.HandlerFunc(pprof.Cmdline)))
	mux.Handle("/debug/pprof/profile", local(http.HandlerFunc(pprof.Profile)))
	mux.Handle("/debug/pprof/symbol", local(http.HandlerFunc(pprof.Symbol)))
	mux.Handle("/debug/pprof/trace", local(http.HandlerFunc(pprof.Trace)))
	return mux
}

// takingTurns has connections end with their answer while nearly all are taken: clients that keep theirs and go on asking would keep a health check out for ever.
func takingTurns(slots chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(slots) > cap(slots)*3/4 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// inTime closes the connection of a peer that does not take its answer, as the text protocol does: there are few connections, and a health check needs one.
// The server itself has no such bound, because profiles take their time.
func (s *Server) inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.limits.Load().stall))
		next.ServeHTTP(w, r)
	})
}

// local serves only programs on the broker's own machine: profiles tell about memory and cost time.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !peer.Addr().Unmap().IsLoopback() {
			http.Error(w, "only from the broker's own machine", http.StatusForbidden)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // an earlier request of the connection may have set one
		next.ServeHTTP(w, r)
	})
}

// index tells who comes with a browser what there is, and where the broker itself is.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "The HTTP side of a MetaQ broker: /healthz, /readyz, /metrics, and /put, /get and /offset for HTTP clients of Metamorphosis.\n"+
		"The broker itself is at %s: type help there, with nc or telnet.\n", s.Addr())
}

// healthz says that the process is alive and its loops turn.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

// readyz says whether the broker should be given work, and if not, why.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if reason := s.notReady(); reason != "" {
		http.Error(w, reason, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (s *Server) notReady() string {
	if stuck := s.store.Busy(); stuck != nil { // asking for more could hang as well
		return fmt.Sprintf("busy: the disk has not answered a %s since %s", stuck.Call, stuck.Since.UTC().Format(time.RFC3339))
	}
	st := s.store.Stats()
	switch {
	case s.leaving.Load():
		return "the broker is stopping"
	case st.Failed != nil:
		return "the log takes no more writes: " + st.Failed.Error()
	case st.DiskFull != nil:
		return fmt.Sprintf("puts are refused: %s; %d bytes of %d are free", st.DiskFull, st.FreeBytes, st.TotalBytes)
	}
	if k := s.cluster.Load(); k != nil {
		if err := k.broker.Standing(); err != nil {
			return "the broker is not registered, so only clients that know its address find it: " + err.Error()
		}
	}
	return ""
}

// limitedListener bounds the connections that are open at the same time; more wait in the kernel.
type limitedListener struct {
	net.Listener
	slots chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	nc, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: nc, slots: l.slots}, nil
}

type limitedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
