package server

import (
	"strconv"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

var commitHelp = help{"commit TOPIC GROUP PARTITION OFFSET [OPAQUE]",
	`keeps OFFSET as the place where GROUP goes on in a partition, as safe as the topic's flush rule says.
Example, to paste:
  commit greetings me 0 25`}

var committedHelp = help{"committed TOPIC GROUP PARTITION [OPAQUE]",
	`answers the offset that GROUP has committed; 404 if there is none.
Example, to paste:
  committed greetings me 0`}

func (c *conn) commitOffset(l *loop, r *protocol.Request) {
	group, err := protocol.ParseGroup(string(r.Group))
	if err != nil {
		c.answer(protocol.StatusBadRequest, r.Opaque, err.Error())
		return
	}
	t := c.lookup(r.Topic)
	switch {
	case t.queue(r.Partition) == nil:
		c.answer(protocol.StatusNotFound, r.Opaque, notExists(r.Topic, r.Partition))
		return
	case r.Offset < 0:
		c.answer(protocol.StatusBadRequest, r.Opaque, "an offset is not negative")
		return
	}
	pos, err := c.server.store.CommitOffset(t.name, group, r.Partition, r.Offset)
	switch {
	case err != nil:
		c.answerError(r.Opaque, err)
	default:
		c.answerSafe(pos, r.Opaque, "")
	}
}

// answerSafe answers 200 once the log is flushed up to a position.
func (c *conn) answerSafe(pos store.Position, opaque int32, text string) {
	switch {
	case c.server.store.Acked(pos):
		c.answer(protocol.StatusOK, opaque, text)
	case c.mayWait(opaque):
		c.waiting++
		c.server.store.Await(pos, &commitWait{conn: c, opaque: opaque, text: text})
	}
}

// commitWait is an answer about an offset that is not safe yet.
type commitWait struct {
	conn   *conn
	opaque int32
	text   string
	err    error
}

// Acked is called by the store.
func (w *commitWait) Acked(err error) {
	w.err = err
	w.conn.loop.Load().post(w)
}

func (w *commitWait) run(l *loop) {
	c := w.conn
	if now := c.loop.Load(); now != l {
		now.post(w)
		return
	}
	c.waiting--
	status, text := protocol.StatusOK, w.text
	if w.err != nil {
		status, text = c.server.onWire(w.err)
	}
	var buf [256]byte
	c.sendLate(protocol.AppendResult(buf[:0], status, w.opaque, text))
}

func (c *conn) committed(r *protocol.Request) {
	if !protocol.ValidTopic(r.Group) { // one rule for both names
		_, err := protocol.ParseGroup(string(r.Group))
		c.answer(protocol.StatusBadRequest, r.Opaque, err.Error())
		return
	}
	offset, safe, ok := c.server.store.CommittedOffset(r.Topic, r.Group, r.Partition)
	if !ok {
		c.answer(protocol.StatusNotFound, r.Opaque, "group "+string(r.Group)+" has committed no offset of "+string(r.Topic)+"-"+strconv.Itoa(int(r.Partition)))
		return
	}
	// What another connection has just committed is told to nobody before it is safe: it would move back in a power cut.
	c.answerSafe(safe, r.Opaque, strconv.FormatInt(offset, 10))
}
