package server

import "github.com/metaq/metaq/protocol"

// sync is how a master of the original replicates to a slave. The words are read, so that the framing is kept, and refused.
func (c *conn) sync(r *protocol.Request) {
	c.answer(protocol.StatusUnavailable, r.Opaque, "this broker is not a synchronous slave")
}
