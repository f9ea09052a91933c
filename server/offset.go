package server

import (
	"strconv"

	"github.com/metaq/metaq/protocol"
)

var offsetHelp = help{"offset TOPIC GROUP PARTITION OFFSET [OPAQUE]",
	`answers where reading can begin: the start of the segment that holds OFFSET, the end if OFFSET is beyond it, the first offset if it is before.
Example, to paste:
  offset greetings me 0 0`}

func (c *conn) offset(l *loop, r *protocol.Request) {
	l.counts.offsets.Add(1)
	t := c.lookup(r.Topic)
	if t != nil {
		t.counts.offsets.Add(1)
	}
	q := t.queue(r.Partition)
	if q == nil {
		c.answer(protocol.StatusNotFound, r.Opaque, notExists(r.Topic, r.Partition))
		return
	}
	c.answer(protocol.StatusOK, r.Opaque, strconv.FormatInt(q.SegmentStart(r.Offset), 10))
}
