package server

import (
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/metaq/metaq/protocol"
)

const internalError = "internal error; the broker's log has the cause"

// dispatch runs one command. The request and its views are valid until it returns.
func (c *conn) dispatch(l *loop, r *protocol.Request) {
	l.counts.requests[r.Verb].Add(1)
	if c.busy(l, r) {
		return
	}
	if r.Verb != protocol.VerbPut {
		c.commit() // what was put before the command on its connection comes before it
	}
	switch r.Verb {
	case protocol.VerbPut:
		c.put(l, r)
	case protocol.VerbGet:
		c.get(l, r)
	case protocol.VerbOffset:
		c.offset(l, r)
	case protocol.VerbStats:
		c.stats(l, r)
	case protocol.VerbVersion:
		c.version(r)
	case protocol.VerbQuit:
		c.quit(l)
	case protocol.VerbSync:
		c.sync(r)
	case protocol.VerbTransaction:
		c.transaction(r)
	case protocol.VerbCommit:
		c.commitOffset(l, r)
	case protocol.VerbCommitted:
		c.committed(r)
	case protocol.VerbSeek:
		c.seek(l, r)
	case protocol.VerbLag:
		c.lag(l, r)
	case protocol.VerbTopics:
		c.topics(l, r)
	case protocol.VerbRoute:
		c.route(l, r)
	case protocol.VerbHelp:
		c.help(r)
	case protocol.VerbClose, protocol.VerbOpen:
		c.closePartitions(l, r)
	default:
		c.answer(protocol.StatusBadRequest, r.Opaque, fmt.Sprintf("%s is not a command of this broker; type help for the list", r.Verb))
	}
	if r.Verb != protocol.VerbPut && r.Verb != protocol.VerbGet { // these two observe when they are answered
		l.counts.durations[r.Verb].observe(time.Since(l.began), 1)
	}
}

// panicked ends a connection whose command has panicked: the command and the puts that were collected before it are answered, the log has
// the stack, and every other connection goes on.
func (c *conn) panicked(verb protocol.Verb, opaque int32, cause any) {
	l := c.loop.Load()
	l.counts.panics.Add(1)
	c.server.errorLog.Error().Str("panic", fmt.Sprint(cause)).Stringer("command", verb).Stringer("peer", c.remote).
		Bytes("stack", debug.Stack()).Msg("a command panicked, its connection is closed")
	answered := verb == protocol.VerbPut && slices.ContainsFunc(l.puts, func(p pendingPut) bool { return p.conn == c && p.opaque == opaque })
	l.dropPuts(protocol.StatusError, internalError)
	if !answered {
		l.out = protocol.AppendResult(l.out, protocol.StatusError, opaque, internalError)
	}
	c.ending = true
	c.flush()
}
