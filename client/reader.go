package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// claimed is a partition that a consumer reads, and what says whether it still may.
type claimed struct {
	place zkcoord.TopicPartition
	valid func() bool // nil: for ever
	first bool        // it is one of those that were found when the consumer began
}

// Valid says whether the partition is this consumer's for sure.
func (c claimed) Valid() bool { return c.valid == nil || c.valid() }

// A reader follows one partition on a goroutine of its own. It hands over what it got before it asks for more, so that at most two answers are held.
type reader struct {
	c     *Consumer
	claim claimed
	ctx   context.Context
	stop  context.CancelFunc
	began time.Time
	turn  chan struct{} // room for one: full while a batch is not done with

	// Under Consumer.mu.
	released bool
	known    bool           // position counts
	position zkcoord.Offset // handed over and done with; where the group goes on
	changed  bool           // position is to be saved
	stored   bool           // the store has, or had, an offset of the partition
	taken    []*place       // what Take has handed out, from the first on that is not done
	parked   *batch         // the rest of a batch that waits until fewer of these are in hand; nil if there is none

	// Of the goroutine only.
	size         int32
	kept         bool   // it goes on where the group was before
	beyond       bool   // and that is beyond the end, which was told
	late         bool   // it could not be begun at once
	addr         string // of the broker that is asked
	master       bool   // and it is the master
	avoidMaster  time.Time
	slave        int      // the next one to be asked
	lastMaster   string   // where the partition was, for when ZooKeeper knows nothing
	lastReplicas []string // slaves
}

func newReader(c *Consumer, claim claimed) *reader {
	r := &reader{c: c, claim: claim, began: time.Now(), size: c.options.fetchSize, turn: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(c.ctx)
	return r
}

// key names what the store keeps of the partition.
func (r *reader) key() OffsetKey {
	return OffsetKey{Group: r.c.group, Topic: r.claim.place.Topic, Partition: r.claim.place.Partition}
}

func (r *reader) number() int32 { return r.claim.place.Partition.Number }

func (r *reader) run() {
	defer r.stop()
	wait := newBackoff()
	offset, begun := int64(0), false
	for r.ctx.Err() == nil {
		conn, err := r.connect()
		if err == nil && !begun {
			offset, err = r.begin(conn)
			begun = err == nil
		}
		r.late = r.late || !begun
		var list []Received
		if err == nil {
			list, err = r.fetch(conn, &offset)
		}
		switch {
		case err == nil && len(list) == 0:
			continue
		case err == nil:
			wait.Reset()
			r.deliver(list)
			continue
		case r.ctx.Err() != nil:
			return
		case statusOf(err) == protocol.StatusNotFound, statusOf(err) == protocol.StatusForbidden:
			// Not written yet, or closed for a while.
		case r.elsewhere(err), errors.Is(err, errNoAddress), errors.Is(err, errLater):
		case r.c.gaveUp(err):
			return
		}
		t := time.NewTimer(wait.NextBackOff())
		select {
		case <-t.C:
		case <-r.ctx.Done():
			t.Stop()
		}
	}
}

// masterAgain is how long a master that did not answer is left alone while there is a slave.
const masterAgain = 2 * time.Second

// connect chooses who is asked, the master if that is possible and otherwise a slave, and yields the connection.
func (r *reader) connect() (*Conn, error) {
	master, slaves := r.c.assignment.replicas(r.claim.place)
	if master == "" && len(slaves) == 0 {
		master, slaves = r.lastMaster, r.lastReplicas // it may be there all the same, and register again when ZooKeeper has lost everything
	}
	r.lastMaster, r.lastReplicas = master, slaves
	before := r.addr
	switch {
	case len(slaves) == 0 || master != "" && time.Now().After(r.avoidMaster):
		r.addr, r.master = master, true
	default:
		r.addr, r.master = slaves[r.slave%len(slaves)], false
	}
	if r.addr == "" {
		return nil, errNoAddress
	}
	if before != "" && before != r.addr {
		r.c.options.log.Info("another broker is asked", "partition", r.claim.place, "broker", r.addr, "master", r.master)
	}
	return r.c.connection(r.ctx, r.addr)
}

// elsewhere lets another replica be asked the next time, if there are several, and says whether the error is one of this replica alone.
func (r *reader) elsewhere(err error) bool {
	var offsets *offsetStoreError
	if errors.As(err, &offsets) || !Retriable(err) && statusOf(err) != protocol.StatusError {
		return false
	}
	if r.master {
		r.avoidMaster = time.Now().Add(masterAgain)
	} else {
		r.slave++
	}
	return r.c.cluster.directory != nil
}

// begin is where the group goes on, or where a new one starts.
func (r *reader) begin(conn *Conn) (int64, error) {
	kept, ok, err := r.c.load(r)
	if err != nil {
		return 0, err
	}
	if r.kept = ok; ok {
		return kept.Offset, nil
	}
	var offset int64
	topic := r.claim.place.Topic
	s := r.c.options.start
	if s.kind == latest && !r.prompt() {
		s = FromTime(r.c.began)
	}
	switch s.kind {
	case latest:
		err = r.ask(conn, 0, func(ctx context.Context) (err error) {
			offset, err = endOf(ctx, conn, topic, r.number())
			return err
		})
	case atOffset:
		offset = s.offset
	case atTime:
		err = r.ask(conn, 0, func(ctx context.Context) (err error) {
			offset, err = conn.Seek(ctx, topic, r.number(), s.time)
			return err
		})
		if statusOf(err) == protocol.StatusNotFound {
			offset, err = 0, nil // nothing was ever stored there
		}
	}
	if err == nil {
		r.startAt(offset)
	}
	return offset, err
}

// promptly is how long after the beginning of a consumer the end of a partition counts as where it was then.
const promptly = 2 * time.Second

// prompt tells whether the end of the partition is where it was when the consumer began: no clocks have to agree then.
func (r *reader) prompt() bool {
	return r.claim.first && !r.late && time.Since(r.c.began) < promptly
}

// ask puts a question to a broker that may wait before it answers. One that says nothing for much longer is gone.
func (r *reader) ask(conn *Conn, wait time.Duration, question func(context.Context) error) error {
	bound := wait + dialTimeout
	ctx, cancel := context.WithTimeout(r.ctx, bound)
	defer cancel()
	err := question(ctx)
	if err != nil && ctx.Err() != nil && r.ctx.Err() == nil {
		conn.fail(fmt.Errorf("metaq: no answer for %v: %w", bound, context.DeadlineExceeded))
		return &StatusError{Status: protocol.StatusTimeout, Text: fmt.Sprintf("no answer from %s for %v", r.addr, bound)}
	}
	return err
}

// startAt notes where a group has started that had no offset, so that it is no other place when this partition is begun again.
func (r *reader) startAt(offset int64) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.position, r.known = zkcoord.Offset{MessageID: zkcoord.UnknownMessage, Offset: offset}, true
	// What has come in the meantime would be left out by the next member of the group.
	r.changed = r.claim.valid != nil && r.c.options.start.kind == latest
}

