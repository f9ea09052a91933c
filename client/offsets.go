package client

import (
	"cmp"
	"context"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// An OffsetKey names what a group has one offset of.
type OffsetKey struct {
	Group     protocol.Group
	Topic     protocol.Topic
	Partition zkcoord.Partition // Broker is 0 against a broker that stands alone
}

// CompareOffsetKeys orders by group, topic and partition. Stores that lock what they change do it in this order.
func CompareOffsetKeys(a, b OffsetKey) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), zkcoord.ComparePartitions(a.Partition, b.Partition))
}

// An OffsetStore keeps where groups go on. A Consumer calls it from several goroutines, never for the same key at once.
type OffsetStore interface {
	// Load tells the offset of a key; ok is false if there never was one.
	Load(ctx context.Context, key OffsetKey) (offset zkcoord.Offset, ok bool, err error)
	// Save keeps offsets. With an error some of them may be kept and others not; those are saved again.
	Save(ctx context.Context, offsets map[OffsetKey]zkcoord.Offset) error
}
