package server

import (
	"strconv"

	"github.com/metaq/metaq/protocol"
)

var seekHelp = help{"seek TOPIC PARTITION UNIXMILLIS [OPAQUE]",
	`answers the offset of the first message that was stored at that time or later; the end if there is none.
Example, to paste:
  seek greetings 0 0`}

func (c *conn) seek(l *loop, r *protocol.Request) {
	q := c.lookup(r.Topic).queue(r.Partition)
	if q == nil {
		c.answer(protocol.StatusNotFound, r.Opaque, notExists(r.Topic, r.Partition))
		return
	}
	s, opaque, millis := c.server, r.Opaque, r.Offset
	c.enqueue(l, opaque, func(buf []byte) []byte {
		offset, err := q.SeekTime(millis)
		if err != nil {
			status, text := s.onWire(err)
			return protocol.AppendResult(buf, status, opaque, text)
		}
		return protocol.AppendResult(buf, protocol.StatusOK, opaque, strconv.FormatInt(offset, 10))
	})
}
