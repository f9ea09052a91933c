package server

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
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
	conn      *conn
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
		l.commit()
	}
	if len(l.puts) == 0 {
		l.collecting = l.began
	}
	l.batch.Add(q, r.Flag, r.Body)
	l.puts = append(l.puts, pendingPut{c, t, r.Opaque, p})
	c.collected++
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

// commit appends the puts that were collected, of all connections, and answers those that need not wait. After it the batch is empty.
func (l *loop) commit() {
	if len(l.puts) == 0 {
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
		status, text := l.server.onWire(err)
		l.answerPuts(func(dst []byte, _ int, p *pendingPut) []byte {
			return l.server.appendFailure(dst, l.counts, p, status, text)
		})
	case st.Acked(ack) || fault.Mutant("answer_before_flush"):
		l.answerPuts(l.appendReceipt)
		l.counts.acked(len(l.puts), l.tally.total, l.collecting)
		l.tally.flush()
	default:
		a := l.newAck()
		a.position, a.bytes, a.began = ack, l.tally.total, l.collecting
		for i := range l.puts {
			a.add(&l.puts[i], l.appendReceipt(a.answers, i, &l.puts[i]))
		}
		l.tally.flush()
		st.Await(ack, a)
	}
	l.resetBatch()
}

// commit appends the puts that were collected if some of them are this connection's.
func (c *conn) commit() {
	if c.collected > 0 {
		c.loop.Load().commit()
	}
}

func (l *loop) resetBatch() {
	if l.batch.Size() > maxScratch {
		l.batch = store.Batch{}
	}
	l.batch.Reset()
	clear(l.puts)
	l.puts = l.puts[:0]
}

// answerPuts answers every put of the batch, with one write for neighbours of one connection. The answers to the connection of this pass join
// its other answers.
func (l *loop) answerPuts(appendAnswer func(dst []byte, i int, p *pendingPut) []byte) {
	for i := 0; i < len(l.puts); {
		c := l.puts[i].conn
		buf := &l.answers
		if c == l.passing {
			buf = &l.out
		}
		n := 0
		for ; i < len(l.puts) && l.puts[i].conn == c; i++ {
			*buf = appendAnswer(*buf, i, &l.puts[i])
			n++
		}
		c.collected -= n
		if c != l.passing {
			c.send(l.answers)
			l.answers = l.answers[:0]
			c.finish()
		}
	}
	if cap(l.answers) > maxScratch {
		l.answers = nil
	}
}

// dropPuts answers every put of the batch with the error and forgets it.
func (l *loop) dropPuts(status protocol.Status, text string) {
	l.tally.drop()
	l.answerPuts(func(dst []byte, _ int, p *pendingPut) []byte {
		return protocol.AppendResult(dst, status, p.opaque, text)
	})
	l.resetBatch()
}

// acked counts puts that are answered with 200.
func (n *counters) acked(puts int, bytes int64, began time.Time) {
	n.puts.Add(int64(puts))
	n.putBytes.Add(bytes)
	n.durations[protocol.VerbPut].observe(time.Since(began), int64(puts))
}

// appendReceipt appends the answer to put i of the batch.
func (l *loop) appendReceipt(dst []byte, i int, p *pendingPut) []byte {
	id, offset := l.batch.Receipt(i)
	return protocol.AppendPutResult(dst, p.opaque, id, p.partition, offset)
}

// appendFailure appends the answer to a put that failed.
func (s *Server) appendFailure(dst []byte, counts *counters, p *pendingPut, status protocol.Status, text string) []byte {
	counts.putFailed.Add(1)
	counts.failures[failureIndex(status)].Add(1)
	p.topic.counts.putFailed.Add(1)
	return protocol.AppendResult(dst, status, p.opaque, s.putFailed([]byte(p.topic.name), p.partition, text))
}

// ackWait holds the answers of puts until the store says that they are safe. It is a store.Waiter and a task.
type ackWait struct {
	loop     *loop // where it was made
	position store.Position
	answers  []byte
	shares   []ackShare
	puts     []pendingPut
	bytes    int64 // of their data
	began    time.Time
	err      error
}

// ackShare is what belongs to one connection: puts and answers up to these ends.
type ackShare struct {
	conn          *conn
	puts, answers int
}

// add takes a put; answers holds its answer behind those before it.
func (a *ackWait) add(p *pendingPut, answers []byte) {
	p.conn.collected--
	p.conn.waitingPuts++
	p.conn.owed += len(answers) - len(a.answers)
	a.answers = answers
	a.puts = append(a.puts, *p)
	if n := len(a.shares); n == 0 || a.shares[n-1].conn != p.conn {
		a.shares = append(a.shares, ackShare{conn: p.conn})
	}
	share := &a.shares[len(a.shares)-1]
	share.puts, share.answers = len(a.puts), len(answers)
}

// newAck takes an ackWait that is not in use.
func (l *loop) newAck() *ackWait {
	if n := len(l.acks); n > 0 {
		a := l.acks[n-1]
		l.acks = l.acks[:n-1]
		return a
	}
	return &ackWait{loop: l}
}

// maxAcks bounds what a loop keeps for later, in ackWaits.
const maxAcks = 256

func (l *loop) freeAck(a *ackWait) {
	if len(l.acks) >= maxAcks || cap(a.answers) > maxScratch {
		return
	}
	clear(a.puts)
	clear(a.shares)
	*a = ackWait{loop: l, answers: a.answers[:0], shares: a.shares[:0], puts: a.puts[:0]}
	l.acks = append(l.acks, a)
}

// Acked is called by the store, from a goroutine of its own.
func (a *ackWait) Acked(err error) {
	a.err = err
	if busy := (*store.BusyError)(nil); errors.As(err, &busy) && busy.Unknown {
		late := latePuts{a.loop.server, len(a.puts)}
		late.server.store.AwaitPatiently(a.position, late)
	}
	a.loop.post(a)
}

// run answers the puts, on the loop that took them.
func (a *ackWait) run(l *loop) {
	if a.err == nil {
		l.counts.acked(len(a.puts), a.bytes, a.began)
	}
	puts, answers := 0, 0
	for _, share := range a.shares {
		mine, text := a.puts[puts:share.puts], a.answers[answers:share.answers]
		puts, answers = share.puts, share.answers
		if now := share.conn.loop.Load(); now == l {
			share.conn.answerWaited(mine, text, a.err)
		} else { // it has moved
			mine, text, err := slices.Clone(mine), bytes.Clone(text), a.err
			share.conn.post(taskFunc(func(*loop) { mine[0].conn.answerWaited(mine, text, err) }))
		}
	}
	l.freeAck(a)
}

// answerWaited answers puts that waited for the store. answers are those of success.
func (c *conn) answerWaited(puts []pendingPut, answers []byte, err error) {
	c.waitingPuts -= len(puts)
	c.owed -= len(answers)
	if err != nil {
		answers = nil
		status, text := c.server.onWire(err)
		for i := range puts {
			answers = c.server.appendFailure(answers, c.loop.Load().counts, &puts[i], status, text)
		}
	}
	c.sendLate(answers)
	if c.waitingPuts == 0 {
		c.fireOwn()
	}
}
