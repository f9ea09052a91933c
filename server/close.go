package server

import (
	"fmt"

	"github.com/metaq/metaq/protocol"
)

var closeHelp = help{"close TOPIC FIRST LAST [OPAQUE]",
	`closes the partitions FIRST to LAST: puts and gets are answered 403 until they are opened, also after a restart. Only from the broker's own machine.`}

var openHelp = help{"open TOPIC FIRST LAST [OPAQUE]", `opens partitions that were closed. Only from the broker's own machine.`}

func (c *conn) closePartitions(l *loop, r *protocol.Request) {
	if !c.remote.Unmap().IsLoopback() {
		c.answer(protocol.StatusForbidden, r.Opaque, fmt.Sprintf("%s is only for the broker's own machine", r.Verb))
		return
	}
	topic, err := protocol.ParseTopic(string(r.Topic))
	if err != nil {
		c.answer(protocol.StatusBadRequest, r.Opaque, err.Error())
		return
	}
	s, opaque, first, last, closed := c.server, r.Opaque, r.Partition, r.LastPartition, r.Verb == protocol.VerbClose
	c.enqueue(l, opaque, func(buf []byte) []byte {
		status, text := protocol.StatusOK, ""
		if err := s.setClosed(topic, first, last, closed); err != nil {
			status, text = s.onWire(err)
		}
		return protocol.AppendResult(buf, status, opaque, text)
	})
}

// setClosed closes or opens a range of partitions. It blocks until that is durable.
func (s *Server) setClosed(topic protocol.Topic, first, last int32, closed bool) error {
	t := s.catalog.known([]byte(topic))
	if t == nil {
		return refusef(protocol.StatusNotFound, "The server do not accept topic %s", topic)
	}
	if count := int32(max(int(t.accepts), len(t.parts))); first < 0 || last < first || last >= count {
		return refusef(protocol.StatusBadRequest, "partitions %d to %d: %s has 0 to %d", first, last, topic, count-1)
	}
	for p := first; p <= last; p++ {
		q := t.queue(p)
		if q == nil {
			if !closed {
				continue
			}
			var err error
			if _, q, err = s.catalog.create(topic, p); err != nil {
				return err
			}
		}
		if err := q.SetClosed(closed); err != nil {
			return err
		}
	}
	s.log.Info().Str("topic", string(topic)).Int32("first", first).Int32("last", last).Bool("closed", closed).Msg("partitions closed or opened")
	return nil
}
