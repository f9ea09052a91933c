package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// commitWindow bounds the commits that wait for their answers on one connection. A broker refuses what is beyond its maxCommandsInFlight, and other requests
// of the connection count there too.
const commitWindow = 1024

// BrokerOffsets keeps each offset on the broker that has its partition (`commit` and `committed`), as safe as the messages of the topic. Brokers keep no ids of
// messages: what is loaded has zkcoord.UnknownMessage. It is where a Consumer of a broker that stands alone keeps its offsets by default.
type BrokerOffsets struct {
	conn func(ctx context.Context, broker int) (*Conn, error)
}

// NewBrokerOffsets makes a store from a function that yields the connection to a broker of the cluster, or to the one that stands alone, which is asked for as
// broker 0. The connections stay the caller's; one that broke is the caller's to replace when it is asked for again.
func NewBrokerOffsets(conn func(ctx context.Context, broker int) (*Conn, error)) *BrokerOffsets {
	return &BrokerOffsets{conn}
}

// Load asks the broker of the partition.
func (b *BrokerOffsets) Load(ctx context.Context, key OffsetKey) (zkcoord.Offset, bool, error) {
	if err := ctx.Err(); err != nil {
		return zkcoord.Offset{}, false, err
	}
	conn, err := b.conn(ctx, key.Partition.Broker)
	if err != nil {
		return zkcoord.Offset{}, false, err
	}
	offset, err := conn.Committed(ctx, key.Topic, key.Group, key.Partition.Number)
	var status *StatusError
	switch {
	case errors.As(err, &status) && status.Status == protocol.StatusNotFound:
		return zkcoord.Offset{}, false, nil
	case err != nil:
		return zkcoord.Offset{}, false, err
	}
	return zkcoord.Offset{MessageID: zkcoord.UnknownMessage, Offset: offset}, true, nil
}

// Save commits on all brokers at the same time, on each without waiting for one answer before the next request. One that fails keeps no other from being kept.
func (b *BrokerOffsets) Save(ctx context.Context, offsets map[OffsetKey]zkcoord.Offset) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	byBroker := map[int][]OffsetKey{}
	for key := range offsets {
		byBroker[key.Partition.Broker] = append(byBroker[key.Partition.Broker], key)
	}
	brokers := slices.Sorted(maps.Keys(byBroker))
	errs := make([]error, len(brokers))
	var wg sync.WaitGroup
	for i, broker := range brokers {
		wg.Go(func() { errs[i] = b.saveOn(ctx, broker, byBroker[broker], offsets) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// saveOn commits the offsets of one broker's partitions.
func (b *BrokerOffsets) saveOn(ctx context.Context, broker int, keys []OffsetKey, offsets map[OffsetKey]zkcoord.Offset) error {
	conn, err := b.conn(ctx, broker)
	if err != nil {
		return err
	}
	type answer struct {
		key OffsetKey
		err error
	}
	answers := make(chan answer, len(keys)) // takes all, so that nobody blocks the connection when ctx has ended
	failed := 0
	var first error
	for sent, done := 0, 0; done < len(keys); {
		if sent < len(keys) && sent-done < commitWindow {
			key := keys[sent]
			sent++
			conn.do(func(dst []byte, opaque int32) []byte {
				return protocol.AppendCommit(dst, key.Topic, key.Group, key.Partition.Number, offsets[key].Offset, opaque)
			}, func(r *protocol.Response, err error) {
				if err == nil {
					err = check(r)
				}
				answers <- answer{key, err}
			})
			continue
		}
		select {
		case a := <-answers:
			done++
			if a.err != nil {
				if failed++; first == nil {
					first = fmt.Errorf("commit %s %s: %w", a.key.Topic, a.key.Partition, a.err)
				}
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if failed > 1 {
		return fmt.Errorf("%d of %d offsets are not kept: %w", failed, len(keys), first)
	}
	return first
}
