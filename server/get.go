package server

import (
	"errors"
	"fmt"
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
		c.answer(protocol.StatusForbidden, r.Opaque, fmt.Sprintf("Partition[%d-%d] has been closed", c.server.brokerID, r.Partition))
	case r.MaxSize <= 0:
		c.answer(protocol.StatusBadRequest, r.Opaque, fmt.Sprintf("Bad request,invalid max size:%d", r.MaxSize))
	default:
		c.read(l, &g)
	}
}

// read answers a get from memory, or sees to it that it is answered later.
func (c *conn) read(l *loop, g *getRequest) {
	var err error
	l.out, err = c.server.appendRead(l.out, l.counts, g, true)
	switch {
	case err == nil:
		l.counts.durations[protocol.VerbGet].observe(time.Since(l.began), 1)
	case errors.Is(err, store.ErrCold):
		l.counts.coldReads.Add(1)
		request := *g
		c.enqueue(l, g.opaque, func(buf []byte) []byte { return c.server.coldRead(buf, l.counts, &request) })
	default: // store.ErrEnd of a long poll
		c.poll(l, g)
	}
}

// coldRead answers a get on a worker, where it may block.
func (s *Server) coldRead(buf []byte, counts *counters, g *getRequest) []byte {
	g.deadline = time.Time{}
	buf, err := s.appendRead(buf, counts, g, false)
	if err != nil {
		status, text := s.onWire(err)
		return protocol.AppendResult(buf, status, g.opaque, text)
	}
	counts.durations[protocol.VerbGet].observe(time.Since(g.began), 1)
	return buf
}

// appendRead appends the answer to a get. With an error it has appended nothing: store.ErrCold if hot is set and the bytes may have to come
// from disk, store.ErrEnd if there is nothing yet and the get wants to wait.
func (s *Server) appendRead(dst []byte, counts *counters, g *getRequest, hot bool) ([]byte, error) {
	lim := s.limits.Load()
	limit := min(lim.transfer, max(s.budget.share(lim), smallPiece))
	at := len(dst)
	dst = protocol.AppendValueHeader(dst, min(g.max, limit), g.opaque) // as long as it can be; made right below
	body := len(dst)
	out, err := g.queue.Read(dst, g.offset, g.max, limit, hot)
	if err == nil {
		counts.hits.Add(1)
		counts.getBytes.Add(int64(len(out) - body))
		return fixHeader(out, at, body, g.opaque), nil
	}
	dst = dst[:at]
	var moved *store.MovedError
	switch {
	case errors.Is(err, store.ErrEnd):
		if end := g.queue.Stat().End; g.offset > end && s.config().UpdateConsumerOffsets {
			counts.moved.Add(1)
			return appendMoved(dst, g.opaque, end), nil
		}
		if !g.deadline.IsZero() {
			return dst, store.ErrEnd
		}
		counts.missed(g.topic)
		return protocol.AppendResult(dst, protocol.StatusNotFound, g.opaque, fmt.Sprintf("Could not find message at position %d", g.offset)), nil
	case errors.As(err, &moved):
		counts.moved.Add(1)
		return appendMoved(dst, g.opaque, moved.Offset), nil
	case hot && errors.Is(err, store.ErrCold):
		return dst, store.ErrCold
	}
	status, text := s.onWire(err)
	return protocol.AppendResult(dst, status, g.opaque, text), nil
}

func appendMoved(dst []byte, opaque int32, offset int64) []byte {
	return protocol.AppendResult(dst, protocol.StatusMoved, opaque, strconv.FormatInt(offset, 10))
}

// fixHeader writes the header again, now that the length is known. The body moves only if the number has another count of digits, which it
// has not when the answer is as large as it may be: so a large body is not copied again.
func fixHeader(out []byte, at, body int, opaque int32) []byte {
	var buf [64]byte
	header := protocol.AppendValueHeader(buf[:0], len(out)-body, opaque)
	n := len(out) - body
	switch begin := at + len(header); {
	case begin < body:
		copy(out[begin:], out[body:])
		out = out[:begin+n]
	case begin > body:
		out = append(out, buf[:begin-body]...)
		copy(out[begin:], out[body:body+n])
	}
	copy(out[at:], header)
	return out
}

// missed counts a get that found nothing.
func (n *counters) missed(t *topic) {
	n.misses.Add(1)
	if t != nil {
		t.counts.misses.Add(1)
	}
}
