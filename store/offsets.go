package store

import (
	"fmt"
	"iter"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/fault"
)

// OffsetLimits bound what groups can make the store remember for ever. What is there when a limit is lowered stays, and can be committed anew.
type OffsetLimits struct {
	Groups  int // default 10,000
	Offsets int // groups times partitions; default 1,000,000
}

const (
	defaultGroups  = 10_000
	defaultOffsets = 1_000_000
)

// SetOffsetLimits takes new limits.
func (s *Store) SetOffsetLimits(l OffsetLimits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offsets.limits = l
}

// offsetTable has the committed offsets. None is ever removed.
type offsetTable struct {
	byKey  map[string]int // number in the list, by the body of an offset frame
	list   []commit
	groups map[protocol.Group]struct{}
	limits OffsetLimits
}

func newOffsetTable(limits OffsetLimits) offsetTable {
	return offsetTable{byKey: map[string]int{}, groups: map[protocol.Group]struct{}{}, limits: limits}
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
		if _, group, _, ok := parseOffsetKey(c.key); ok {
			s.offsets.groups[protocol.Group(group)] = struct{}{}
		}
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

// roomForOffsetLocked is the error of a commit that would keep something new beyond a limit.
func (s *Store) roomForOffsetLocked(key []byte, group protocol.Group) error {
	if _, known := s.offsets.byKey[string(key)]; known {
		return nil
	}
	limits := s.offsets.limits
	if _, known := s.offsets.groups[group]; !known && len(s.offsets.groups) >= limits.Groups {
		return fmt.Errorf("%d, at most %d: %w", len(s.offsets.groups), limits.Groups, ErrGroups)
	}
	if len(s.offsets.list) >= limits.Offsets {
		return fmt.Errorf("%d, at most %d: %w", len(s.offsets.list), limits.Offsets, ErrOffsets)
	}
	return nil
}

// CommitOffset keeps where a group goes on in a partition. It is acknowledged by the rule of its topic, like a put. An error wraps ErrGroups or ErrOffsets,
// or is one of Append.
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
	if err := s.roomForOffsetLocked(key, group); err != nil {
		return 0, err
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

// GroupOffsets goes over all committed offsets, in no order, some at a time, so that puts do not wait for it.
func (s *Store) GroupOffsets() iter.Seq[GroupOffset] {
	return func(yield func(GroupOffset) bool) {
		var step [walkStep]commit
		for from := 0; ; from += walkStep {
			s.mu.Lock()
			n := copy(step[:], s.offsets.list[min(from, len(s.offsets.list)):])
			s.mu.Unlock()
			for _, c := range step[:n] {
				topic, group, partition, ok := parseOffsetKey(c.key)
				if ok && !yield(GroupOffset{protocol.Topic(topic), protocol.Group(group), partition, c.offset}) {
					return
				}
			}
			if n < walkStep {
				return
			}
		}
	}
}
