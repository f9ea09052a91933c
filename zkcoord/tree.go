package zkcoord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A TreeNode is a node as people look at it.
type TreeNode struct {
	Path    string // below the chroot
	Stat    Stat
	Data    []byte
	Value   string // what the data says; quoted and cut if it is not what it should be; "" if there is none
	Odd     bool   // the data is not what it should be
	Meaning string // a sentence; "" if nobody knows what the node is
}

// Kind is that of the node.
func (n *TreeNode) Kind() Kind {
	if n.Stat.Owner != 0 {
		return Ephemeral
	}
	return Persistent
}

// meanings say what each node of the layout is, and what is in it. {broker}, {slave} and {partition} stand for their forms, {replica} is that of Replica.String,
// {name} is any name. An empty node fits any of them: a path that was made as a parent has no data.
var meanings = []struct {
	pattern string
	meaning string
	value   func([]byte) (string, error)
}{
	{"", "Everything of this installation.", noData},
	{"/brokers", "What brokers write.", noData},
	{"/brokers/ids", "The brokers that there have been.", noData},
	{"/brokers/ids/{broker}", "Address of the broker's master for clients before 1.4; it stays after a crash.", addressValue},
	{"/brokers/ids/{broker}/master", "Address of the broker's master, while it runs.", addressValue},
	{"/brokers/ids/{broker}/slave{slave}", "Address of an asynchronous slave, while it runs.", addressValue},
	{"/brokers/ids/{broker}/master_config_checksum", "CRC-32 of the master's configuration file.", numberValue},
	{"/brokers/topics", "Topics for clients before 1.4.3.", noData},
	{"/brokers/topics/{name}", "A topic that brokers have, or had.", noData},
	{"/brokers/topics/{name}/{replica}", "Number of partitions that a master (B-m) or slave (B-sS) has, for clients before 1.4.3.", numberValue},
	{"/brokers/topics-pub", "Topics for producers.", noData},
	{"/brokers/topics-pub/{name}", "A topic that brokers take messages for, or a producer waits for.", noData},
	{"/brokers/topics-pub/{name}/{replica}", "A broker that takes messages for the topic; producers use masters (B-m) alone.", topicValue},
	{"/brokers/topics-sub", "Topics for consumers.", noData},
	{"/brokers/topics-sub/{name}", "A topic that brokers serve, or a consumer waits for.", noData},
	{"/brokers/topics-sub/{name}/{replica}", "A broker that consumers read the topic from, a master (B-m) or a slave (B-sS).", topicValue},
	{"/consumers", "The groups that there have been.", noData},
	{"/consumers/{name}", "A group of consumers.", noData},
	{"/consumers/{name}/ids", "The members of the group that are there now.", noData},
	{"/consumers/{name}/ids/{name}", "A member, with the topics that it wants.", memberValue},
	{"/consumers/{name}/owners", "Which member has which partition now.", noData},
	{"/consumers/{name}/owners/{name}", "A topic of which members have partitions, or had.", noData},
	{"/consumers/{name}/owners/{name}/{partition}", "The member that has the partition.", ownerValue},
	{"/consumers/{name}/offsets", "Where the group goes on.", noData},
	{"/consumers/{name}/offsets/{name}", "A topic that the group has read.", noData},
	{"/consumers/{name}/offsets/{name}/{partition}", "Where the group goes on in the partition, behind the message it has read last.", offsetValue},
}

var errOdd = errors.New("not what it should be")

func noData([]byte) (string, error) { return "", errOdd } // is asked for data only

func addressValue(data []byte) (string, error) { return ParseAddress(data) }

func numberValue(data []byte) (string, error) {
	_, err := strconv.ParseUint(string(data), 10, 32)
	return string(data), err
}

func topicValue(data []byte) (string, error) {
	n, err := ParseTopicNode(data)
	return fmt.Sprintf("%s: %s", n.Broker, count(n.Partitions, "partition")), cmp.Or(err, printable([]byte(n.Broker)))
}

func memberValue(data []byte) (string, error) {
	topics := SplitTopics(data)
	return string(JoinTopics(topics)), printable(data)
}

func ownerValue(data []byte) (string, error) { return string(data), printable(data) }

func offsetValue(data []byte) (string, error) {
	o, err := ParseOffset(data)
	if o.MessageID == UnknownMessage {
		return fmt.Sprintf("offset %d", o.Offset), err
	}
	return fmt.Sprintf("offset %d, message %d", o.Offset, o.MessageID), err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func printable(data []byte) error {
	if !utf8.Valid(data) || strings.ContainsFunc(string(data), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errOdd
	}
	return nil
}

// matches says whether a path fits a pattern of meanings.
func matches(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i, w := range want {
		var err error
		switch w {
		case "{name}":
		case "{broker}":
			_, err = strconv.ParseUint(have[i], 10, 31)
		case "slave{slave}":
			if _, ok := parseReplicaNode(0, have[i]); !ok || have[i] == masterNode {
				return false
			}
		case "{replica}":
			_, err = ParseReplica(have[i])
		case "{partition}":
			_, err = ParsePartition(have[i])
		default:
			if w != have[i] {
				return false
			}
		}
		if err != nil {
			return false
		}
	}
	return true
}

// explain fills in Value, Odd and Meaning.
func (n *TreeNode) explain(l Layout) {
	value := noData
	if rel, ok := strings.CutPrefix(n.Path, string(l)); ok {
		if rel == "/" {
			rel = "" // the root of ZooKeeper is the installation's
		}
		for _, m := range meanings {
			if matches(m.pattern, rel) {
				n.Meaning, value = m.meaning, m.value
				break
			}
		}
	}
	if len(n.Data) == 0 {
		return
	}
	var err error
	if n.Value, err = value(n.Data); err != nil || len(n.Value) > maxValue {
		n.Value, n.Odd = quoteOdd(n.Data), n.Meaning != ""
	}
}

// maxValue bounds what is shown of data that is understood, in bytes: the topics of a member may be many.
const maxValue = 1000

// WalkTree visits a node and all below it, parents first, by name. l says what they mean; below "" is where l begins. Nodes that go meanwhile
// are left out; that the first one is not there is ErrNoNode. An error of visit ends it.
func WalkTree(ctx context.Context, s *Session, l Layout, from string, visit func(TreeNode) error) error {
	if from == "" {
		from = string(l)
	}
	if from == "" {
		from = "/"
	}
	err := walkTree(ctx, s, l, from, visit)
	if errors.Is(err, errGone) {
		return fmt.Errorf("%s: %w", from, ErrNoNode)
	}
	return err
}

var errGone = errors.New("the node has gone")

func walkTree(ctx context.Context, s *Session, l Layout, at string, visit func(TreeNode) error) error {
	asked := at
	if at == "/" && s.chroot != "" {
		asked = "" // a chroot has no slash at its end
	}
	data, stat, err := s.Get(ctx, asked)
	if errors.Is(err, ErrNoNode) {
		return errGone
	}
	if err != nil {
		return err
	}
	n := TreeNode{Path: at, Stat: stat, Data: data}
	n.explain(l)
	if err := visit(n); err != nil {
		return err
	}
	if stat.Children == 0 {
		return nil
	}
	names, err := namesBelow(ctx, s, asked)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := walkTree(ctx, s, l, path.Join(at, name), visit); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	return nil
}
