package client

import (
	"hash/fnv"
	"math/rand/v2"
)

// A Selector chooses the partition of a message among those of its topic, which are never empty and sorted by broker, then number. In a cluster, messages
// without a Key are offered the partitions of those brokers alone that work. It is called by one goroutine at a time, and must not call the producer.
type Selector func(m *Message, partitions []Partition) Partition

// RoundRobin takes the partitions in turn, for each topic, beginning anywhere, so that programs that send a message and end do not all send it to the first one.
// Messages with a Key go where ByKey puts them.
func RoundRobin() Selector {
	next := map[string]int{}
	return func(m *Message, partitions []Partition) Partition {
		if m.Key != "" {
			return ByKey(m, partitions)
		}
		n, begun := next[m.Topic]
		if !begun {
			n = rand.IntN(len(partitions))
		}
		next[m.Topic] = n + 1
		return partitions[n%len(partitions)]
	}
}

// ByKey hashes the Key (FNV-1a, 32 bits) modulo the number of partitions, so that a key stays in its partition while that number stays.
func ByKey(m *Message, partitions []Partition) Partition {
	h := fnv.New32a()
	h.Write([]byte(m.Key))
	return partitions[h.Sum32()%uint32(len(partitions))]
}

// Fixed takes one partition always.
func Fixed(p Partition) Selector {
	return func(*Message, []Partition) Partition { return p }
}
