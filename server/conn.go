package server

import (
	"errors"
	"net/netip"
	"time"

	"github.com/metaq/metaq/protocol"
)

// socket is what a connection needs of the thing that carries its bytes. It is called on the connection's loop only.
type socket interface {
	// Write sends p, or keeps a copy of what the peer does not take yet.
	Write(p []byte) (int, error)
	// Buffered is the number of bytes that Write has kept.
	Buffered() int
	// CloseWrite tells the peer that nothing more comes.
	CloseWrite()
	// Close ends the connection; conn.gone is called then or later.
	Close()
}

// conn is one connection. It belongs to its loop, except for loop itself and what says otherwise.
type conn struct {
	server   *Server
	loop     ownerOf
	sock     socket
	remote   netip.Addr
	slot     int  // in loop.conns
	closed   bool // the socket is gone: late answers are dropped
	ending   bool // no more commands are taken; when everything is answered the connection ends
	eof      bool // the peer sends nothing more
	shut     bool // CloseWrite was called
	paused   bool // input is kept, not parsed, until answers have drained
	retrying bool // a timer will try to resume

	rest []byte // input that is not parsed yet: the beginning of a command, or what came while paused

	collected   int    // puts that are in the loop's batch
	waitingPuts int    // puts whose answers wait for a flush
	waiting     int    // other commands that are not answered yet
	owed        int    // bytes of answers that wait for a flush
	due         []byte // answers that became due in this drain, owned by dueFrom or the connection
	isDirty     bool   // in loop.dirty

	polls   []*longPoll // gets that wait for a message
	jobs    []job       // commands for the workers; the first one is running if working
	working bool

	topic *topic    // the one that the last command named
	held  int       // bytes in the broker's budget
	came  time.Time // when it came in; zero once it has sent a command

	input     time.Time // last time that bytes came in
	partial   time.Time // since when rest holds the beginning of one command; zero if it does not
	stalled   time.Time // since when the peer has taken nothing although bytes wait for it; zero if none wait
	lastOut   int       // what Buffered said at the last check
	lingering time.Time // since when the connection waits for the peer to close
	lingered  int       // bytes thrown away since then
}

// feed takes input. The bytes are copied or used before it returns.
func (c *conn) feed(b []byte) {
	l := c.loop.Load()
	l.began = time.Now()
	c.input = l.began
	l.counts.bytesIn.Add(int64(len(b)))
	switch {
	case c.closed:
	case c.ending:
		if c.lingered += len(b); c.lingered > maxLinger {
			c.end("the peer goes on sending after the end")
		}
	case c.paused && c.congested():
		c.keep(b)
		c.account()
	case len(c.rest) == 0:
		c.rest = append(c.rest[:0], c.pass(b)...)
		c.settle()
	case len(c.rest) < joinLimit:
		l.join = append(append(l.join[:0], c.rest...), b...)
		c.rest = append(c.rest[:0], c.pass(l.join)...)
		if cap(l.join) > maxScratch {
			l.join = nil
		}
		c.settle()
	default: // a large message comes in pieces
		c.rest = append(c.rest, b...)
		c.rest = c.pass(c.rest)
		c.settle()
	}
}

// keep stores input that cannot be parsed yet because the peer does not read its answers.
func (c *conn) keep(b []byte) {
	c.rest = append(c.rest, b...)
	lim := c.server.limits.Load()
	if len(c.rest) <= lim.input && (len(c.rest) <= freeShare || !c.server.budget.spent(lim)) {
		return
	}
	c.commit()
	if m, ok := c.sock.(mover); ok && c.sock.Buffered() == 0 && m.move() {
		return // its own goroutine reads nothing while the connection is paused
	}
	c.slow("it sends commands and does not read the answers")
}

// resume goes on with input that was kept.
func (c *conn) resume() {
	if !c.paused || c.closed || c.congested() {
		return
	}
	c.loop.Load().began = time.Now()
	c.rest = c.pass(c.rest)
	c.settle()
	c.startJob()
}

// settle looks at what is left over after a pass.
func (c *conn) settle() {
	if len(c.rest) == 0 && cap(c.rest) > maxDue {
		c.rest = nil
	}
	if c.eof && !c.paused {
		c.drain()
	}
	c.finish()
	c.account()
	c.overdrawn()
}

// drain takes no more commands, answers those that wait for a message, and ends the connection once everything is answered.
func (c *conn) drain() {
	if c.closed {
		return
	}
	c.ending = true
	c.commit()
	for _, p := range c.polls {
		if c.waitingPuts > 0 {
			p.get.own = true // the answers to its puts come first, and it may find what they put
		} else {
			p.fire()
		}
	}
	c.finish()
}

