package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// groupSource is where groups keep how far they have read: ZooKeeper for a cluster, or a broker that stands alone.
type groupSource interface {
	// groups lists the groups, by name.
	groups(ctx context.Context) ([]protocol.Group, error)
	// view looks at a group. That there is none of the name is a notFoundError.
	view(ctx context.Context, g protocol.Group) (*zkcoord.GroupView, error)
	// knowsMembers tells whether a view has members and owners, and the times of changes.
	knowsMembers() bool
	// partitions lists the partitions of a topic that are there now.
	partitions(ctx context.Context, t protocol.Topic) ([]zkcoord.Partition, error)
	// dial connects to the broker that has a partition.
	dial(ctx context.Context, p zkcoord.Partition) (*client.Conn, error)
	// save keeps offsets, but none that somebody changes at the same time.
	save(ctx context.Context, g protocol.Group, offsets map[zkcoord.TopicPartition]int64) error
	// name is how a partition is written.
	name(p zkcoord.Partition) string
	// parse reads what name writes.
	parse(s string) (zkcoord.Partition, error)
	close()
}

// openGroups opens what --zk or --broker names.
func (a *app) openGroups(ctx context.Context) (groupSource, error) {
	if a.cluster != nil {
		c, err := a.openCluster(ctx)
		if err != nil {
			return nil, err
		}
		return clusterGroups{c}, nil
	}
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &brokerGroups{app: a, conn: conn}, nil
}

// clusterGroups are the groups of a cluster.
type clusterGroups struct{ *cluster }

func (c clusterGroups) groups(ctx context.Context) ([]protocol.Group, error) {
	return zkcoord.ListGroups(ctx, c.session, c.layout)
}

func (c clusterGroups) knowsMembers() bool { return true }

func (c clusterGroups) view(ctx context.Context, g protocol.Group) (*zkcoord.GroupView, error) {
	v, err := zkcoord.ViewGroup(ctx, c.session, c.layout, g)
	if errors.Is(err, zkcoord.ErrNoNode) {
		return nil, notFoundf("there has never been a group %s in %s; 'metaq groups' lists them", g, c)
	}
	return v, err
}

func (c clusterGroups) partitions(ctx context.Context, t protocol.Topic) ([]zkcoord.Partition, error) {
	var list []zkcoord.Partition
	for _, use := range []zkcoord.Use{zkcoord.UseSubscribe, zkcoord.UsePublish} {
		offers, err := c.directory.Lookup(ctx, use, t)
		if err != nil {
			return nil, err
		}
		for _, o := range offers {
			for n := range o.Partitions {
				list = append(list, zkcoord.Partition{Broker: o.Replica.Broker, Number: n})
			}
		}
	}
	slices.SortFunc(list, zkcoord.ComparePartitions)
	return slices.Compact(list), nil
}

func (c clusterGroups) dial(ctx context.Context, p zkcoord.Partition) (*client.Conn, error) {
	return c.cluster.dial(ctx, p.Broker)
}

func (c clusterGroups) save(ctx context.Context, g protocol.Group, offsets map[zkcoord.TopicPartition]int64) error {
	nodes := zkcoord.NewOffsets(c.session, c.layout, g)
	set := map[zkcoord.TopicPartition]zkcoord.Offset{}
	for p, offset := range offsets {
		// Load notes the version of the node, also of one that is no offset.
		if _, _, err := nodes.Load(ctx, p); errors.Is(err, zkcoord.ErrUnknown) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		set[p] = zkcoord.Offset{MessageID: zkcoord.UnknownMessage, Offset: offset}
	}
	err := nodes.Save(ctx, set)
	if moved := (*zkcoord.MovedError)(nil); errors.As(err, &moved) {
		return fmt.Errorf("%w meanwhile, so a consumer runs; the others are set. Stop the group and try again", err)
	}
	return err
}

// withOffsetsOfBrokers views a group that has no offset in ZooKeeper with those that brokers keep of it (client.BrokerOffsets). v is nil if ZooKeeper does not know the
// group.
func (c clusterGroups) withOffsetsOfBrokers(ctx context.Context, g protocol.Group, v *zkcoord.GroupView) (*zkcoord.GroupView, error) {
	known := v != nil
	if !known {
		v = &zkcoord.GroupView{Group: g}
	}
	for _, m := range c.masters {
		conn, err := c.cluster.dial(ctx, m.ID)
		if err != nil {
			return nil, err
		}
		found, err := committedOn(ctx, conn, m.ID, fmt.Sprintf("broker %d", m.ID))
		if err != nil {
			return nil, err
		}
		v.Offsets = append(v.Offsets, found[g]...)
	}
	if !known && len(v.Offsets) == 0 {
		return nil, notFoundf("there has never been a group %s in %s, and its brokers keep no offset of one; 'metaq groups' lists those that there are in ZooKeeper", g, c)
	}
	return v, nil
}

func (c clusterGroups) name(p zkcoord.Partition) string { return p.String() }

func (c clusterGroups) parse(s string) (zkcoord.Partition, error) { return zkcoord.ParsePartition(s) }

// brokerGroups are the groups that have committed offsets to a broker that stands alone. It knows nobody of them.
type brokerGroups struct {
	app  *app
	conn *client.Conn
}

func (b *brokerGroups) close() { b.conn.Close() }

func (b *brokerGroups) knowsMembers() bool { return false }

