package zkcoord

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/metaq/metaq/protocol"
)

// NoSlave is the Slave of a master.
const NoSlave = -1

// A Replica is the master of a broker or one of its slaves.
type Replica struct {
	Broker int
	Slave  int // from 0 on; NoSlave: the master
}

// Master is the master of a broker.
func Master(broker int) Replica { return Replica{Broker: broker, Slave: NoSlave} }

// IsMaster tells a master from a slave.
func (r Replica) IsMaster() bool { return r.Slave == NoSlave }

// String is "B-m" or "B-sS", as the children of topics are named.
func (r Replica) String() string {
	if r.IsMaster() {
		return strconv.Itoa(r.Broker) + "-m"
	}
	return strconv.Itoa(r.Broker) + "-s" + strconv.Itoa(r.Slave)
}

// ParseReplica reads what String writes.
func ParseReplica(s string) (Replica, error) {
	broker, kind, ok := strings.Cut(s, "-")
	id, err := strconv.Atoi(broker)
	if !ok || err != nil || id < 0 {
		return Replica{}, fmt.Errorf("%q names no replica of a broker, such as 0-m or 0-s1", s)
	}
	if kind == "m" {
		return Master(id), nil
	}
	slave, isSlave := strings.CutPrefix(kind, "s")
	n, err := strconv.Atoi(slave)
	if !isSlave || err != nil || n < 0 {
		return Replica{}, fmt.Errorf("%q names no replica of a broker, such as 0-m or 0-s1", s)
	}
	return Replica{Broker: id, Slave: n}, nil
}

// parseReplicaNode reads the name of a child of Layout.Broker; ok is false for another child.
func parseReplicaNode(broker int, name string) (r Replica, ok bool) {
	if name == masterNode {
		return Master(broker), true
	}
	digits, isSlave := strings.CutPrefix(name, slaveNode)
	n, err := strconv.Atoi(digits)
	return Replica{Broker: broker, Slave: n}, isSlave && err == nil && n >= 0
}

// A Partition is one of a topic in a cluster.
type Partition struct {
	Broker int
	Number int32
}

// String is "B-P".
func (p Partition) String() string {
	return strconv.Itoa(p.Broker) + "-" + strconv.Itoa(int(p.Number))
}

// ParsePartition reads what String writes.
func ParsePartition(s string) (Partition, error) {
	broker, number, ok := strings.Cut(s, "-")
	b, err1 := strconv.Atoi(broker)
	n, err2 := strconv.ParseInt(number, 10, 32)
	if !ok || err1 != nil || err2 != nil || b < 0 || n < 0 {
		return Partition{}, fmt.Errorf("%q names no partition, such as 0-3", s)
	}
	return Partition{Broker: b, Number: int32(n)}, nil
}

// A TopicPartition is a partition in a cluster.
type TopicPartition struct {
	Topic     protocol.Topic
	Partition Partition
}

// String is "T/B-P".
func (p TopicPartition) String() string { return string(p.Topic) + "/" + p.Partition.String() }

// ComparePartitions orders by broker, then number, as producers do.
func ComparePartitions(a, b Partition) int {
	return cmp.Or(cmp.Compare(a.Broker, b.Broker), cmp.Compare(a.Number, b.Number))
}

// ComparePartitionNames orders as text, so that 0-10 comes before 0-2. The members of a group have to agree on this order, so it stays.
func ComparePartitionNames(a, b Partition) int { return strings.Compare(a.String(), b.String()) }

const addressScheme = "meta://"

// FormatAddress makes the data of a replica's node of host:port; an IPv6 host is in brackets.
func FormatAddress(hostport string) string { return addressScheme + hostport }

// ParseAddress reads host:port out of the data of a replica's node.
func ParseAddress(data []byte) (hostport string, err error) {
	u, err := url.Parse(string(data))
	if err != nil || u.Scheme+"://" != addressScheme || u.Port() == "" || u.Hostname() == "" {
		return "", fmt.Errorf("%.100q is no address of a broker, such as meta://10.0.0.1:8123", data)
	}
	return net.JoinHostPort(u.Hostname(), u.Port()), nil
}

// MaxPartitions is how many partitions of a topic a replica has at most. A node that tells more is garbage, and nobody who believed it would end counting them.
const MaxPartitions = 1 << 16

// A TopicNode is the data of a topic that a replica offers to producers or consumers.
type TopicNode struct {
	Broker     string `json:"broker"`   // Replica.String
	Partitions int    `json:"numParts"` // from 1 to MaxPartitions
}

// Encode makes the JSON with the fields in the order and without the spaces that the original writes.
func (n TopicNode) Encode() []byte {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // a string and a number can be encoded
	}
	return b
}

// ParseTopicNode reads what Encode makes, and what the original writes.
func ParseTopicNode(data []byte) (TopicNode, error) {
	var n TopicNode
	if err := json.Unmarshal(data, &n); err != nil || n.Partitions < 1 || n.Partitions > MaxPartitions {
		return TopicNode{}, fmt.Errorf(`%.100q tells no number of partitions from 1 to %d, such as {"broker":"0-m","numParts":4}`, data, MaxPartitions)
	}
	return n, nil
}

// UnknownMessage is the MessageID of an offset that was not made by consuming.
const UnknownMessage = -1

// An Offset is where a group goes on in a partition.
type Offset struct {
	MessageID int64 // of the last message consumed; often negative, see UnknownMessage
	Offset    int64 // logical, in bytes
}

// Encode makes "MSGID-OFFSET".
func (o Offset) Encode() []byte {
	return fmt.Appendf(nil, "%d-%d", o.MessageID, o.Offset)
}

// ParseOffset reads what Encode makes, and the offset alone that old clients wrote.
func ParseOffset(data []byte) (Offset, error) {
	o := Offset{MessageID: UnknownMessage}
	var err1, err2 error
	offset := data
	if i := bytes.LastIndexByte(data, '-'); i >= 0 {
		o.MessageID, err1 = strconv.ParseInt(string(data[:i]), 10, 64)
		offset = data[i+1:]
	}
	o.Offset, err2 = strconv.ParseInt(string(offset), 10, 64)
	if err := errors.Join(err1, err2); err != nil || o.Offset < 0 {
		return Offset{}, fmt.Errorf("%.100q is no offset, such as -5468921164271190016-44", data)
	}
	return o, nil
}

// MemberID is how a consumer of a group is named there; consumer is its own id.
func MemberID(g protocol.Group, consumer string) string { return string(g) + "_" + consumer }

const topicSeparator = ","

// JoinTopics makes the data of a member, sorted.
func JoinTopics(topics []protocol.Topic) []byte {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = string(t)
	}
	slices.Sort(names)
	return []byte(strings.Join(names, topicSeparator))
}

// SplitTopics reads the data of a member. The order means nothing, nor that a topic is named twice.
func SplitTopics(data []byte) []protocol.Topic {
	var topics []protocol.Topic
	for name := range strings.SplitSeq(string(data), topicSeparator) {
		if topic := protocol.Topic(strings.TrimSpace(name)); topic != "" && !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	return topics
}
