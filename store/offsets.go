package store

import (
	"fmt"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/fault"
)

// maxOffsets bounds what clients can make the broker remember: groups times partitions.
const maxOffsets = 1 << 20

// offsetTable has the committed offsets. None is ever removed.
type offsetTable struct {
	byKey map[string]int // number in the list, by the body of an offset frame
	list  []commit
}

type commit struct {
	key    string
	offset int64
	safe   Position // nobody may read it before the log is flushed up to here
	round  uint32   // the last snapshot that has it
}

// setOffsetLocked keeps a committed offset, after the old one was saved for the snapshot that has not come to it. It returns its number in the list.
func (s *Store) setOffsetLocked(key []byte, offset int64) int {
	i, known := s.offsets.byKey[string(key)]
	if !known {
		c := commit{key: string(key), offset: offset, round: s.round}
		s.offsets.byKey[c.key] = len(s.offsets.list)
		s.offsets.list = append(s.offsets.list, c)
		return len(s.offsets.list) - 1
	}
	c := &s.offsets.list[i]
	if n := s.walking; n != nil && i < n.commits && c.round != s.round {
		n.savedCommits = append(n.savedCommits, *c)
		c.round = s.round
	}
	c.offset, c.safe = offset, 0
	return i
}

// CommitOffset keeps where a group goes on in a partition. It is acknowledged by the rule of its topic, like a put.
func (s *Store) CommitOffset(topic protocol.Topic, group protocol.Group, partition int32, offset int64) (Position, error) {
	if offset < 0 {
		return 0, fmt.Errorf("store: a negative offset, %d", offset)
	}
	if err := s.refuseWhileStuck(); err != nil {
		return 0, err
	}
	key := appendOffsetKey(nil, string(topic), string(group), partition)
	q := s.Queue([]byte(topic), partition)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.offsets.byKey[string(key)]; !known && len(s.offsets.list) >= maxOffsets {
		return 0, fmt.Errorf("store: %d offsets of groups are kept, which is the limit", maxOffsets)
	}
	n := 0
	pos, err := s.appendControlLocked(kindOffset, 0, offset, key, func(int64) { n = s.setOffsetLocked(key, offset) })
	if err != nil {
		return 0, err
	}
	rules := s.rules(topic)
	if q != nil && !rules.groupCommit() && !s.mustWaitLocked(q, int64(pos), 0) {
		return 0, nil
	}
	s.signal(s.flushC)
	if fault.Mutant("commit_before_flush") {
		pos = 0
	}
	s.offsets.list[n].safe = pos
	return pos, nil
}

// CommittedOffset is where a group goes on; false if it never committed. The offset must be told to nobody before safe counts as acknowledged (see
// Await): after a power cut it would be an older one again. It does not allocate.
func (s *Store) CommittedOffset(topic, group []byte, partition int32) (offset int64, safe Position, ok bool) {
	var buf [600]byte
	key := appendOffsetKey(buf[:0], topic, group, partition)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.offsets.byKey[string(key)]
	if !ok {
		return 0, 0, false
	}
	c := &s.offsets.list[i]
	return c.offset, c.safe, true
}

// GroupOffset is one committed offset.
type GroupOffset struct {
	Topic     protocol.Topic
	Group     protocol.Group
	Partition int32
	Offset    int64
}

// GroupOffsets lists all committed offsets, in no order.
func (s *Store) GroupOffsets() []GroupOffset {
	var list []GroupOffset
	var step [walkStep]commit
	for from := 0; ; from += walkStep {
		s.mu.Lock()
		n := copy(step[:], s.offsets.list[min(from, len(s.offsets.list)):])
		s.mu.Unlock()
		for _, c := range step[:n] {
			if topic, group, partition, ok := parseOffsetKey(c.key); ok {
				list = append(list, GroupOffset{protocol.Topic(topic), protocol.Group(group), partition, c.offset})
			}
		}
		if n < walkStep {
			return list
		}
	}
}