func (b *brokerGroups) committed(ctx context.Context) (map[protocol.Group][]zkcoord.GroupOffset, error) {
	return committedOn(ctx, b.conn, 0, b.app.broker)
}

// committedOn lists the offsets that a broker keeps, from `stats groups`: lines of "TOPIC group GROUP part N offset OFFSET ...".
func committedOn(ctx context.Context, conn *client.Conn, broker int, name string) (map[protocol.Group][]zkcoord.GroupOffset, error) {
	text, err := conn.Stats(ctx, "groups")
	if err != nil {
		return nil, fmt.Errorf("groups of %s: %w", name, err)
	}
	stats, ok := parseStats(text)
	if !ok {
		return nil, fmt.Errorf("groups of %s: the answer to stats has no STATS and END", name)
	}
	found := map[protocol.Group][]zkcoord.GroupOffset{}
	for _, line := range stats {
		var g protocol.Group
		o := zkcoord.GroupOffset{TopicPartition: zkcoord.TopicPartition{Topic: protocol.Topic(line.Name)}, Offset: zkcoord.Offset{MessageID: zkcoord.UnknownMessage}}
		o.Partition.Broker = broker
		if _, err := fmt.Sscanf(line.Value, "group %s part %d offset %d", (*string)(&g), &o.Partition.Number, &o.Offset.Offset); err != nil {
			// A broker of the original takes the item for an unknown topic.
			return nil, fmt.Errorf("groups of %s: it keeps no offsets of groups (line %q). Give the cluster's ZooKeeper with --zk", name, line.Name+" "+line.Value)
		}
		found[g] = append(found[g], o)
	}
	for _, list := range found {
		slices.SortFunc(list, func(a, b zkcoord.GroupOffset) int {
			if a.Topic != b.Topic {
				return strings.Compare(string(a.Topic), string(b.Topic))
			}
			return zkcoord.ComparePartitions(a.Partition, b.Partition)
		})
	}
	return found, nil
}

func (b *brokerGroups) groups(ctx context.Context) ([]protocol.Group, error) {
	found, err := b.committed(ctx)
	if err != nil {
		return nil, err
	}
	var list []protocol.Group
	for g := range found {
		list = append(list, g)
	}
	slices.Sort(list)
	return list, nil
}

func (b *brokerGroups) view(ctx context.Context, g protocol.Group) (*zkcoord.GroupView, error) {
	found, err := b.committed(ctx)
	if err != nil {
		return nil, err
	}
	if len(found[g]) == 0 {
		return nil, notFoundf("group %s has committed no offset on %s; 'metaq groups' lists those that have (--zk names a cluster)", g, b.app.broker)
	}
	return &zkcoord.GroupView{Group: g, Offsets: found[g]}, nil
}

func (b *brokerGroups) partitions(ctx context.Context, t protocol.Topic) ([]zkcoord.Partition, error) {
	numbers, err := b.app.partitions(ctx, b.conn, t)
	if isBrokerNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// A broker names all partitions that a topic would have, and keeps offsets of those that were written.
	written := make([]bool, len(numbers))
	err = atOnce(ctx, len(numbers), func(ctx context.Context, i int) error {
		_, err := b.conn.Lag(ctx, t, numbers[i], 0)
		if written[i] = !isBrokerNotFound(err); written[i] && err != nil {
			return fmt.Errorf("partition %d of %s: %w", numbers[i], t, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var list []zkcoord.Partition
	for i, n := range numbers {
		if written[i] {
			list = append(list, zkcoord.Partition{Number: n})
		}
	}
	return list, nil
}

func (b *brokerGroups) dial(context.Context, zkcoord.Partition) (*client.Conn, error) {
	return b.conn, nil
}

func (b *brokerGroups) save(ctx context.Context, g protocol.Group, offsets map[zkcoord.TopicPartition]int64) error {
	for p, offset := range offsets {
		if err := b.conn.Commit(ctx, p.Topic, g, p.Partition.Number, offset); err != nil {
			return fmt.Errorf("set %s partition %d: %w", p.Topic, p.Partition.Number, err)
		}
	}
	return nil
}

func (b *brokerGroups) name(p zkcoord.Partition) string { return strconv.Itoa(int(p.Number)) }

func (b *brokerGroups) parse(s string) (zkcoord.Partition, error) {
	n, err := parsePartition(s)
	return zkcoord.Partition{Number: n}, err
}

func parseGroupArg(s string) (protocol.Group, error) {
	g, err := protocol.ParseGroup(s)
	if err != nil {
		return "", usageError{err}
	}
	return g, nil
}

// wanted lists the partitions that concern a group: those of its topics that are there now, and those it has an offset of. only is one topic, or "".
func wanted(ctx context.Context, from groupSource, v *zkcoord.GroupView, only protocol.Topic) ([]zkcoord.TopicPartition, error) {
	topics := v.Topics()
	if only != "" {
		topics = []protocol.Topic{only}
	}
	var list []zkcoord.TopicPartition
	for _, t := range topics {
		there, err := from.partitions(ctx, t)
		if err != nil {
			return nil, err
		}
		for _, o := range v.Offsets {
			if o.Topic == t {
				there = append(there, o.Partition)
			}
		}
		slices.SortFunc(there, zkcoord.ComparePartitions)
		for _, p := range slices.Compact(there) {
			list = append(list, zkcoord.TopicPartition{Topic: t, Partition: p})
		}
	}
	return list, nil
}

// printTime is a time for people, in the zone of the machine; "-" if it is not known.
func printTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("2006-01-02 15:04:05")
}
