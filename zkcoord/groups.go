package zkcoord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metaq/metaq/protocol"
)

// A GroupView is what there is of a group at one time, for tools: no member of the group looks at it. Groups change while they are looked at, so it
// may have a partition with an owner that is no member any more.
type GroupView struct {
	Group   protocol.Group
	Members []GroupMember // by id
	Owners  []GroupOwner  // by topic, then broker and number
	Offsets []GroupOffset // the same
}

// A GroupMember is a consumer that is there.
type GroupMember struct {
	ID     string // MemberID
	Topics []protocol.Topic
	Since  time.Time // of its registration, or of the last change of its topics
}

// A GroupOwner says who has a partition.
type GroupOwner struct {
	TopicPartition
	Member string // MemberID; quoted if it can be none
}

// A GroupOffset is where a group goes on in a partition.
type GroupOffset struct {
	TopicPartition
	Offset  Offset
	Odd     string // what is there instead of an offset, quoted; "" if it is one
	Changed time.Time
}

// Live tells whether somebody reads as the group. Its offsets are theirs then.
func (v *GroupView) Live() bool { return len(v.Members) > 0 || len(v.Owners) > 0 }

// Topics lists the topics that the group wants, has, or has read, by name.
func (v *GroupView) Topics() []protocol.Topic {
	var list []protocol.Topic
	for _, m := range v.Members {
		list = append(list, m.Topics...)
	}
	for _, o := range v.Owners {
		list = append(list, o.Topic)
	}
	for _, o := range v.Offsets {
		list = append(list, o.Topic)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Owner finds the member that has a partition, "" if nobody has.
func (v *GroupView) Owner(p TopicPartition) string {
	for _, o := range v.Owners {
		if o.TopicPartition == p {
			return o.Member
		}
	}
	return ""
}

// Offset finds the offset of a partition.
func (v *GroupView) Offset(p TopicPartition) (o GroupOffset, ok bool) {
	i := slices.IndexFunc(v.Offsets, func(o GroupOffset) bool { return o.TopicPartition == p })
	if i < 0 {
		return GroupOffset{}, false
	}
	return v.Offsets[i], true
}

// ListGroups lists the groups that there have been, by name.
func ListGroups(ctx context.Context, s *Session, l Layout) ([]protocol.Group, error) {
	names, err := namesBelow(ctx, s, l.Groups())
	if err != nil {
		return nil, err
	}
	var list []protocol.Group
	for _, name := range names {
		list = append(list, protocol.Group(name))
	}
	return list, nil
}

// ViewGroup looks at a group. That there has never been one of the name is ErrNoNode.
func ViewGroup(ctx context.Context, s *Session, l Layout, g protocol.Group) (*GroupView, error) {
	if _, _, err := s.Get(ctx, l.at(consumers, string(g))); err != nil {
		return nil, err
	}
	v := &GroupView{Group: g}
	members, err := namesBelow(ctx, s, l.Members(g))
	if err != nil {
		return nil, err
	}
	for _, id := range members {
		data, stat, err := s.Get(ctx, l.Member(g, id))
		if errors.Is(err, ErrNoNode) {
			continue // it has just left
		}
		if err != nil {
			return nil, err
		}
		// What can be no topic is nothing that anybody could have.
		topics := slices.DeleteFunc(SplitTopics(data), func(t protocol.Topic) bool { return !protocol.ValidTopic([]byte(t)) })
		slices.Sort(topics)
		v.Members = append(v.Members, GroupMember{ID: id, Topics: topics, Since: stat.Modified})
	}
	err = eachPartitionNode(ctx, s, l.at(consumers, string(g), ownersNode), func(p TopicPartition, data []byte, _ Stat) {
		member := string(data)
		if printable(data) != nil {
			member = quoteOdd(data)
		}
		v.Owners = append(v.Owners, GroupOwner{p, member})
	})
	if err != nil {
		return nil, err
	}
	err = eachPartitionNode(ctx, s, l.OffsetTopics(g), func(p TopicPartition, data []byte, stat Stat) {
		if len(data) == 0 {
			return // made as a parent, or emptied by hand: no offset
		}
		o := GroupOffset{TopicPartition: p, Changed: stat.Modified}
		var err error
		if o.Offset, err = ParseOffset(data); err != nil {
			o.Odd = quoteOdd(data)
		}
		v.Offsets = append(v.Offsets, o)
	})
	return v, err
}

// eachPartitionNode visits the nodes of partitions in the folders of topics below a path, by topic, then broker and number.
func eachPartitionNode(ctx context.Context, s *Session, path string, visit func(TopicPartition, []byte, Stat)) error {
	topics, err := namesBelow(ctx, s, path)
	if err != nil {
		return err
	}
	type node struct {
		at   TopicPartition
		gone bool
		data []byte
		stat Stat
	}
	var nodes []*node
	for _, topic := range topics {
		names, err := namesBelow(ctx, s, path+"/"+topic)
		if err != nil {
			return err
		}
		for _, name := range names { // in the order of partitions
			if p, err := ParsePartition(name); err == nil {
				nodes = append(nodes, &node{at: TopicPartition{protocol.Topic(topic), p}})
			}
		}
	}
	err = eachAtOnce(nodes, func(n *node) (err error) {
		n.data, n.stat, err = s.Get(ctx, path+"/"+string(n.at.Topic)+"/"+n.at.Partition.String())
		if n.gone = errors.Is(err, ErrNoNode); n.gone {
			return nil // it has just been released
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if !n.gone {
			visit(n.at, n.data, n.stat)
		}
	}
	return nil
}

// namesBelow lists the names below a node in order, none if the node is not there.
func namesBelow(ctx context.Context, s *Session, path string) ([]string, error) {
	names, err := s.Children(ctx, path)
	if errors.Is(err, ErrNoNode) {
		return nil, nil
	}
	slices.SortFunc(names, compareNames)
	return names, err
}

// compareNames orders numbers, also those of 0-10 and 0-2, as numbers and everything else as text.
func compareNames(a, b string) int {
	p, err1 := ParsePartition(a)
	q, err2 := ParsePartition(b)
	if err1 == nil && err2 == nil {
		return ComparePartitions(p, q)
	}
	m, err1 := strconv.Atoi(a)
	n, err2 := strconv.Atoi(b)
	if err1 == nil && err2 == nil {
		return cmp.Compare(m, n)
	}
	return strings.Compare(a, b)
}

// maxShown bounds what is shown of data that nobody understands, in bytes.
const maxShown = 100

// quoteOdd shows data that is not what it should be.
func quoteOdd(data []byte) string {
	if len(data) > maxShown {
		return fmt.Sprintf("%q... (%d bytes)", data[:maxShown], len(data))
	}
	return strconv.Quote(string(data))
}
