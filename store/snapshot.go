package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"
	"time"
)

// snapshot becomes a checkpoint: the state at one position of the log, written down while puts go on. It is begun under the lock and
// then walks over the queues and committed offsets in short steps; who changes one that it has not come to yet saves its state first. So
// a put waits for a step at most, and not for all queues.
type snapshot struct {
	segments []*segment    // those before its position
	queues   int           // that there were: those with the first ids
	commits  int           // committed offsets that there were, the first ones of the list
	tail     []byte        // hidden groups and published runs, encoded
	done     chan struct{} // closed when everything is walked over

	// Guarded by Store.mu until then.

	saved        [][]savedQueue // changed before the walk came to them, savedPart each
	savedCommits []commit
	walked       int // queues, then commits
	head         []byte
	queueParts   parts
	commitParts  parts
}

// parts are bytes in many pieces, so that none is copied under the lock because it grows.
type parts [][]byte

// partSize is about how large a piece becomes.
const partSize = 64 << 10

// last is the piece to append to.
func (p *parts) last() *[]byte {
	if n := len(*p); n == 0 || len((*p)[n-1]) > partSize*3/4 {
		*p = append(*p, make([]byte, 0, partSize))
	}
	return &(*p)[len(*p)-1]
}

const savedPart = 512 // states of queues

// savedQueue is what a checkpoint says of a queue and what can change.
type savedQueue struct {
	flags    uint8
	end      int64
	messages int64
	starts   []start // only the time of the last one changes
	time     int64   // of the last one
}

// walkStep is how many queues or offsets a snapshot writes down before it lets puts in: some 10 us.
const walkStep = 128

// walkPause lets puts in that wait for the lock; without it the walk would take it again before they wake up.
const walkPause = 20 * time.Microsecond

