package store

import (
	"fmt"
	"time"
)

// Message ids have the layout of Metamorphosis (class IdWorker), because existing clients read the time out of them:
//
//	63  62                      22 21         12 11          0
//	+--+--------------------------+-------------+-------------+
//	| 0| milliseconds since epoch | broker id   | sequence    |
//	+--+--------------------------+-------------+-------------+
const (
	idEpoch        = 1303895660503 // unix milliseconds of the original's epoch, 2011-04-27
	idTimeShift    = 22
	idBrokerShift  = 12
	maxIDBroker    = 1<<(idTimeShift-idBrokerShift) - 1
	maxIDSequence  = 1<<idBrokerShift - 1
	maxIDTimestamp = 1<<(63-idTimeShift) - 1
)

// idWorker makes the message ids of one broker. Each is greater than the last, whatever the clock does: when it stands
// still, jumps back or gives fewer than enough ids a millisecond, time is borrowed from the future.
// It has no lock: the caller holds the one of the store.
type idWorker struct {
	broker int64 // shifted to its place
	last   int64 // never decreases; 0, which an empty block on the disk looks like, is never given out
}

func newIDWorker(brokerID int) (*idWorker, error) {
	if brokerID < 0 || brokerID > maxIDBroker {
		return nil, fmt.Errorf("broker id %d: must be 0 to %d to fit into message ids", brokerID, maxIDBroker)
	}
	return &idWorker{broker: int64(brokerID) << idBrokerShift}, nil
}

// next returns an id for a message that arrives at a unix time in milliseconds.
func (w *idWorker) next(nowMillis int64) int64 {
	t := min(max(nowMillis-idEpoch, 0), maxIDTimestamp)
	id := t<<idTimeShift | w.broker
	if id <= w.last {
		id = w.after(w.last)
	}
	w.last = id
	return id
}

// after returns the smallest id of this broker beyond another id, which may be another broker's.
func (w *idWorker) after(last int64) int64 {
	const brokerMask = maxIDBroker << idBrokerShift
	t := last >> idTimeShift << idTimeShift
	switch broker := last & brokerMask; {
	case broker < w.broker:
		return t | w.broker
	case broker == w.broker && last&maxIDSequence < maxIDSequence:
		return last + 1
	default:
		return t + 1<<idTimeShift | w.broker
	}
}

// observe keeps all later ids beyond one that is stored already. Ids of the last millisecond that fits are ignored:
// nothing could follow them.
func (w *idWorker) observe(id int64) {
	if id > w.last && id>>idTimeShift < maxIDTimestamp {
		w.last = id
	}
}

// IDTime returns when a message id was made, exact to the millisecond unless its broker had to borrow time.
func IDTime(id int64) time.Time {
	return time.UnixMilli(id>>idTimeShift + idEpoch)
}