// unanswered says that commands are not answered yet.
func (c *conn) unanswered() bool {
	return !c.shut && (c.collected > 0 || c.waitingPuts > 0 || c.waiting > 0 || c.paused)
}

// congested says that the answers waiting for this peer have reached the bound.
func (c *conn) congested() bool {
	lim := c.server.limits.Load()
	if c.collected+c.waitingPuts >= lim.inFlight {
		return true
	}
	waits := c.sock.Buffered() + c.owed
	if waits == 0 {
		return false
	}
	c.account()
	return waits >= c.server.budget.share(lim)
}

// pass runs the commands in b and returns what it did not use. Answers that are ready go out with one write.
func (c *conn) pass(b []byte) (left []byte) {
	l := c.loop.Load()
	defer func() {
		if r := recover(); r != nil {
			c.panicked(l.request.Verb, l.request.Opaque, r)
		}
		l.passing = nil
	}()
	l.passing = c
	c.paused = false
	limits := c.server.limits.Load()
	used := 0
	for used < len(b) && !c.closed && !c.ending {
		if len(l.out) >= flushSize {
			c.flush()
			if !c.closed && !c.congested() {
				c.yield()
				break
			}
		}
		if c.congested() {
			c.commit() // its puts may be answered at once
			if c.flush(); c.congested() {
				c.pause()
				break
			}
		}
		n, err := limits.parse.Parse(b[used:], &l.request)
		if err != nil {
			used += c.refuse(n, err)
			continue
		}
		if n == 0 {
			break
		}
		used += n
		if l.request.Verb != 0 {
			c.came = time.Time{}
			c.dispatch(l, &l.request)
		}
	}
	l.commitSoon()
	c.flush()
	switch {
	case c.ending || c.closed:
		return nil
	case used == len(b) || c.paused:
		c.partial = time.Time{}
	case used > 0 || c.partial.IsZero():
		c.partial = l.began
	}
	return b[used:]
}

// refuse answers a line that is not a command.
func (c *conn) refuse(n int, err error) int {
	l := c.loop.Load()
	l.counts.badRequests.Add(1)
	syntax := &protocol.SyntaxError{Opaque: protocol.NoOpaque, Reason: err.Error(), Fatal: true}
	errors.As(err, &syntax)
	c.answer(protocol.StatusBadRequest, syntax.Opaque, syntax.Error())
	if syntax.Fatal || n == 0 {
		c.ending = true
	}
	return n
}

// pause stops parsing. It is tried again when an answer that waited is sent, when more input comes, and soon.
func (c *conn) pause() {
	c.paused = true
	c.loop.Load().counts.pauses.Add(1)
	c.retryLater()
}

// retryLater tries to resume soon, again and again: nothing tells when a peer has read.
func (c *conn) retryLater() {
	if c.retrying {
		return
	}
	c.retrying = true
	time.AfterFunc(resumeDelay, func() {
		c.post(taskFunc(func(*loop) {
			c.retrying = false
			c.resume()
			if !c.closed && (c.paused || len(c.jobs) > 0 && !c.working) {
				c.retryLater()
			}
		}))
	})
}

// post has a task run on the loop that the connection belongs to then. It may be called from any goroutine.
func (c *conn) post(t task) { c.loop.Load().post(connTask{c, t}) }

// connTask follows a connection that has moved since the task was posted.
type connTask struct {
	conn *conn
	task task
}

func (t connTask) run(l *loop) {
	if now := t.conn.loop.Load(); now != l {
		now.post(t)
		return
	}
	t.task.run(l)
}

// answer appends an answer that goes out at the end of the pass. What was collected before is appended to the log first, so that the
// order of answers is the order of the commands.
func (c *conn) answer(status protocol.Status, opaque int32, text string) {
	c.commit()
	l := c.loop.Load()
	l.out = protocol.AppendResult(l.out, status, opaque, text)
}

// flush writes the answers that are ready.
func (c *conn) flush() {
	l := c.loop.Load()
	if len(l.out) > 0 {
		c.write(l.out)
		if l.out = l.out[:0]; cap(l.out) > maxScratch {
			l.out = nil
		}
	}
}

// write sends bytes to the peer. If that fails the socket is closed and gone has been called.
func (c *conn) write(b []byte) {
	if !c.closed {
		_, err := c.sock.Write(b)
		c.wrote(len(b), err)
	}
}

// wrote looks at what became of bytes that were given to the socket.
func (c *conn) wrote(n int, err error) {
	c.loop.Load().counts.bytesOut.Add(int64(n))
	if err == nil && !c.closed && c.sock.Buffered() > c.server.limits.Load().outbound {
		c.slow("it does not read its answers")
	}
}

// send sends answers outside of a pass of the connection, behind those that sendLate was given.
func (c *conn) send(b []byte) {
	if c.isDirty {
		c.sendLate(b)
	} else {
		c.write(b)
	}
}

