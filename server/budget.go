package server

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/metaq/metaq/protocol"
)

// The budget bounds what all connections together make the broker hold: answers that the peers have not taken, commands that are not
// complete or not run yet, commands that wait. A bound for each connection is not enough for that: a thousand of them may each stay below
// it. Who has to wait is whoever holds most:
//
//   - A connection may have as much waiting for it as all others have left free, so its commands are read until then. One slow reader
//     gets much of the budget, a hundred get a hundredth each, and something always stays free for those that read.
//   - Answers to get become smaller with what is free, as they may at any time. A connection that has hardly anything waiting for it is read
//     even when nothing is free; new commands that would wait and the rest of large ones are then refused with 503.
//   - While nothing is free, who holds something and has not moved for hurryTime is closed, instead of after the longer stall timeout.
type budget struct {
	held    atomic.Int64
	peak    atomic.Int64 // the most that was ever held
	refused atomic.Int64 // commands refused and connections closed because nothing was free
}

const (
	freeShare  = 16 << 10 // bytes that a connection may have waiting even if nothing is free
	smallPiece = 64 << 10 // bytes that an answer to get may always have
	waitCost   = 512      // bytes of a command that waits, about
	hurryTime  = 2 * time.Second
)

func (b *budget) add(n int64) {
	held := b.held.Add(n)
	for peak := b.peak.Load(); held > peak && !b.peak.CompareAndSwap(peak, held); peak = b.peak.Load() {
	}
}

// spent says that nothing is free.
func (b *budget) spent(lim *limits) bool { return b.held.Load() >= lim.buffered }

// share is how many bytes may wait for one connection before it is made to wait.
func (b *budget) share(lim *limits) int {
	return int(min(max(lim.buffered-b.held.Load(), freeShare), int64(lim.highWater)))
}

// refusal counts and words a refusal.
func (b *budget) refusal(lim *limits) string {
	b.refused.Add(1)
	return fmt.Sprintf("the broker holds %d bytes for its clients, which is as much as it may (maxBufferedBytes %d); try again later",
		b.held.Load(), lim.buffered)
}

// account brings what the connection holds up to date.
func (c *conn) account() {
	held := c.sock.Buffered() + c.owed + len(c.due) + cap(c.rest) + c.waiting*waitCost
	if c.closed {
		held = 0
	}
	if held != c.held {
		c.server.budget.add(int64(held - c.held))
		c.held = held
	}
}

// overdrawn refuses the rest of a large command when nothing is free.
func (c *conn) overdrawn() {
	lim, b := c.server.limits.Load(), &c.server.budget
	if c.closed || c.ending || c.paused || len(c.rest) <= freeShare || !b.spent(lim) {
		return
	}
	c.write(protocol.AppendResult(nil, protocol.StatusUnavailable, protocol.NoOpaque, b.refusal(lim)))
	c.ending, c.rest = true, nil
	c.account()
	c.finish()
}

// hurry closes the connection if nothing is free and what it holds has not moved for a while.
func (c *conn) hurry(now time.Time, lim *limits) {
	b := &c.server.budget
	if c.closed || c.ending || c.held <= freeShare || !b.spent(lim) {
		return
	}
	switch {
	case !c.stalled.IsZero() && now.Sub(c.stalled) > hurryTime:
		c.slow("it has taken no answer for " + hurryTime.String() + ", and " + b.refusal(lim))
	case !c.partial.IsZero() && now.Sub(c.input) > hurryTime:
		c.overdrawn()
	}
}
