package server

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/metaq/metaq/protocol"
)

var statsHelp = help{"stats [ITEM [OPAQUE]]",
	`answers numbers, a line each, between STATS and END. ITEM is one of:
  (none)       the broker: commands, messages, topics, connections
  help         the items of the original broker
  topics       messages and bytes of every topic
  offsets      first and end offset of every partition
  realtime     what was done in the last minute
  reset        begins the realtime numbers again
  config       the configuration file as it is
  TOPIC        a topic, with its realtime numbers
  features     what this broker can do beyond the original, a word a line
  limits       the bounds in force, by the names of their keys; bytes and milliseconds
  connections  connections, refusals, slow readers, bytes in and out
  store        positions, segments, disk, recovery
  flush        what an acknowledgement means, and how long flushes take
  groups       committed offsets of the consumer groups
  zk           the registration in ZooKeeper, and what is in its way
Example, to paste:
  stats realtime`}

// statsText makes the lines of an item.
type statsText struct {
	b    []byte
	most int  // bytes; 0: no bound, for an item that does not grow
	over bool // there would be more, so it is of no use
}

func (t *statsText) line(name string, value any) { t.text(name + " " + fmt.Sprint(value)) }

func (t *statsText) int(name string, value int64) {
	t.text(name + " " + strconv.FormatInt(value, 10))
}

func (t *statsText) text(line string) {
	if t.most > 0 && len(t.b)+len(line) > t.most {
		t.over = true
		return
	}
	t.b = append(append(t.b, line...), protocol.CRLF...)
}

// list has a worker answer with lines that grow with what the broker has.
func (c *conn) list(l *loop, opaque int32, fill func(*statsText)) {
	s := c.server
	c.enqueue(l, opaque, func(buf []byte) []byte {
		lim := s.limits.Load()
		t := statsText{most: lim.list}
		fill(&t)
		switch {
		case t.over:
			return protocol.AppendResult(buf, protocol.StatusError, opaque, fmt.Sprintf("the list is longer than an answer may be (%d bytes); ask for one topic, or have maxTransferSize raised", lim.list))
		case len(t.b) > smallPiece && s.budget.spent(lim):
			return protocol.AppendResult(buf, protocol.StatusUnavailable, opaque, s.budget.refusal(lim))
		}
		return protocol.AppendResultBytes(buf, protocol.StatusOK, opaque, t.b)
	})
}

// stats answers an item. Those that grow with the number of topics or ask the file system are made on a worker.
func (c *conn) stats(l *loop, r *protocol.Request) {
	s, item, opaque := c.server, string(r.Item), r.Opaque
	var fill func(*statsText)
	switch item {
	case "config":
		l.out = protocol.AppendResultBytes(l.out, protocol.StatusOK, opaque, s.config().Raw())
		return
	case "help":
		fill = statsItems
	case "reset":
		s.resetRealtime(time.Now())
		fill = func(t *statsText) { t.text("reset ok") }
	case "realtime":
		fill = s.statsRealtime
	case "features":
		fill = statsFeatures
	case "limits":
		fill = s.statsLimits
	default:
		if fill = s.slowItem(item); fill == nil {
			fill = func(t *statsText) { s.statsTopic(t, item) }
		}
		c.list(l, opaque, between(fill))
		return
	}
	var t statsText
	between(fill)(&t)
	l.out = protocol.AppendResultBytes(l.out, protocol.StatusOK, opaque, t.b)
}

// slowItem finds the items that are made on a worker; nil if the item is a topic.
func (s *Server) slowItem(item string) func(*statsText) {
	switch item {
	case "":
		return s.statsBroker
	case "topics":
		return s.statsTopics
	case "offsets":
		return s.statsOffsets
	case "connections":
		return s.statsConnections
	case "store":
		return s.statsStore
	case "flush":
		return s.statsFlush
	case "groups":
		return s.statsGroups
	case "zk":
		return s.statsZK
	}
	return nil
}

// between puts an item between its first and last line.
func between(fill func(*statsText)) func(*statsText) {
	return func(t *statsText) {
		t.text("STATS")
		fill(t)
		t.text("END")
	}
}

// statsItems is `stats help`, as the original has it: clients compare it. Our own items are in `help stats`.
func statsItems(t *statsText) {
	t.text("*EMPTY* Returns broker info.")
	t.text("help Returns help menu.")
	t.text("topics Returns topics statistics detail info.")
	t.text("offsets Returns partitions detail info.")
	t.text("realtime Returns realtime statistics detail info.")
	t.text("config Returns broker's config file content.")
}

// statsBroker is the bare `stats`, with the lines of the original and no others.
func (s *Server) statsBroker(t *statsText) {
	t.int("pid", int64(os.Getpid()))
	t.int("broker_id", int64(s.brokerID))
	t.int("port", int64(s.port()))
	t.int("uptime", int64(time.Since(s.started)/time.Second))
	t.line("version", Version)
	t.line("slave", false)
	t.int("curr_connections", int64(s.admission.count()))
	t.int("threads", int64(runtime.NumGoroutine()))
	n := s.sample()
	t.int("cmd_put", n.put)
	t.int("cmd_get", n.get)
	t.int("cmd_offset", n.offset)
	t.int("tx_begin", 0)
	t.int("tx_xa_begin", 0)
	t.int("tx_commit", 0)
	t.int("tx_rollback", 0)
	t.int("get_miss", n.miss)
	t.int("put_failed", n.putFailed)
	all := s.catalog.all()
	var total int64
	for _, topic := range all {
		messages, _ := s.volume(topic)
		total += messages
	}
	t.int("total_messages", total)
	t.int("topics", int64(len(all)))
	t.int("config_checksum", int64(s.config().Checksum()))
}

// features has a word for each extension, as protocol.txt lists them.
var features = []string{"longpoll", "offsets", "seek", "topics", "route", "help", "lag"}

func statsFeatures(t *statsText) {
	for _, word := range features {
		t.text(word)
	}
}
