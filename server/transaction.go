package server

import "github.com/metaq/metaq/protocol"

// transaction refuses every step of a transaction, END too: whoever sends one has to learn at once that nothing was begun.
func (c *conn) transaction(r *protocol.Request) {
	c.answer(protocol.StatusUnavailable, r.Opaque, "transactions are not supported by this broker")
}