// beginSnapshotLocked begins the snapshot of the state in which all frames before pos are applied and none behind it.
func (s *Store) beginSnapshotLocked(pos int64, clean bool) *snapshot {
	if s.walking != nil { // two segments were filled within its walk
		s.walking.finishLocked(s)
	}
	before := len(s.segments)
	for before > 0 && s.segments[before-1].base >= pos {
		before--
	}
	s.round++
	n := &snapshot{
		segments: s.segments[:before:before], queues: len(s.byID), commits: len(s.offsets.list), tail: s.appendTailLocked(nil),
		done: make(chan struct{}),
	}
	b := append(make([]byte, 0, 256), checkpointMark...)
	b = append(b, 0, 0, 0, 0) // checksum
	b = le.AppendUint64(b, uint64(pos))
	if clean {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = le.AppendUint32(b, s.epoch)
	b = appendString(b, s.options.BootID)
	b = binary.AppendVarint(b, s.ids.last)
	n.head = b
	s.walking = n
	return n
}

// saveLocked keeps the state of a queue for the snapshot that has not come to it. It is called before each change of what a checkpoint holds.
func (q *Queue) saveLocked() {
	s := q.store
	if n := s.walking; n != nil && q.round != s.round && int(q.id) <= n.queues {
		q.round, q.saved = s.round, n.saveLocked(q.stateLocked())
	}
}

// saveLocked keeps a state and returns its number.
func (n *snapshot) saveLocked(state savedQueue) uint32 {
	last := len(n.saved) - 1
	if last < 0 || len(n.saved[last]) == savedPart {
		n.saved = append(n.saved, make([]savedQueue, 0, savedPart))
		last++
	}
	n.saved[last] = append(n.saved[last], state)
	return uint32(last*savedPart + len(n.saved[last]) - 1)
}

func (n *snapshot) savedLocked(i uint32) savedQueue { return n.saved[i/savedPart][i%savedPart] }

func (q *Queue) stateLocked() savedQueue {
	flags := q.flags()
	if q.relaxed {
		flags |= queueRelaxed
	}
	return savedQueue{flags: flags, end: q.end, messages: q.messages, starts: q.starts, time: q.starts[len(q.starts)-1].time}
}

// walk goes over what there was. pause is called between its steps, without the lock.
func (n *snapshot) walk(s *Store, pause func()) {
	for over := false; !over; pause() {
		s.mu.Lock()
		over = n.stepLocked(s)
		s.mu.Unlock()
	}
}

func (n *snapshot) finishLocked(s *Store) {
	for !n.stepLocked(s) {
	}
}

// stepLocked writes down some queues or committed offsets. It returns true when all are.
func (n *snapshot) stepLocked(s *Store) bool {
	if s.walking != n {
		return true
	}
	switch {
	case n.walked < n.queues:
		to := min(n.walked+walkStep, n.queues)
		b := n.queueParts.last()
		for _, q := range s.byID[n.walked:to] {
			if q.round == s.round {
				*b = appendQueueState(*b, q, n.savedLocked(q.saved))
			} else {
				q.round = s.round
				*b = appendQueueState(*b, q, q.stateLocked())
			}
		}
		n.walked = to
	case n.walked < n.queues+n.commits:
		to := min(n.walked+walkStep, n.queues+n.commits)
		b := n.commitParts.last()
		for i := n.walked - n.queues; i < to-n.queues; i++ {
			if c := &s.offsets.list[i]; c.round != s.round {
				c.round = s.round
				*b = appendCommit(*b, c.key, c.offset)
			}
		}
		n.walked = to
	default:
		s.walking = nil
		close(n.done)
		return true
	}
	return false
}

// encode is the checkpoint, once the walk is over.
func (n *snapshot) encode(with salt) []byte {
	size := len(n.head) + len(n.tail) + 10*len(n.segments) + 64
	for _, list := range []parts{n.queueParts, n.commitParts} {
		for _, b := range list {
			size += len(b)
		}
	}
	b := append(make([]byte, 0, size), n.head...)
	b = binary.AppendUvarint(b, uint64(len(n.segments)))
	for _, g := range n.segments {
		b = binary.AppendUvarint(b, uint64(g.base))
	}
	b = binary.AppendUvarint(b, uint64(n.queues))
	b = append(b, bytes.Join(n.queueParts, nil)...)
	b = binary.AppendUvarint(b, uint64(n.commits))
	b = append(b, bytes.Join(n.commitParts, nil)...)
	for _, c := range n.savedCommits {
		b = appendCommit(b, c.key, c.offset)
	}
	b = append(b, n.tail...)
	le.PutUint32(b[8:], with.seal(crc32.Checksum(b[12:], castagnoli)))
	return b
}

func appendQueueState(b []byte, q *Queue, state savedQueue) []byte {
	b = binary.AppendUvarint(b, uint64(q.id))
	b = binary.AppendUvarint(b, uint64(q.partition))
	b = append(b, state.flags)
	b = appendString(b, string(q.topic))
	b = binary.AppendUvarint(b, uint64(state.end))
	b = binary.AppendUvarint(b, uint64(state.messages))
	b = binary.AppendUvarint(b, uint64(len(state.starts)))
	for i, st := range state.starts {
		if i == len(state.starts)-1 {
			st.time = state.time
		}
		b = binary.AppendUvarint(b, uint64(st.offset))
		b = binary.AppendUvarint(b, uint64(st.messages))
		b = binary.AppendUvarint(b, uint64(st.time))
	}
	return b
}

func appendCommit(b []byte, key string, offset int64) []byte {
	return binary.AppendUvarint(appendString(b, key), uint64(offset))
}

// appendTailLocked encodes the hidden groups and the published runs, of which there are few.
func (s *Store) appendTailLocked(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.hidden)))
	for _, id := range slices.Sorted(maps.Keys(s.hidden)) {
		b = binary.AppendVarint(b, id)
		b = binary.AppendUvarint(b, uint64(len(s.hidden[id].runs)))
		for _, r := range s.hidden[id].runs {
			b = appendPublishedRun(b, r)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.foreign)))
	for _, f := range s.foreign {
		b = binary.AppendUvarint(b, uint64(f.pos))
		b = binary.AppendUvarint(b, uint64(f.queue))
		b = binary.AppendUvarint(b, uint64(f.end))
	}
	return b
}

// encodeCheckpoint is the checkpoint of a state that nobody changes meanwhile: at a start, and when the broker stops.
func (s *Store) encodeCheckpoint(pos int64, clean bool) []byte {
	s.mu.Lock()
	n := s.beginSnapshotLocked(pos, clean)
	n.finishLocked(s)
	s.mu.Unlock()
	return n.encode(s.salt)
}
