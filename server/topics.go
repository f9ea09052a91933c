package server

import (
	"fmt"

	"github.com/metaq/metaq/protocol"
)

var topicsHelp = help{"topics [OPAQUE]", `lists the topics, a line each: name, partitions that take puts, messages, bytes.`}

func (c *conn) topics(l *loop, r *protocol.Request) {
	s := c.server
	c.list(l, r.Opaque, func(t *statsText) {
		for _, topic := range s.catalog.all() {
			messages, bytes := s.volume(topic)
			t.text(fmt.Sprintf("%s %d %d %d", topic.name, max(int(topic.accepts), len(topic.parts)), messages, bytes))
		}
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
