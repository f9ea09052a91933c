package server

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

var getHelp = help{"get TOPIC GROUP PARTITION OFFSET MAXSIZE [OPAQUE], or: get TOPIC GROUP PARTITION OFFSET MAXSIZE WAITMS OPAQUE",
	`answers "value length number" and the stored messages from OFFSET on, at most MAXSIZE bytes, cut anywhere:
ask again from the end of the last whole message. A message is 4 bytes length, 4 checksum, 8 id, 4 flag, then its bytes.
404: nothing there yet. 301: go on at the offset in the text. OFFSET 9223372036854775807 asks for the end.
With WAITMS the answer comes when there is something, or after that many milliseconds.
Example, to paste:
  get greetings me 0 0 4096`}

// getRequest is a get that cannot be answered in its pass, without views of the input.
type getRequest struct {
	topic    *topic
	queue    *store.Queue
	offset   int64
	max      int
	opaque   int32
	began    time.Time
	deadline time.Time // of a get that waits; zero for a classic get
	own      bool      // it waits for the connection's own puts only
}

func (c *conn) get(l *loop, r *protocol.Request) {
	l.counts.gets.Add(1)
	t := c.lookup(r.Topic)
	if t != nil {
		t.counts.gets.Add(1)
	}
	g := getRequest{topic: t, queue: t.queue(r.Partition), offset: r.Offset, max: int(r.MaxSize), opaque: r.Opaque, began: l.began}
	if r.Wait > 0 {
		g.deadline = l.began.Add(min(time.Duration(r.Wait)*time.Millisecond, maxWait))
	} else if c.waitingPuts > 0 {
		// Who pastes a put and a get wants to see what was put: at the end of a queue the get waits until the puts before it are answered.
		g.deadline, g.own = l.began.Add(maxWait), true
	}
	switch {
	case g.queue == nil:
		if !g.deadline.IsZero() && !g.own && c.waitBirth(r, g) {
			return
		}
		l.counts.missed(t)
		c.answer(protocol.StatusNotFound, r.Opaque, notExists(r.Topic, r.Partition))
	case g.queue.Closed():
		c.answer(protocol.StatusForbidden, r.Opaque, c.server.closedToGets(r.Partition))
	case r.MaxSize <= 0:
		c.answer(protocol.StatusBadRequest, r.Opaque, fmt.Sprintf("Bad request,invalid max size:%d", r.MaxSize))
	default:
		c.read(l, &g)
	}
}

// closedToGets is the answer to a get of a partition that is closed.
func (s *Server) closedToGets(partition int32) string {
	return fmt.Sprintf("Partition[%d-%d] has been closed", s.brokerID, partition)
}

// read answers a get from memory, or sees to it that it is answered later.
func (c *conn) read(l *loop, g *getRequest) {
	at, direct := len(l.out), false
	var err error
	l.views, err = g.queue.Gather(l.views, g.offset, g.max, c.server.transfer(), true, func(v store.Views) {
		l.out = protocol.AppendValueHeader(l.out, v.Size, g.opaque)
		if !isLarge(v) || !c.writeViews(l, v, &direct) {
			l.out = appendViews(l.out, v)
		}
		l.counts.hit(v.Size)
	})
	switch {
	case err == nil:
		l.counts.durations[protocol.VerbGet].observe(time.Since(l.began), 1)
		return
	case direct: // a part of the answer may be on its way
		clear(l.gather)
		l.out = l.out[:0]
		c.end(err.Error())
		return
	}
	l.out = l.out[:at]
	switch {
	case errors.Is(err, store.ErrCold):
		l.counts.coldReads.Add(1)
		c.enqueueRead(l, *g)
	case errors.Is(err, store.ErrEnd) && c.server.waits(g):
		c.poll(l, g)
	default:
		l.out = c.server.appendNothing(l.out, l.counts, g, err)
	}
}

// transfer is the bound of one answer, in bytes: less than the configured one when little memory is left for answers.
func (s *Server) transfer() int {
	lim := s.limits.Load()
	return min(lim.transfer, max(s.budget.share(lim), smallPiece))
}

// gatherSize is how large the pieces of an answer have to be on average, in bytes, to go from the log to the socket without a copy in between:
// the kernel takes no more than 1024 pieces at once, and small ones cost it more than their copy.
const gatherSize = 4 << 10

func isLarge(v store.Views) bool { return v.Size >= gatherSize*len(v.Parts) }

