package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// failing is a broker on a disk in memory whose calls of one kind fail while the switch is on.
func failing(t *testing.T, kind vfs.Kind, cause error) (*Server, *atomic.Bool) {
	t.Helper()
	cfg := testConfig(t, settings{"logSegmentSize": "1M"})
	disk, broken := vfs.NewMem(), &atomic.Bool{}
	disk.Inject(func(op vfs.Op) error {
		if broken.Load() && op.Kind == kind {
			return cause
		}
		return nil
	})
	options := storeOptions(cfg, testLog(t))
	options.FS = disk
	s, err := newServer(cfg, testLog(t), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) }) // its error is the disk's
	return s, broken
}

func TestDisk_FailingFlushAnswersAndGoesRed(t *testing.T) {
	s, broken := failing(t, vfs.OpSync, syscall.EIO)
	c := dial(t, s.Addr())
	c.send("put t 0 5 0 1\r\nhello")
	c.want(protocol.StatusOK)
	broken.Store(true)
	for i := range 3 { // the first one waits for the flush, the others are refused at once
		c.send("put t 0 5 0 2\r\nworld")
		if text := c.want(protocol.StatusUnavailable); !strings.Contains(text, "takes no more writes") || strings.Contains(text, ".log") {
			t.Fatalf("answer %d: %q", i, text)
		}
	}
	c.send("get t g 0 0 100 3\r\n")
	if r, _ := c.next(); len(payloads(t, r.body)) != 1 {
		t.Fatalf("answer %+v, want the message that was acknowledged and no other", r)
	}
	if code, body := fetch(t, s, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no more writes") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if _, text := fetch(t, s, "/metrics"); !strings.Contains(text, "metaq_partition_poisoned 1\n") || !strings.Contains(text, `metaq_put_failures_total{code="503"} 3`) {
		t.Error("/metrics does not show it")
	}
	if got := stat(t, s.Addr(), "store", "writable"); got != "0" {
		t.Errorf("writable %s", got)
	}
}

func TestDisk_FullAndFreeAgain(t *testing.T) { noNextSegment(t, syscall.ENOSPC, "the disk is full") }

// Who has room but may not write looks for the wrong thing if told that there is none.
func TestDisk_ReadOnlyIsNotFull(t *testing.T) {
	noNextSegment(t, syscall.EROFS, "the next segment of the log cannot be made")
}

// noNextSegment puts to a broker whose next segment cannot be made for a while. The answers have to say why.
func noNextSegment(t *testing.T, cause error, text string) {
	s, full := failing(t, vfs.OpAllocate, cause)
	full.Store(true)
	c := dial(t, s.Addr())
	put := fmt.Sprintf("put t 0 100000 0 1\r\n%s", strings.Repeat("x", 100_000))
	stored, status := 0, protocol.StatusOK
	for ; status == protocol.StatusOK && stored < 100; stored++ {
		c.send(put)
		r, _ := c.next()
		if status = r.status; status != protocol.StatusOK && (status != protocol.StatusUnavailable || !strings.Contains(r.body, text)) {
			t.Fatalf("answer %+v", r)
		}
	}
	if status == protocol.StatusOK {
		t.Fatal("there was a segment always")
	}
	if code, body := fetch(t, s, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, text) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	c.send("get t g 0 0 100020 2\r\n")
	if r, _ := c.next(); !r.value {
		t.Fatalf("answer %+v, want the first message", r)
	}
	full.Store(false)
	waitFor(t, "puts are taken again", func() bool {
		c.send(put)
		r, _ := c.next()
		return r.status == protocol.StatusOK
	})
}
