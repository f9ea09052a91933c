package hostile

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

// flood opens connections from several goroutines and holds those that are served.
type flood struct {
	mu   sync.Mutex
	held []*client

	served, refused, unanswered atomic.Int64
}

// open makes count connections; each asks for the version, and is served, refused with 503, or gets no answer.
func (f *flood) open(addr string, count int) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		all.Go(func() {
			for next.Add(1) <= int64(count) {
				f.one(addr)
			}
		})
	}
	all.Wait()
}

func (f *flood) one(addr string) {
	c, err := connect(addr)
	if err != nil {
		f.unanswered.Add(1)
		return
	}
	// A refused one may be closed by now; its answer can be read all the same.
	_ = c.send("version 1\r\n")
	a, err := c.read()
	switch {
	case err == nil && a.code == 200:
		f.served.Add(1)
		f.mu.Lock()
		f.held = append(f.held, c)
		f.mu.Unlock()
		return
	case err == nil && a.code == 503:
		f.refused.Add(1)
	default:
		f.unanswered.Add(1)
	}
	c.Close()
}

func (f *flood) leave() {
	for _, c := range f.held {
		c.Close()
	}
	f.held = nil
}

// knock connects again and again until over, as a flood does that finds the door shut; it reads whatever is said.
func (f *flood) knock(addr string, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		c, err := connect(addr)
		if err != nil {
			continue
		}
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if line, err := c.in.ReadString('\n'); err == nil && strings.HasPrefix(line, "result 503") {
			f.refused.Add(1)
		} else {
			f.unanswered.Add(1)
		}
		c.Close()
	}
}

// Test 21: more connections than there may be, and then fewer file descriptors than are open. Who is connected is served, who comes is
// told why not, and when there is room again everybody comes in.
func TestConnectionFlood(t *testing.T) {
	files := chaos.Pick(400, 6000)
	b := process.Start(t, process.Options{Under: []string{"prlimit", fmt.Sprintf("--nofile=%d:%d", files, files)}})
	fill(t, b.Addr, "small", 1, 100)
	old := newProber(t, b.Addr, "small", 4)
	old.measure(t, 300*time.Millisecond) // warm
	calm := old.measure(t, chaos.Pick(time.Second, 10*time.Second))

	// To the bound and beyond it.
	f := &flood{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.open(b.Addr, files+files/2)
	}()
	var loud []time.Duration
	for flooding := true; flooding; {
		loud = append(loud, old.measure(t, time.Second)...)
		select {
		case <-done:
			flooding = false
		default:
		}
	}
	byTotal := old.number(t, "connections", "refused_max_connections")
	chaos.Figure(t, 21, "connections tried, served, refused with 503, unanswered", "%d, %d, %d, %d (limit %d descriptors)",
		files+files/2, f.served.Load(), f.refused.Load(), f.unanswered.Load(), files)
	if f.served.Load() < int64(files/2) || f.refused.Load() == 0 || byTotal == 0 || f.unanswered.Load() > 0 {
		t.Errorf("served %d, refused %d (the broker says %d), unanswered %d of a flood", f.served.Load(), f.refused.Load(), byTotal, f.unanswered.Load())
	}

	// No descriptor at all: the limit falls below what is open, while the flood goes on knocking.
	setFiles(t, b.PID(), files/4, files)
	over := make(chan struct{})
	var all sync.WaitGroup
	doors := &flood{}
	for range 4 {
		all.Go(func() { doors.knock(b.Addr, over) })
	}
	loud = append(loud, old.measure(t, chaos.Pick(2*time.Second, 20*time.Second))...)
	close(over)
	all.Wait()
	failed := old.number(t, "connections", "accept_errors_total")
	byFiles := old.number(t, "connections", "refused_file_descriptors")
	setFiles(t, b.PID(), files, files)
	f.leave()
	back := waitFor(t, "a new connection is served", func() bool {
		c, err := connect(b.Addr)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.send("version 1\r\n")
		a, err := c.read()
		return err == nil && a.code == 200
	})
	after := old.measure(t, time.Second)

	chaos.Figure(t, 21, "without descriptors: errors of accept, refused, not told", "%d, %d, %d", failed, byFiles, doors.unanswered.Load())
	chaos.Figure(t, 21, "old connections' p99 before / during", "%s / %s", ms(quantile(calm, 0.99)), ms(p99(loud)))
	chaos.Figure(t, 21, "old connections' commands during", "%d, all answered", len(loud)) // one that is not has failed the test
	chaos.Figure(t, 21, "new connections served after", "%s", ms(back))
	if failed == 0 || byFiles == 0 {
		t.Errorf("%d errors of accept and %d refused: the broker did not run out of descriptors", failed, byFiles)
	}
	if len(loud) == 0 || len(after) == 0 {
		t.Error("the old connections did nothing")
	}
}

// setFiles changes the limit on file descriptors of a running process; the hard limit stays, so that the soft one can come back.
func setFiles(t *testing.T, pid, soft, hard int) {
	t.Helper()
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(soft), Max: uint64(hard)}, nil); err != nil {
		t.Fatalf("change the limit on file descriptors of the broker (this needs root): %v", err)
	}
}
