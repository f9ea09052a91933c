//go:build linux

package ship

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Status is what an agent says of itself.
type Status struct {
	PID     int           `json:"pid"` // 0 if none runs: then this is what the checkpoint says
	Broker  string        `json:"broker,omitempty"`
	Since   time.Time     `json:"since"` // start of the agent, or time of the checkpoint
	Saved   time.Time     `json:"saved"`
	Problem string        `json:"problem,omitempty"`
	Held    int64         `json:"held_bytes"` // read and not acknowledged, with what it takes in memory
	Inputs  []InputStatus `json:"inputs"`
}

// InputStatus has what was counted of an input since the start of the agent.
type InputStatus struct {
	Name        string       `json:"name"`
	Topic       string       `json:"topic"`
	Messages    int64        `json:"messages"`
	Bytes       int64        `json:"bytes"`
	Failed      int64        `json:"failed_blocks"`
	Refused     int64        `json:"refused_lines"`
	Cut         int64        `json:"cut_lines"`
	CutBytes    int64        `json:"cut_bytes"`
	Truncated   int64        `json:"truncated_files"`
	Copies      int64        `json:"copies_continued"`
	HoleBytes   int64        `json:"hole_bytes"`
	LostFiles   int64        `json:"lost_files"`
	LostBytes   int64        `json:"lost_bytes"`
	StreamCount int          `json:"streams"`
	Files       []FileStatus `json:"files"`
}

// FileStatus is how far a file is.
type FileStatus struct {
	Path     string `json:"path"`
	Stream   string `json:"stream"`
	State    string `json:"state"`
	Inode    uint64 `json:"inode"`
	Size     int64  `json:"size"`
	Position int64  `json:"position"` // acknowledged
	Sent     int64  `json:"sent"`     // handed to the producer
	Lag      int64  `json:"lag"`      // bytes that are not acknowledged
	Messages int64  `json:"messages"` // since the start
	Problem  string `json:"problem,omitempty"`
}

// The states of a file.
const (
	stateFollowed = "followed" // it is written
	stateRotated  = "rotated"  // it was renamed
	stateRemoved  = "removed"  // it has no name any more and is read to its end
	stateMissing  = "missing"  // its content is looked for elsewhere
	stateWaiting  = "waiting"  // it, or the directory that it is, cannot be read, or the broker does not take its lines
)

// late is when an acknowledgement is waited for longer than the flush of a slow disk takes.
const late = 3 * time.Second

// unanswered is how long the first line that is on its way has been there.
func (f *file) unanswered() time.Duration {
	for _, b := range f.blocks {
		if sent := b.sent.Load(); sent > 0 && !b.landed {
			return time.Since(f.stream.follower.agent.began) - time.Duration(sent)
		}
	}
	return 0
}

// status is what a follower says.
func (f *follower) status() InputStatus {
	c := &f.counts
	in := InputStatus{
		Name: f.input.Name, Topic: f.input.Topic, Messages: c.messages.Load(), Bytes: c.bytes.Load(), Failed: c.failed.Load(), Refused: c.refused.Load(),
		Cut: c.cut.Load(), CutBytes: c.dropped.Load(), Truncated: c.truncated.Load(), Copies: c.adopted.Load(), HoleBytes: c.holes.Load(),
		LostFiles: c.lostFiles.Load(), LostBytes: c.lost.Load(), StreamCount: len(f.streams),
	}
	add := func(fl *file, state string) {
		st := FileStatus{Path: fl.path, Stream: fl.stream.path, State: state, Inode: fl.id.Inode, Size: fl.size, Position: fl.acked, Sent: fl.next, Lag: max(0, fl.size-fl.acked), Messages: fl.messages}
		switch {
		case fl.err != nil:
			st.State, st.Problem = stateWaiting, fl.err.Error()
		case fl.stream.reason != "" && st.Lag > 0:
			st.State, st.Problem = stateWaiting, fl.stream.reason
		case fl.unanswered() >= late:
			st.State, st.Problem = stateWaiting, fmt.Sprintf("no acknowledgement for %s; the log says more", fl.unanswered().Truncate(time.Second))
		}
		in.Files = append(in.Files, st)
	}
	for _, s := range f.streams {
		for _, fl := range s.files {
			switch {
			case fl.gone:
				add(fl, stateRemoved)
			case fl.live:
				add(fl, stateFollowed)
			default:
				add(fl, stateRotated)
			}
		}
	}
	for _, fl := range f.orphans {
		if !fl.drained() {
			add(fl, stateMissing)
		}
	}
	for path, err := range f.troubles {
		if !slices.ContainsFunc(in.Files, func(st FileStatus) bool { return st.Path == path }) {
			in.Files = append(in.Files, FileStatus{Path: path, Stream: path, State: stateWaiting, Problem: err.Error()})
		}
	}
	slices.SortStableFunc(in.Files, func(a, b FileStatus) int { return cmp.Compare(a.Stream, b.Stream) })
	return in
}

