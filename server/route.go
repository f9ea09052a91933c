package server

import (
	"strconv"
	"strings"

	"github.com/metaq/metaq/protocol"
)

var routeHelp = help{"route TOPIC [OPAQUE]",
	`lists the partitions of a topic that take puts, a line each: partition and the address of the broker that has it.`}

func (c *conn) route(r *protocol.Request) {
	t := c.server.catalog.known(r.Topic)
	if t == nil {
		c.answer(protocol.StatusNotFound, r.Opaque, "The server do not accept topic "+string(r.Topic))
		return
	}
	var text strings.Builder
	for p := range max(int(t.accepts), len(t.parts)) {
		if q := t.queue(int32(p)); q != nil && q.Closed() {
			continue
		}
		text.WriteString(strconv.Itoa(p))
		text.WriteByte(' ')
		text.WriteString(c.server.advertised())
		text.WriteString(protocol.CRLF)
	}
	c.answer(protocol.StatusOK, r.Opaque, text.String())
}