// sendLate hands over answers that did not belong to a pass. They are written at the end of the drain.
func (c *conn) sendLate(b []byte) {
	if c.closed {
		return
	}
	if len(b) > maxDue {
		if len(c.due) > 0 {
			c.write(c.due)
			c.due = c.due[:0]
		}
		c.write(b)
	} else {
		c.due = append(c.due, b...)
	}
	if !c.isDirty {
		c.isDirty = true
		l := c.loop.Load()
		l.dirty = append(l.dirty, c)
	}
}

// writeDue writes what sendLate has collected and goes on with what had to wait for that.
func (c *conn) writeDue() {
	c.isDirty = false
	if len(c.due) > 0 {
		c.write(c.due)
	}
	if c.due = c.due[:0]; cap(c.due) > maxDue {
		c.due = nil
	}
	c.resume()
	c.startJob()
	c.finish()
	c.account()
}

// finish ends a connection that takes no more commands once every answer is out: the peer gets the end of the stream behind the last answer,
// and some time to close first, because closing a socket with unread input makes TCP throw away what the peer has not read.
func (c *conn) finish() {
	if !c.ending || c.closed || c.shut || c.waiting > 0 || c.collected > 0 || c.waitingPuts > 0 || c.isDirty || c.sock.Buffered() > 0 {
		return
	}
	c.shut = true
	c.rest = nil
	if c.eof {
		c.sock.Close()
		return
	}
	c.lingering = time.Now()
	c.sock.CloseWrite()
}

// end closes the connection now.
func (c *conn) end(reason string) {
	if c.closed {
		return
	}
	c.server.log.Debug().Stringer("peer", c.remote).Str("reason", reason).Msg("connection closed")
	c.sock.Close()
}

// slow closes the connection of a peer that does not keep up.
func (c *conn) slow(reason string) {
	if c.closed {
		return
	}
	c.loop.Load().counts.slowClosed.Add(1)
	c.server.slowLog.Warn().Stringer("peer", c.remote).Int("outbound_bytes", c.sock.Buffered()).Str("reason", reason).Msg("slow connection closed")
	c.sock.Close()
}

// gone is called once when the socket is closed: nothing of the connection is kept, and what still waits for it does nothing.
func (c *conn) gone() {
	if c.closed {
		return
	}
	c.closed = true
	l := c.loop.Load()
	l.remove(c)
	for _, p := range c.polls {
		p.forget()
	}
	c.polls, c.jobs, c.rest, c.due, c.topic = nil, nil, nil, nil, nil
	c.server.outbound.Add(int64(-c.lastOut))
	c.account()
	c.server.admission.leave(c.remote)
}

// check is the connection's timer, called from time to time.
func (c *conn) check(now time.Time) {
	lim := c.server.limits.Load()
	out := c.sock.Buffered()
	c.server.outbound.Add(int64(out - c.lastOut))
	if out == 0 {
		c.stalled = time.Time{}
	} else if c.stalled.IsZero() || out < c.lastOut {
		c.stalled = now
	}
	c.lastOut = out
	c.finish()
	c.account()
	c.hurry(now, lim)
	switch {
	case c.closed:
	case c.shut && (now.Sub(c.lingering) > lingerTime || c.server.draining.Load()):
		c.sock.Close()
	case !c.stalled.IsZero() && now.Sub(c.stalled) > lim.stall:
		c.slow("it has taken no answer for " + lim.stall.String())
	case !c.partial.IsZero() && !c.ending && (now.Sub(c.input) > lim.partial || now.Sub(c.partial) > lim.partial+time.Duration(len(c.rest)/minRate)*time.Second):
		c.loop.Load().counts.timeouts.Add(1)
		c.write(protocol.AppendResult(nil, protocol.StatusTimeout, protocol.NoOpaque,
			"The command was not complete after "+lim.partial.String()+", the connection is closed"))
		c.ending = true
		c.finish()
	case !c.came.IsZero() && c.partial.IsZero() && !c.ending && c.server.admission.patience(lim) > 0 && now.Sub(c.came) > c.server.admission.patience(lim):
		c.loop.Load().counts.timeouts.Add(1)
		c.server.admission.silent.Add(1)
		c.write(protocol.AppendResult(nil, protocol.StatusTimeout, protocol.NoOpaque,
			"No command came for "+c.server.admission.patience(lim).String()+" (firstCommandTimeout), the connection is closed"))
		c.ending = true
		c.finish()
	case lim.idle > 0 && now.Sub(c.input) > lim.idle && c.waiting == 0 && c.waitingPuts == 0 && out == 0 && !c.ending:
		c.loop.Load().counts.timeouts.Add(1)
		c.end("idle")
	}
}
