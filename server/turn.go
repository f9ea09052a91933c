package server

import "slices"

// A pass that has written flushSize bytes of answers gives way: a connection that asks for megabytes in one go must not keep its event loop from the
// others. Such connections take turns, one turn each time that the loop has looked at everybody's input.

// yield ends the pass; it goes on with the connection's next turn.
func (c *conn) yield() {
	l := c.loop.Load()
	c.paused = true
	if slices.Contains(l.turns, c) {
		return
	}
	l.turns = append(l.turns, c)
	if len(l.turns) == 1 {
		l.nextTurn()
	}
}

// nextTurn posts from a goroutine, so that the loop looks at its sockets first: what a task posts may run in the same round.
func (l *loop) nextTurn() { go l.post(taskFunc((*loop).turn)) }

// turn goes on with the connection that has waited longest.
func (l *loop) turn() {
	if len(l.turns) == 0 {
		return
	}
	c := l.turns[0]
	l.turns = slices.Delete(l.turns, 0, 1)
	if len(l.turns) > 0 {
		l.nextTurn()
	}
	if c.loop.Load() != l {
		return // it resumes on its new loop by itself
	}
	c.resume()
	if c.paused && !c.closed && c.congested() {
		c.retryLater()
	}
}
