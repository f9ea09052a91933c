package store

import "github.com/metaq/metaq/protocol"

// goOn is one queue of a lost frame: what is lost of it lies before the logical offset.
type goOn struct {
	queue   uint32
	logical int64
}

const goOnSize = 12

// lostFrame makes a frame of kind lost. The first queue stands in the header, the others in the body: their number u32, then queue u32
// and logical offset u64 of each, then zeros up to the size. No frame that can have been lost is smaller than what its queues take
// here, so the list always fits in the place of what was damaged.
func lostFrame(pos, size int64, epoch uint32, ms int64, list []goOn, x salt) []byte {
	h := header{kind: kindLost, epoch: epoch, pos: pos, time: ms}
	if len(list) > 0 {
		h.queue, h.logical = list[0].queue, list[0].logical
		list = list[1:]
	}
	frame := make([]byte, frameHeader, size)
	if len(list) > 0 {
		frame = le.AppendUint32(frame, uint32(len(list)))
		for _, g := range list {
			frame = le.AppendUint32(frame, g.queue)
			frame = le.AppendUint64(frame, uint64(g.logical))
		}
	}
	frame = append(frame, make([]byte, size-int64(len(frame)))...)
	putHeader(frame, h, x)
	return frame
}

// lostSize is the size of a lost frame for n queues, without anything to fill.
func lostSize(n int) int64 {
	if n <= 1 {
		return frameHeader
	}
	return frameHeader + 4 + int64(n-1)*goOnSize
}

func parseLost(h header, body []byte) ([]goOn, bool) {
	var list []goOn
	if h.queue != 0 {
		list = append(list, goOn{h.queue, h.logical})
	}
	if len(body) < 4 {
		return list, true
	}
	n := le.Uint32(body)
	if int64(n) > int64(len(body)-4)/goOnSize {
		return nil, false
	}
	for i := range int(n) {
		b := body[4+i*goOnSize:]
		list = append(list, goOn{queue: le.Uint32(b), logical: int64(le.Uint64(b[4:]))})
	}
	return list, true
}

// lostTopic names a queue whose own frame is lost. Its id is the partition.
const lostTopic protocol.Topic = "_lost"

// applyLost lets the queues go on; it makes those whose own frame is lost.
func (s *Store) applyLost(list []goOn) bool {
	for _, g := range list {
		q := s.queueByID(g.queue)
		if q == nil {
			if int(g.queue) != len(s.byID)+1 || g.queue >= maxPartition {
				return false
			}
			q = s.newQueue(g.queue, lostTopic, int32(g.queue))
		}
		if g.logical < q.end {
			return false
		}
		if g.logical > q.end {
			q.jumpLocked(g.logical)
		}
	}
	return true
}
