package server

import (
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// An offset that a power cut may take back is told to nobody: what `committed` answers never moves back by itself.
func TestCommitted_WaitsForTheFlush(t *testing.T) {
	s, hold := stuckServer(t, vfs.OpSync)
	c, other := dial(t, s.Addr()), dial(t, s.Addr())
	c.send("put t 0 5 0 1\r\nhello")
	c.want(protocol.StatusOK)
	c.send("commit t g 0 7 2\r\n")
	c.want(protocol.StatusOK)
	other.send("committed t g 0 3\r\n")
	if got := other.want(protocol.StatusOK); got != "7" {
		t.Fatalf("committed %s", got)
	}
	release := hold()
	c.send("commit t g 0 8 4\r\n")
	waitFor(t, "the new offset to be kept", func() bool {
		offset, safe, ok := s.store.CommittedOffset([]byte("t"), []byte("g"), 0)
		return ok && offset == 8 && !s.store.Acked(safe)
	})
	other.send("committed t g 0 5\r\n") // nothing is flushed, so it is not told 8; it may be told that the disk does not answer
	other.want(protocol.StatusTimeout)
	release()
	other.send("committed t g 0 6\r\n")
	if got := other.want(protocol.StatusOK); got != "8" {
		t.Errorf("committed %s after the flush", got)
	}
}
