package server

import (
	"fmt"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

var lagHelp = help{"lag TOPIC PARTITION OFFSET [OPAQUE]",
	`answers what a reader that goes on at OFFSET has before it: messages, bytes, and how many milliseconds ago the first of them was stored.
Example, to paste:
  lag greetings 0 0`}

func (c *conn) lag(l *loop, r *protocol.Request) {
	offset := r.Offset
	c.askQueue(l, r, func(q *store.Queue) (string, error) {
		b, err := q.Backlog(offset)
		age := int64(0)
		if b.Messages > 0 {
			age = max(time.Now().UnixMilli()-b.Oldest, 0)
		}
		return fmt.Sprintf("%d %d %d", b.Messages, b.Bytes, age), err
	})
}
