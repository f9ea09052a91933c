package offsetfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// entry is an offset as the Java class TopicPartitionRegInfo is written, with its fields in the same order. Java needs topic, offset and partition.
type entry struct {
	Offset    *int64         `json:"offset"`
	MessageID *int64         `json:"messageId"`
	Topic     protocol.Topic `json:"topic"`
	Partition *partition     `json:"partition"`
	Modified  bool           `json:"modified"` // of the running Java program; means nothing here
}

type partition struct {
	Number int32 `json:"partition"`
	Broker int   `json:"brokerId"`
}

// encode makes the file, in the order of groups, topics and partitions.
func encode(offsets map[client.OffsetKey]zkcoord.Offset) []byte {
	groups := map[protocol.Group][]entry{}
	for _, key := range slices.SortedFunc(maps.Keys(offsets), client.CompareOffsetKeys) {
		o := offsets[key]
		groups[key.Group] = append(groups[key.Group],
			entry{Offset: &o.Offset, MessageID: &o.MessageID, Topic: key.Topic, Partition: &partition{key.Partition.Number, key.Partition.Broker}})
	}
	b, err := json.Marshal(groups)
	if err != nil {
		panic(err) // strings and numbers can be encoded
	}
	return b
}

// decode reads what encode makes, and what Java writes: also an empty file, with which LocalOffsetStorage begins.
func decode(b []byte) (map[client.OffsetKey]zkcoord.Offset, error) {
	offsets := map[client.OffsetKey]zkcoord.Offset{}
	if len(bytes.TrimSpace(b)) == 0 {
		return offsets, nil
	}
	var groups map[protocol.Group][]entry
	if err := json.Unmarshal(b, &groups); err != nil {
		return nil, err
	}
	if groups == nil {
		return nil, errors.New("null instead of groups")
	}
	for name, entries := range groups {
		group, err := protocol.ParseGroup(string(name))
		if err != nil {
			return nil, err
		}
		for i, e := range entries {
			key, offset, err := e.parse(group)
			if err != nil {
				return nil, fmt.Errorf("entry %d of group %s: %w", i, group, err)
			}
			offsets[key] = offset
		}
	}
	return offsets, nil
}

func (e entry) parse(group protocol.Group) (client.OffsetKey, zkcoord.Offset, error) {
	fail := func(err error) (client.OffsetKey, zkcoord.Offset, error) {
		return client.OffsetKey{}, zkcoord.Offset{}, err
	}
	topic, err := protocol.ParseTopic(string(e.Topic))
	switch {
	case err != nil:
		return fail(err)
	case e.Partition == nil || e.Partition.Number < 0 || e.Partition.Broker < 0:
		return fail(fmt.Errorf("topic %s: no partition", topic))
	case e.Offset == nil || *e.Offset < 0:
		return fail(fmt.Errorf("topic %s: no offset", topic))
	}
	offset := zkcoord.Offset{MessageID: zkcoord.UnknownMessage, Offset: *e.Offset}
	if e.MessageID != nil {
		offset.MessageID = *e.MessageID
	}
	return client.OffsetKey{Group: group, Topic: topic, Partition: zkcoord.Partition{Broker: e.Partition.Broker, Number: e.Partition.Number}}, offset, nil
}
