package zkcoord

import (
	"strconv"
	"strings"

	"github.com/metaq/metaq/protocol"
)

// DefaultRoot is where the tree lies if zk.zkRoot says nothing else.
const DefaultRoot Layout = "/meta"

// A Layout names the nodes of one installation, as Metamorphosis 1.4.6 does. It is the root of its tree, without a slash at the end; "" is the root
// of ZooKeeper.
type Layout string

// Names below the root.
const (
	brokerIDs    = "/brokers/ids"
	brokerTopics = "/brokers/topics"
	consumers    = "/consumers"

	masterNode   = "master"
	slaveNode    = "slave" // and its number
	checksumNode = "master_config_checksum"
	membersNode  = "ids"
	ownersNode   = "owners"
	offsetsNode  = "offsets"
)

// A Use is what a broker offers a topic for. Each has a folder of topics.
type Use string

const (
	// UseAny is read by clients before 1.4.3 alone, and always written.
	UseAny Use = ""
	// UsePublish is there while the broker takes puts.
	UsePublish Use = "-pub"
	// UseSubscribe is there while the broker serves gets.
	UseSubscribe Use = "-sub"
)

// Uses lists all of them.
var Uses = []Use{UseAny, UsePublish, UseSubscribe}

func (l Layout) at(dir string, names ...string) string {
	return strings.Join(append([]string{string(l) + dir}, names...), "/")
}

// Brokers has a child for each broker.
func (l Layout) Brokers() string { return l.at(brokerIDs) }

// Broker holds the master's address for clients before 1.4. Its children are the replicas.
func (l Layout) Broker(id int) string { return l.at(brokerIDs, strconv.Itoa(id)) }

// Replica holds the address of a master or a slave while that is there.
func (l Layout) Replica(r Replica) string {
	if r.IsMaster() {
		return l.at(brokerIDs, strconv.Itoa(r.Broker), masterNode)
	}
	return l.at(brokerIDs, strconv.Itoa(r.Broker), slaveNode+strconv.Itoa(r.Slave))
}

// ConfigChecksum holds the checksum of the configuration file of a master, in decimal.
func (l Layout) ConfigChecksum(id int) string {
	return l.at(brokerIDs, strconv.Itoa(id), checksumNode)
}

// Topics has a child for each topic that somebody offers or wants for a use.
func (l Layout) Topics(u Use) string { return l.at(brokerTopics + string(u)) }

// Topic has a child for each replica that offers the topic.
func (l Layout) Topic(u Use, t protocol.Topic) string {
	return l.at(brokerTopics+string(u), string(t))
}

// TopicOf holds the number of partitions of a topic on a replica while that offers it: plain for UseAny, else a TopicNode.
func (l Layout) TopicOf(u Use, t protocol.Topic, r Replica) string {
	return l.at(brokerTopics+string(u), string(t), r.String())
}

// Groups has a child for each group that there has been.
func (l Layout) Groups() string { return l.at(consumers) }

// Members has a child for each consumer of a group that is there.
func (l Layout) Members(g protocol.Group) string { return l.at(consumers, string(g), membersNode) }

// Member holds the topics that a consumer wants, see JoinTopics. Its id is that of MemberID.
func (l Layout) Member(g protocol.Group, id string) string {
	return l.at(consumers, string(g), membersNode, id)
}

// Owners has a child for each partition of a topic that a consumer of the group has.
func (l Layout) Owners(g protocol.Group, t protocol.Topic) string {
	return l.at(consumers, string(g), ownersNode, string(t))
}

// Owner holds the id of the member that has a partition.
func (l Layout) Owner(g protocol.Group, t protocol.Topic, p Partition) string {
	return l.at(consumers, string(g), ownersNode, string(t), p.String())
}

// OffsetTopics has a child for each topic of which a group has offsets.
func (l Layout) OffsetTopics(g protocol.Group) string {
	return l.at(consumers, string(g), offsetsNode)
}

// Offsets has a child for each partition of a topic of which a group has an offset.
func (l Layout) Offsets(g protocol.Group, t protocol.Topic) string {
	return l.at(consumers, string(g), offsetsNode, string(t))
}

// Offset holds an Offset.
func (l Layout) Offset(g protocol.Group, t protocol.Topic, p Partition) string {
	return l.at(consumers, string(g), offsetsNode, string(t), p.String())
}
