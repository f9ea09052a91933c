package server

import (
	"fmt"
	"time"

	"github.com/metaq/metaq/protocol"
)

var lagHelp = help{"lag TOPIC PARTITION OFFSET [OPAQUE]",
	`answers what a reader that goes on at OFFSET has before it: messages, bytes, and how many milliseconds ago the first of them was stored.
Example, to paste:
  lag greetings 0 0`}

func (c *conn) lag(l *loop, r *protocol.Request) {
	q := c.lookup(r.Topic).queue(r.Partition)
	if q == nil {
		c.answer(protocol.StatusNotFound, r.Opaque, notExists(r.Topic, r.Partition))
		return
	}
	s, opaque, offset := c.server, r.Opaque, r.Offset
	c.enqueue(l, opaque, func(buf []byte) []byte {
		b, err := q.Backlog(offset)
		if err != nil {
			status, text := s.onWire(err)
			return protocol.AppendResult(buf, status, opaque, text)
		}
		age := int64(0)
		if b.Messages > 0 {
			age = max(time.Now().UnixMilli()-b.Oldest, 0)
		}
		return protocol.AppendResult(buf, protocol.StatusOK, opaque, fmt.Sprintf("%d %d %d", b.Messages, b.Bytes, age))
	})
}
