package server

import (
	"fmt"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

// busy refuses a command while the disk does not answer: puts always, since they would only pile up, and when it is a write that hangs also
// what has to take the log's lock, which would hang the event loop with all its connections. It takes no lock itself.
func (c *conn) busy(l *loop, r *protocol.Request) bool {
	stuck := c.server.store.Busy()
	if stuck == nil {
		return false
	}
	switch r.Verb {
	case protocol.VerbPut:
		status, text := c.server.onWire(stuck)
		c.failPut(l, r.Opaque, status, c.server.putFailed(r.Topic, r.Partition, text))
		return true
	case protocol.VerbVersion, protocol.VerbQuit, protocol.VerbHelp:
		return false
	}
	if stuck.Blocks() {
		c.answerError(r.Opaque, stuck)
	}
	return stuck.Blocks()
}

// busyOnWire is the answer about a disk that does not answer.
func busyOnWire(e *store.BusyError) (protocol.Status, string) {
	if e.Unknown {
		return protocol.StatusTimeout, fmt.Sprintf("busy: the disk has not answered a %s for %d ms; it may be stored yet, or not: it is not known", e.Call, e.For.Milliseconds())
	}
	return protocol.StatusUnavailable, fmt.Sprintf("busy: the disk has not answered a %s for %d ms; nothing was stored, try again later", e.Call, e.For.Milliseconds())
}

// latePuts counts puts that were answered with 504 and then became safe after all.
type latePuts struct {
	server *Server
	puts   int
}

// Acked is called by the store.
func (p latePuts) Acked(err error) {
	if err == nil {
		p.server.latePuts.Add(int64(p.puts))
	}
}
