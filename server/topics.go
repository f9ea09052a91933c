package server

import (
	"strconv"

	"github.com/metaq/metaq/protocol"
)

var topicsHelp = help{"topics [OPAQUE]", `lists the topics, a line each: name, partitions that take puts, messages, bytes.`}

func (c *conn) topics(l *loop, r *protocol.Request) {
	s, opaque := c.server, r.Opaque
	c.enqueue(l, opaque, func(buf []byte) []byte {
		var text []byte
		for _, t := range s.catalog.all() {
			messages, bytes := s.volume(t)
			text = append(text, t.name...)
			text = append(text, ' ')
			text = strconv.AppendInt(text, max(int64(t.accepts), int64(len(t.parts))), 10)
			text = append(text, ' ')
			text = strconv.AppendInt(text, messages, 10)
			text = append(text, ' ')
			text = strconv.AppendInt(text, bytes, 10)
			text = append(text, protocol.CRLF...)
		}
		return protocol.AppendResultBytes(buf, protocol.StatusOK, opaque, text)
	})
}

// volume is what can be read of a topic.
func (s *Server) volume(t *topic) (messages, bytes int64) {
	for _, st := range s.store.StatAll(t.queues()) {
		messages += st.Messages
		bytes += st.Bytes
	}
	return messages, bytes
}
