package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// stuckServer is a broker on a disk in memory whose calls of one kind hang while they are held.
func stuckServer(t *testing.T, kind vfs.Kind) (s *Server, hold func() (release func())) {
	t.Helper()
	cfg := testConfig(t, settings{"diskTimeout": "300ms"})
	disk, gates := vfs.NewMem(), make(chan chan struct{}, 1)
	gates <- nil
	disk.Inject(func(op vfs.Op) error {
		if op.Kind == kind {
			gate := <-gates
			gates <- gate
			if gate != nil {
				<-gate
			}
		}
		return nil
	})
	options := storeOptions(cfg, testLog(t))
	options.FS = disk
	return startWith(t, cfg, options), func() func() {
		gate := make(chan struct{})
		<-gates
		gates <- gate
		return func() {
			<-gates
			gates <- nil
			close(gate)
		}
	}
}

func TestBusy_StuckFlush(t *testing.T) {
	s, hold := stuckServer(t, vfs.OpSync)
	c := dial(t, s.Addr())
	c.send("put t 0 5 0 1\r\nhello")
	c.want(protocol.StatusOK)
	release := hold()
	c.send("put t 0 5 0 2\r\nworldput t 0 5 0 3\r\nagain")
	for range 2 { // their result is not known
		if text := c.want(protocol.StatusTimeout); !strings.Contains(text, "busy: the disk has not answered a flush for") || !strings.Contains(text, "may be stored") {
			t.Errorf("answer %q", text)
		}
	}
	waitFor(t, "busy", func() bool { return s.store.Busy() != nil })
	for range 3 {
		c.send("put t 0 5 0 4\r\nthird")
		if text := c.want(protocol.StatusUnavailable); !strings.Contains(text, "busy: ") || !strings.Contains(text, "nothing was stored") {
			t.Errorf("answer %q", text)
		}
	}
	c.send("commit t g 0 0 5\r\n")
	c.want(protocol.StatusUnavailable)
	c.send("get t g 0 0 100 6\r\n") // reads go on
	if r, _ := c.next(); len(payloads(t, r.body)) != 1 {
		t.Fatalf("answer %+v, want the first message", r)
	}
	if code, body := fetch(t, s, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "has not answered a flush since 2") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if _, text := fetch(t, s, "/metrics"); strings.Contains(text, "metaq_disk_stuck_seconds 0\n") || !strings.Contains(text, `metaq_put_failures_total{code="504"} 2`) ||
		!strings.Contains(text, "metaq_unflushed_bytes") {
		t.Error("/metrics does not show it")
	}
	if got := stat(t, s.Addr(), "store", "disk_stuck_total"); got != "1" {
		t.Errorf("disk_stuck_total %s", got)
	}
	release()
	waitFor(t, "ready", func() bool { code, _ := fetch(t, s, "/readyz"); return code == http.StatusOK })
	c.send("put t 0 4 0 7\r\nlast")
	c.want(protocol.StatusOK)
	c.send("get t g 0 0 1000 8\r\n")
	if r, _ := c.next(); strings.Join(payloads(t, r.body), " ") != "hello world again last" {
		t.Errorf("afterwards: %+v", r)
	}
	if got := s.latePuts.Load(); got != 2 {
		t.Errorf("%d puts became safe late, want 2", got)
	}
}

func TestBusy_StuckWriteLeavesOtherLoopsAlive(t *testing.T) {
	s, hold := stuckServer(t, vfs.OpWriteAt)
	c, other := dial(t, s.Addr()), dial(t, listenPlain(t, s))
	for _, each := range []*client{c, other} {
		each.send("put t 0 5 0 1\r\nhello")
		each.want(protocol.StatusOK)
	}
	release := hold()
	c.send("put t 0 5 0 2\r\nworld") // its loop hangs
	waitFor(t, "busy", func() bool { return s.store.Busy() != nil })
	for _, command := range []string{"put t 0 5 0 2\r\nagain", "put new 0 5 0 2\r\nagain", "get t g 0 0 100 2\r\n", "stats store 2\r\n", "commit t g 0 0 2\r\n"} {
		other.send(command)
		if text := other.want(protocol.StatusUnavailable); !strings.Contains(text, "has not answered a write") {
			t.Errorf("%q: %q", command, text)
		}
	}
	other.send("version 3\r\n")
	other.want(protocol.StatusOK)
	if code, body := fetch(t, s, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "a write since") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if _, text := fetch(t, s, "/metrics"); !strings.Contains(text, "metaq_disk_stuck_total 1\n") || strings.Contains(text, "metaq_unflushed_bytes") {
		t.Error("/metrics does not show it")
	}
	release()
	c.want(protocol.StatusOK)
	waitFor(t, "not busy any more", func() bool { return s.store.Busy() == nil })
	other.send("put t 0 4 0 7\r\nlast")
	other.want(protocol.StatusOK)
}
