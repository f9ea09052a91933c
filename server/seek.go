package server

import (
	"strconv"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

var seekHelp = help{"seek TOPIC PARTITION UNIXMILLIS [OPAQUE]",
	`answers the offset of the first message that was stored at that time or later; the end if there is none.
Example, to paste:
  seek greetings 0 0`}

func (c *conn) seek(l *loop, r *protocol.Request) {
	millis := r.Offset
	c.askQueue(l, r, func(q *store.Queue) (string, error) {
		offset, err := q.SeekTime(millis)
		return strconv.FormatInt(offset, 10), err
	})
}

// askQueue answers with what ask says of a partition, on a worker, where it may block. ask must not use the request, which is over by then.
func (c *conn) askQueue(l *loop, r *protocol.Request, ask func(q *store.Queue) (text string, err error)) {
	q := c.lookup(r.Topic).queue(r.Partition)
	if q == nil {
		c.answer(protocol.StatusNotFound, r.Opaque, notExists(r.Topic, r.Partition))
		return
	}
	s, opaque := c.server, r.Opaque
	c.enqueue(l, opaque, func(buf []byte) []byte {
		text, err := ask(q)
		status := protocol.StatusOK
		if err != nil {
			status, text = s.onWire(err)
		}
		return protocol.AppendResult(buf, status, opaque, text)
	})
}