// Status says how far everything is.
func (a *Agent) Status() Status {
	s := Status{PID: os.Getpid(), Broker: a.config.Broker, Since: a.began, Held: a.budget.inUse()}
	a.savedMu.Lock()
	s.Saved = a.savedAt
	if a.saveFailed != nil {
		s.Problem = a.saveFailed.Error()
	}
	a.savedMu.Unlock()
	for _, f := range a.followers {
		f.ask(func() { s.Inputs = append(s.Inputs, f.status()) })
	}
	return s
}

// ReadStatus asks the agent that ships with the checkpoint in a directory. When there is none, it says what the checkpoint does.
func ReadStatus(ctx context.Context, dir string) (Status, error) {
	var s Status
	h, held, err := whoHolds(dir)
	switch {
	case err != nil:
		return s, fmt.Errorf("ship: %w", err)
	case !held:
		return statusOfCheckpoint(dir)
	case h.HTTP == "":
		return s, fmt.Errorf("ship: process %d ships with the checkpoint in %s, and serves no status: start it without --http ''", h.PID, dir)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.HTTP+"/status", nil)
	if err != nil {
		return s, fmt.Errorf("ship: %w", err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return s, fmt.Errorf("ship: ask process %d for its status: %w", h.PID, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("ship: the status of process %d: %w", h.PID, err)
	}
	return s, nil
}

func statusOfCheckpoint(dir string) (Status, error) {
	var s Status
	c, err := readCheckpoint(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return s, err
	}
	if c == nil {
		return s, fmt.Errorf("ship: there is no checkpoint in %s: %w", dir, fs.ErrNotExist)
	}
	s.Since, s.Saved = c.Written, c.Written
	for _, in := range c.Inputs {
		st := InputStatus{Name: in.Name}
		for _, f := range in.Files {
			size := f.Size
			if l, err := lookAt(string(f.Path)); err == nil && l.id == f.identity && !f.Packed {
				size = l.size // what was written since
			}
			st.Files = append(st.Files, FileStatus{Path: string(f.Path), Stream: string(f.Stream), State: "stopped", Inode: f.Inode, Size: size, Position: f.Position, Sent: f.Position, Lag: max(0, size-f.Position)})
		}
		s.Inputs = append(s.Inputs, st)
	}
	return s, nil
}

// httpSide serves the status and the metrics. A nil one serves nothing.
type httpSide struct {
	listener net.Listener
	server   *http.Server
	ended    chan struct{}
}

func (a *Agent) listen() (*httpSide, error) {
	if a.config.HTTP == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", a.config.HTTP)
	if err != nil {
		return nil, fmt.Errorf("ship: the address of status and metrics: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics{a}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(a.Status()); err != nil {
			a.log.Debug("the status was not taken", "error", err)
		}
	})
	h := &httpSide{listener: l, ended: make(chan struct{}), server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, MaxHeaderBytes: 64 << 10}}
	go func() {
		defer close(h.ended)
		if err := h.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("status and metrics are no longer served, shipping goes on", "error", err)
		}
	}()
	return h, nil
}

func (h *httpSide) addr() string {
	if h == nil {
		return ""
	}
	return h.listener.Addr().String()
}

func (h *httpSide) stop() error {
	if h == nil {
		return nil
	}
	err := h.server.Close()
	<-h.ended
	return err
}

// Counted sums up what the inputs have counted.
func (a *Agent) Counted() (sum InputStatus) {
	for _, f := range a.followers {
		sum.Messages += f.counts.messages.Load()
		sum.Bytes += f.counts.bytes.Load()
	}
	return sum
}
