package client

import (
	"context"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// zooKeeperOffsets keeps the offsets of one group where members written in Java keep them.
type zooKeeperOffsets struct{ offsets *zkcoord.Offsets }

func newZooKeeperOffsets(c *cluster, g protocol.Group) zooKeeperOffsets {
	return zooKeeperOffsets{zkcoord.NewOffsets(c.session, c.layout, g)}
}

func (z zooKeeperOffsets) Load(ctx context.Context, key OffsetKey) (zkcoord.Offset, bool, error) {
	return z.offsets.Load(ctx, zkcoord.TopicPartition{Topic: key.Topic, Partition: key.Partition})
}

func (z zooKeeperOffsets) Save(ctx context.Context, offsets map[OffsetKey]zkcoord.Offset) error {
	list := make(map[zkcoord.TopicPartition]zkcoord.Offset, len(offsets))
	for key, offset := range offsets {
		list[zkcoord.TopicPartition{Topic: key.Topic, Partition: key.Partition}] = offset
	}
	return z.offsets.Save(ctx, list)
}
