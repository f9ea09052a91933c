package server

import (
	"bytes"
	"fmt"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
	"github.com/metaq/metaq/store/fault"
)

var putHelp = help{"put TOPIC PARTITION LENGTH FLAG [CHECKSUM] [OPAQUE], then LENGTH bytes",
	`stores a message and answers "id partition offset" once it is as safe as the topic's flush rule says.
PARTITION -1 lets the broker choose. FLAG 1 says that the bytes begin with an attribute (4 bytes length, attribute).
CHECKSUM is the CRC-32 of the bytes without its top bit; -1 or none: not checked. The number is repeated in the answer.
Example, to paste:
  put greetings 0 5 0
  hello`}

// pendingPut is a put whose message is in the loop's batch.
type pendingPut struct {
	topic     *topic
	opaque    int32
	partition int32
}

func (c *conn) put(l *loop, r *protocol.Request) {
	if r.TxKey != nil {
		c.failPut(l, r.Opaque, protocol.StatusError, notStarted(r.TxKey))
		return
	}
	t, p := c.lookup(r.Topic), r.Partition
	var q *store.Queue
	if t != nil && p < t.accepts {
		q = t.queue(p)
	}
	if q == nil {
		var err error
		if t, q, p, err = c.server.catalog.target(r.Topic, r.Partition); err != nil {
			status, text := c.server.onWire(err)
			c.failPut(l, r.Opaque, status, c.server.putFailed(r.Topic, r.Partition, text))
			return
		}
		c.topic = t
	}
	if q.Closed() {
		t.counts.putFailed.Add(1)
		c.failPut(l, r.Opaque, protocol.StatusForbidden, c.server.putFailed(r.Topic, p, fmt.Sprintf("partition[%d-%d] has been closed", c.server.brokerID, p)))
		return
	}
	if r.HasChecksum && int64(protocol.Checksum(r.Body)) != r.Checksum {
		t.counts.putFailed.Add(1)
		c.failPut(l, r.Opaque, protocol.StatusError, c.server.putFailed(r.Topic, p, "Checksum failure,message may be corrupted when transfering on networking."))
		return
	}
	if l.batch.Size()+len(r.Body) > c.server.limits.Load().batch {
		l.commit(c)
	}
	l.batch.Add(q, r.Flag, r.Body)
	l.puts = append(l.puts, pendingPut{t, r.Opaque, p})
	l.tally.add(t, len(r.Body))
}

// notStarted is the answer to a put in a transaction, of which this broker has begun none.
func notStarted(key []byte) string {
	if bytes.HasPrefix(key, []byte("XID:")) {
		return fmt.Sprintf("XA transaction '%s' has not been started.", key)
	}
	return fmt.Sprintf("Local transaction '%s' has not been started.", key)
}

func (c *conn) failPut(l *loop, opaque int32, status protocol.Status, text string) {
	l.counts.putFailed.Add(1)
	l.counts.failures[failureIndex(status)].Add(1)
	c.answer(status, opaque, text)
}

// commit appends the puts of this pass, and answers them if nothing has to be waited for. After it the batch is empty.
func (l *loop) commit(c *conn) {
	n := len(l.puts)
	if n == 0 {
		return
	}
	st := l.server.store
	fault.Point("put.taken")
	ack, err := st.Append(&l.batch)
	if fault.Mutant("append_twice") {
		ack, err = st.Append(&l.batch)
	}
	fault.Point("put.appended")
	switch {
	case err != nil && !fault.Mutant("answer_a_failed_put"):
		l.tally.drop()
		l.out = l.server.appendFailures(l.out, l.counts, l.puts, err)
	case st.Acked(ack) || fault.Mutant("answer_before_flush"):
		l.out = l.appendReceipts(l.out)
		l.counts.acked(n, l.tally.total, l.began)
		l.tally.flush()
	default:
		a := l.newAck(c)
		a.answers = l.appendReceipts(a.answers)
		a.puts = append(a.puts, l.puts...)
		a.bytes, a.began = l.tally.total, l.began
		c.waitingPuts += n
		c.owed += len(a.answers)
		l.tally.flush()
		st.Await(ack, a)
	}
	l.resetBatch()
}

func (l *loop) resetBatch() {
	if l.batch.Size() > maxScratch {
		l.batch = store.Batch{}
	}
	l.batch.Reset()
	clear(l.puts)
	l.puts = l.puts[:0]
}

// acked counts puts that are answered with 200.
func (n *counters) acked(puts int, bytes int64, began time.Time) {
	n.puts.Add(int64(puts))
	n.putBytes.Add(bytes)
	n.durations[protocol.VerbPut].observe(time.Since(began), int64(puts))
}

// appendReceipts appends the answers of the batch.
func (l *loop) appendReceipts(dst []byte) []byte {
	for i, p := range l.puts {
		id, offset := l.batch.Receipt(i)
		dst = protocol.AppendPutResult(dst, p.opaque, id, p.partition, offset)
	}
	return dst
}

// appendFailures appends the answers of puts that failed together.
func (s *Server) appendFailures(dst []byte, counts *counters, puts []pendingPut, err error) []byte {
	status, text := s.onWire(err)
	for _, p := range puts {
		counts.putFailed.Add(1)
		counts.failures[failureIndex(status)].Add(1)
		p.topic.counts.putFailed.Add(1)
		dst = protocol.AppendResult(dst, status, p.opaque, s.putFailed([]byte(p.topic.name), p.partition, text))
	}
	return dst
}

// ackWait holds the answers of puts until the store says that they are safe. It is a store.Waiter and a task.
type ackWait struct {
	conn    *conn
	answers []byte
	puts    []pendingPut
	bytes   int64 // of their data
	began   time.Time
	err     error
}

// newAck takes an ackWait that is not in use.
func (l *loop) newAck(c *conn) *ackWait {
	a := &ackWait{}
	if n := len(l.acks); n > 0 {
		a, l.acks = l.acks[n-1], l.acks[:n-1]
	}
	a.conn = c
	return a
}

// maxAcks bounds what a loop keeps for later, in ackWaits.
const maxAcks = 256

func (l *loop) freeAck(a *ackWait) {
	if len(l.acks) >= maxAcks || cap(a.answers) > maxDue {
		return
	}
	clear(a.puts)
	*a = ackWait{answers: a.answers[:0], puts: a.puts[:0]}
	l.acks = append(l.acks, a)
}

// Acked is called by the store, from a goroutine of its own.
func (a *ackWait) Acked(err error) {
	a.err = err
	a.conn.loop.Load().post(a)
}

func (a *ackWait) run(l *loop) {
	c := a.conn
	if now := c.loop.Load(); now != l {
		now.post(a)
		return
	}
	c.waitingPuts -= len(a.puts)
	c.owed -= len(a.answers)
	if a.err != nil {
		a.answers = l.server.appendFailures(a.answers[:0], l.counts, a.puts, a.err)
	} else {
		l.counts.acked(len(a.puts), a.bytes, a.began)
	}
	c.sendLate(a.answers)
	l.freeAck(a)
	if c.waitingPuts == 0 {
		c.fireOwn()
	}
}
