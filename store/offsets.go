package store

import (
	"fmt"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/fault"
)

// maxOffsets bounds what clients can make the broker remember: groups times partitions.
const maxOffsets = 1 << 20

// CommitOffset keeps where a group goes on in a partition. It is acknowledged by the rule of its topic, like a put.
func (s *Store) CommitOffset(topic protocol.Topic, group protocol.Group, partition int32, offset int64) (Position, error) {
	if offset < 0 {
		return 0, fmt.Errorf("store: a negative offset, %d", offset)
	}
	key := appendOffsetKey(nil, string(topic), string(group), partition)
	q := s.Queue([]byte(topic), partition)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.offsets[string(key)]; !known && len(s.offsets) >= maxOffsets {
		return 0, fmt.Errorf("store: %d offsets of groups are kept, which is the limit", maxOffsets)
	}
	pos, err := s.appendControlLocked(kindOffset, 0, offset, key, func(int64) { s.offsets[string(key)] = offset })
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
	return pos, nil
}

// CommittedOffset is where a group goes on; false if it never committed. It does not allocate.
func (s *Store) CommittedOffset(topic, group []byte, partition int32) (int64, bool) {
	var buf [600]byte
	key := appendOffsetKey(buf[:0], topic, group, partition)
	s.mu.Lock()
	defer s.mu.Unlock()
	offset, ok := s.offsets[string(key)]
	return offset, ok
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
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]GroupOffset, 0, len(s.offsets))
	for key, offset := range s.offsets {
		if topic, group, partition, ok := parseOffsetKey(key); ok {
			list = append(list, GroupOffset{protocol.Topic(topic), protocol.Group(group), partition, offset})
		}
	}
	return list
}