// writeViews writes the answers that are ready and then bytes of the log, if the connection can do so now; it sets began before it does.
func (c *conn) writeViews(l *loop, v store.Views, began *bool) bool {
	sock, ok := c.sock.(*gnetSocket)
	if !ok || c.closed || c.isDirty || sock.Buffered() > 0 {
		return false
	}
	l.gather = append(append(l.gather[:0], l.out), v.Parts...)
	*began = true // it may fault on the bytes of the log
	c.wrote(len(l.out)+v.Size, sock.writev(l.gather))
	clear(l.gather)
	l.out = l.out[:0]
	return true
}

// sendHeld sends an answer that a worker has found: its header, and views of the log that are verified and in memory by now. They go to the socket
// without a copy in between, unless something else waits there.
func (c *conn) sendHeld(l *loop, opaque int32, header []byte, held *store.Held) {
	defer held.Release()
	if c.closed {
		return
	}
	sock, ok := c.sock.(*gnetSocket)
	direct := ok && sock.Buffered() == 0
	err := held.Use(func(v store.Views) {
		if !direct {
			c.sendLate(appendViews(slices.Grow(header, v.Size), v))
			return
		}
		l.gather = append(append(l.gather[:0], c.due, header), v.Parts...)
		c.wrote(len(c.due)+len(header)+v.Size, sock.writev(l.gather))
		c.due = c.due[:0]
	})
	clear(l.gather)
	switch {
	case err == nil && direct:
		c.sendLate(nil) // what has to wait for an answer that is out goes on
	case err != nil && direct: // a part of it may be on its way
		c.end(err.Error())
	case err != nil:
		status, text := c.server.onWire(err)
		c.sendLate(protocol.AppendResult(nil, status, opaque, text))
	}
}

func appendViews(dst []byte, v store.Views) []byte {
	for _, p := range v.Parts {
		dst = append(dst, p...)
	}
	return dst
}

// hit counts a get that is answered with messages.
func (n *counters) hit(size int) {
	n.hits.Add(1)
	n.getBytes.Add(int64(size))
}

// enqueueRead has a worker answer a get.
func (c *conn) enqueueRead(l *loop, g getRequest) {
	c.enqueueJob(l, job{opaque: g.opaque, run: func(buf []byte) ([]byte, *store.Held) { return c.server.coldRead(buf, l.counts, &g) }})
}

// coldRead appends the answer to a get, on a worker, where it may block. The messages of a large one are left where they lie.
func (s *Server) coldRead(buf []byte, counts *counters, g *getRequest) (_ []byte, held *store.Held) {
	at := len(buf)
	_, err := g.queue.Gather(nil, g.offset, g.max, s.transfer(), false, func(v store.Views) {
		buf = protocol.AppendValueHeader(buf, v.Size, g.opaque)
		if isLarge(v) {
			held = v.Hold()
		} else {
			buf = appendViews(buf, v)
		}
		counts.hit(v.Size)
	})
	if err != nil {
		return s.appendNothing(buf[:at], counts, g, err), nil
	}
	counts.durations[protocol.VerbGet].observe(time.Since(g.began), 1)
	return buf, held
}

// beyond says whether a get asks for more than there is and is to be told so.
func (s *Server) beyond(g *getRequest) (end int64, is bool) {
	end = g.queue.Stat().End
	return end, g.offset > end && s.config().UpdateConsumerOffsets
}

// waits says whether a get at the end of its partition is answered only when there is something.
func (s *Server) waits(g *getRequest) bool {
	_, beyond := s.beyond(g)
	return !beyond && !g.deadline.IsZero()
}

// appendNothing appends the answer to a get that finds no messages.
func (s *Server) appendNothing(dst []byte, counts *counters, g *getRequest, err error) []byte {
	status, text := s.nothing(counts, g, err)
	return protocol.AppendResult(dst, status, g.opaque, text)
}

// nothing is the answer to a get that finds no messages.
func (s *Server) nothing(counts *counters, g *getRequest, err error) (protocol.Status, string) {
	var moved *store.MovedError
	switch {
	case errors.Is(err, store.ErrEnd):
		if end, beyond := s.beyond(g); beyond {
			counts.moved.Add(1)
			return protocol.StatusMoved, strconv.FormatInt(end, 10)
		}
		counts.missed(g.topic)
		return protocol.StatusNotFound, fmt.Sprintf("Could not find message at position %d", g.offset)
	case errors.As(err, &moved):
		counts.moved.Add(1)
		return protocol.StatusMoved, strconv.FormatInt(moved.Offset, 10)
	}
	return s.onWire(err)
}

// missed counts a get that found nothing.
func (n *counters) missed(t *topic) {
	n.misses.Add(1)
	if t != nil {
		t.counts.misses.Add(1)
	}
}
