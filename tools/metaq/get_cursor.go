package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
)

// cursor is a place in one partition.
type cursor struct {
	reader    *reader
	partition int32
	offset    int64
	size      int32
	exact     bool // the offset was asked for as it is, so that leaving it is worth a word
}

// batch is what one answer brought.
type batch struct {
	partition int32
	messages  []message
	ended     bool // there is nothing (yet) at the offset
}

// fetch gets the messages at the cursor and moves it behind them. With wait >= 0 the broker may hold the answer that
// long when there is nothing yet.
func (c *cursor) fetch(ctx context.Context, conn *client.Conn, wait time.Duration) (batch, error) {
	b := batch{partition: c.partition}
	for {
		data, err := conn.Get(ctx, c.reader.options.topic, c.reader.group, c.partition, c.offset, c.size, wait)
		var moved *client.MovedError
		switch {
		case errors.As(err, &moved):
			if moved.Offset == c.offset {
				return b, fmt.Errorf("partition %d: the broker moves from offset %d to itself", c.partition, c.offset)
			}
			if c.exact {
				c.reader.say("partition %d: nothing begins at offset %d, going on at %d", c.partition, c.offset, moved.Offset)
			}
			c.offset, c.exact = moved.Offset, false
			continue
		case isBrokerNotFound(err):
			b.ended = true
			return b, nil
		case err != nil:
			return b, fmt.Errorf("partition %d at offset %d: %w", c.partition, c.offset, err)
		}
		c.exact = false
		if b.messages, err = c.decode(data); err != nil {
			return b, fmt.Errorf("partition %d at offset %d: %w", c.partition, c.offset, err)
		}
		if len(b.messages) > 0 {
			return b, nil
		}
		if c.size >= maxAnswer {
			return b, fmt.Errorf("partition %d at offset %d: the message is larger than %d bytes", c.partition, c.offset, c.size)
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
			topic: string(c.reader.options.topic), partition: c.partition, offset: c.offset, next: c.offset + int64(size),
			id: m.ID, attribute: string(attribute), payload: payload,
		})
		c.offset += int64(size)
		data = data[size:]
	}
	return messages, nil
}