// fetch asks once and moves the offset behind what it got. Nothing without an error: ask again.
func (r *reader) fetch(conn *Conn, offset *int64) ([]Received, error) {
	wait := r.c.options.wait
	if !r.master {
		wait = min(wait, masterAgain) // to look for the master
	}
	var data []byte
	topic, group := r.claim.place.Topic, string(r.c.group)
	err := r.ask(conn, wait, func(ctx context.Context) (err error) {
		data, err = conn.Get(ctx, topic, group, r.number(), *offset, r.size, wait)
		return err
	})
	var moved *MovedError
	switch {
	case errors.As(err, &moved) && moved.Offset < *offset && !r.master:
		// A slave that is behind its master has an earlier end.
		return nil, errLater
	case errors.As(err, &moved) && moved.Offset != *offset:
		if r.kept {
			r.c.options.log.Warn("no message begins at the offset where the group goes on; what was there may have been removed before it was read",
				"group", group, "partition", r.claim.place, "offset", *offset, "next", moved.Offset)
		}
		*offset = moved.Offset
		return nil, nil
	case statusOf(err) == protocol.StatusNotFound && r.written(conn, *offset):
		return nil, nil // the wait is over, ask again
	case err != nil:
		return nil, err
	}
	list, used, err := decode(r.claim.place, *offset, data)
	if err != nil {
		return nil, err
	}
	*offset += int64(used)
	if len(list) > 0 {
		r.size, r.kept = r.c.options.fetchSize, true
		return list, nil
	}
	// The message is larger than what was asked for.
	need := protocol.MessageSize(data)
	if need == 0 {
		need = 2 * int64(r.size)
	}
	r.size = int32(min(need, math.MaxInt32))
	return nil, nil
}

// written tells a wait that is over from a partition that nobody has written yet, which is answered at once.
func (r *reader) written(conn *Conn, offset int64) bool {
	var end int64
	err := r.ask(conn, 0, func(ctx context.Context) (err error) {
		end, err = endOf(ctx, conn, r.claim.place.Topic, r.number())
		return err
	})
	if err != nil || end == 0 {
		return false
	}
	if beyond := end < offset && r.master; beyond && !r.beyond {
		r.c.options.log.Error("the offset where the group goes on lies beyond the end of the partition: nothing is read before the end has passed it, and what comes until then is left out; "+
			"has the broker lost its messages? 'metaq offsets reset' moves the group", "group", r.c.group, "partition", r.claim.place, "offset", offset, "end", end)
		r.beyond = true
	}
	return true
}

// decode takes the whole messages out of an answer.
func decode(p zkcoord.TopicPartition, offset int64, data []byte) (list []Received, used int, err error) {
	for used < len(data) {
		m, size, err := protocol.DecodeMessage(data[used:])
		if err != nil {
			return nil, 0, fmt.Errorf("%s at offset %d: %w", p, offset+int64(used), err)
		}
		if size == 0 {
			break
		}
		attribute, payload, err := m.Attribute()
		if err != nil {
			attribute, payload = nil, m.Data // a writer's mistake, and still its message
		}
		list = append(list, Received{Topic: string(p.Topic), Broker: p.Partition.Broker, Partition: p.Partition.Number, Offset: offset + int64(used), Next: offset + int64(used+size),
			ID: m.ID, Attribute: string(attribute), Body: payload})
		used += size
	}
	return list, used, nil
}
