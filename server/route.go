package server

import (
	"strconv"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

var routeHelp = help{"route TOPIC [OPAQUE]",
	`lists the partitions of a topic that take puts, a line each: partition, the address of the broker that has it, addresses of its slaves.
In a cluster any broker answers for all of it; its own partitions come first.`}

func (c *conn) route(l *loop, r *protocol.Request) {
	s, opaque, t := c.server, r.Opaque, c.server.catalog.known(r.Topic)
	name, err := protocol.ParseTopic(string(r.Topic))
	k := s.cluster.Load()
	if k == nil || err != nil {
		if t == nil {
			c.answer(protocol.StatusNotFound, opaque, unknownTopic(name))
			return
		}
		l.out = protocol.AppendResultBytes(l.out, protocol.StatusOK, opaque, s.appendOwnRoute(nil, t, nil))
		return
	}
	var offers *routeEntry
	c.enqueueJob(l, job{
		opaque: opaque,
		await:  func() { offers = k.lookup(name) },
		run: func(buf []byte) ([]byte, *store.Held) {
			if t == nil && len(offers.masters) == 0 {
				return protocol.AppendResult(buf, protocol.StatusNotFound, opaque, unknownTopic(name)), nil
			}
			return protocol.AppendResultBytes(buf, protocol.StatusOK, opaque, s.appendRoutes(nil, t, offers)), nil
		},
	})
}

func unknownTopic(name protocol.Topic) string {
	return "The server do not accept topic " + string(name)
}

// appendRoutes appends what a cluster has of a topic. Of itself the broker knows better than ZooKeeper, and tells also what it keeps from others there: whoever
// asks knows its address, and has to know what it has. t is nil if it does not have the topic.
func (s *Server) appendRoutes(text []byte, t *topic, offers *routeEntry) []byte {
	if t != nil {
		text = s.appendOwnRoute(text, t, offers.slavesOf(s.brokerID))
	}
	for _, o := range offers.masters {
		if o.Addr == s.advertised() {
			continue
		}
		slaves := offers.slavesOf(o.Replica.Broker)
		for p := range o.Partitions {
			text = appendRoute(text, p, o.Addr, slaves)
		}
	}
	return text
}

// appendOwnRoute appends the partitions of this broker.
func (s *Server) appendOwnRoute(text []byte, t *topic, slaves []string) []byte {
	for p := range int32(max(int(t.accepts), len(t.parts))) {
		if q := t.queue(p); q != nil && q.Closed() {
			continue
		}
		text = appendRoute(text, p, s.advertised(), slaves)
	}
	return text
}

// appendRoute appends the line of a partition.
func appendRoute(text []byte, partition int32, master string, slaves []string) []byte {
	text = append(strconv.AppendInt(text, int64(partition), 10), ' ')
	text = append(text, master...)
	for _, addr := range slaves {
		text = append(append(text, ' '), addr...)
	}
	return append(text, protocol.CRLF...)
}
