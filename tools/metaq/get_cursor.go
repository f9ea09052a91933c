package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// cursor is a place in one partition.
type cursor struct {
	reader    *reader
	partition zkcoord.Partition
	offset    int64
	size      int32
	exact     bool // the offset was asked for as it is, so that leaving it is worth a word
	late      bool // the partition came while others were read, or its broker was away, and the place to start is not known yet
	unasked   bool // nobody has asked whether the partition is open
}

func (c *cursor) name() string { return c.reader.partitionName(c.partition) }

func (r *reader) newCursor(p zkcoord.Partition) *cursor {
	return &cursor{reader: r, partition: p, size: fetchSize}
}

// begin moves the cursor to the place to start.
func (c *cursor) begin(ctx context.Context, conn *client.Conn) error {
	o := c.reader.options
	if o.group != "" && !o.hasFrom {
		offset, err := conn.Committed(ctx, o.topic, protocol.Group(o.group), c.partition.Number)
		switch {
		case err == nil:
			c.offset, c.exact = offset, true
			return nil
		case isBrokerNotFound(err):
			return nil // a new group begins at the beginning
		}
		return fmt.Errorf("position of group %s in partition %s: %w", o.group, c.name(), err)
	}
	from := o.from
	if c.late && from.kind == atLatest {
		// What has come to the partition before anybody saw it is new as well.
		from = place{kind: atTime, time: c.reader.began}
	}
	var err error
	switch from.kind {
	case atEarliest:
	case atOffset:
		c.offset, c.exact = from.offset, from.offset > 0
	case atLatest:
		c.offset, err = c.end(ctx, conn)
	case atTime:
		c.offset, err = conn.Seek(ctx, o.topic, c.partition.Number, from.time)
		if isBrokerNotFound(err) {
			c.offset, err = 0, nil // nothing was ever stored there
		}
	}
	if err != nil {
		return fmt.Errorf("start in partition %s: %w", c.name(), err)
	}
	return nil
}

// end returns the end of the partition; one that was never written ends at 0.
func (c *cursor) end(ctx context.Context, conn *client.Conn) (int64, error) {
	_, err := conn.Get(ctx, c.reader.options.topic, c.reader.group, c.partition.Number, math.MaxInt64, 1, -1)
	var moved *client.MovedError
	switch {
	case errors.As(err, &moved):
		return moved.Offset, nil
	case isBrokerNotFound(err):
		return 0, nil
	case err == nil:
		return 0, fmt.Errorf("the broker has a message at the largest offset of partition %s", c.name())
	}
	return 0, fmt.Errorf("end of partition %s: %w", c.name(), err)
}

// batch is what one answer brought.
type batch struct {
	partition zkcoord.Partition
	messages  []message
	ended     bool // there is nothing (yet) at the offset
}

// fetch gets the messages at the cursor and moves it behind them. With wait >= 0 the broker may hold the answer that
// long when there is nothing yet.
func (c *cursor) fetch(ctx context.Context, conn *client.Conn, wait time.Duration) (batch, error) {
	b := batch{partition: c.partition}
	for {
		data, err := conn.Get(ctx, c.reader.options.topic, c.reader.group, c.partition.Number, c.offset, c.size, wait)
		var moved *client.MovedError
		switch {
		case errors.As(err, &moved):
			if moved.Offset == c.offset {
				return b, fmt.Errorf("partition %s: the broker moves from offset %d to itself", c.name(), c.offset)
			}
			if c.exact {
				c.reader.say("partition %s: nothing begins at offset %d, going on at %d", c.name(), c.offset, moved.Offset)
			}
			c.offset, c.exact = moved.Offset, false
			continue
		case isBrokerNotFound(err):
			b.ended = true
			return b, nil
		case err != nil:
			return b, fmt.Errorf("partition %s at offset %d: %w", c.name(), c.offset, err)
		}
		c.exact = false
		if b.messages, err = c.decode(data); err != nil {
			return b, fmt.Errorf("partition %s at offset %d: %w", c.name(), c.offset, err)
		}
		if len(b.messages) > 0 {
			return b, nil
		}
		if c.size >= maxAnswer {
			return b, fmt.Errorf("partition %s at offset %d: the message is larger than %d bytes", c.name(), c.offset, c.size)
		}
		// The first bytes tell how large the message is.
		c.size = int32(min(max(int64(c.size)*2, protocol.MessageSize(data)), maxAnswer))
	}
}

// decode takes the whole messages out of an answer and moves the cursor behind them.
func (c *cursor) decode(data []byte) ([]message, error) {
	var messages []message
	for len(data) > 0 {
		m, size, err := protocol.DecodeMessage(data)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			break
		}
		attribute, payload, err := m.Attribute()
		if err != nil {
			// The flag promises an attribute that is not there: a writer's mistake, and still its message.
			attribute, payload = nil, m.Data
		}
		messages = append(messages, message{
			topic: string(c.reader.options.topic), broker: c.reader.jsonBroker(c.partition.Broker), partition: c.partition.Number, offset: c.offset, next: c.offset + int64(size),
			id: m.ID, attribute: string(attribute), payload: payload,
		})
		c.offset += int64(size)
		data = data[size:]
	}
	return messages, nil
}
