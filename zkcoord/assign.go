package zkcoord

import (
	"cmp"
	"crypto/md5" // the points of the original; nothing is secret
	"encoding/binary"
	"slices"
	"strconv"
)

// An Assignment deals out the partitions of a topic to the members of a group that want it. Every member computes it for itself, also those
// written in Java, so the result must follow from the arguments alone and never change. Members are sorted here.
type Assignment func(partitions []Partition, members []string) map[string][]Partition

// AssignRanges is the default: the partitions in the order of their names, in ranges, the first members one more if it does not come out even.
func AssignRanges(partitions []Partition, members []string) map[string][]Partition {
	partitions, members = sorted(partitions, members)
	out := make(map[string][]Partition, len(members))
	for i, m := range members {
		each, more := len(partitions)/len(members), len(partitions)%len(members)
		from := each*i + min(i, more)
		to := from + each
		if i < more {
			to++
		}
		if from < to {
			out[m] = partitions[from:to]
		}
	}
	return out
}

// pointDigests is how many MD5 digests a member has on the ring, each of pointsADigest points.
const (
	pointDigests  = 40
	pointsADigest = 4
)

// AssignByHash puts the members on a ring (Ketama), and each partition to the next one. When a member comes or goes, few partitions move.
func AssignByHash(partitions []Partition, members []string) map[string][]Partition {
	partitions, members = sorted(partitions, members)
	if len(members) == 0 {
		return nil
	}
	type point struct {
		at     uint32
		member string
	}
	ring := make([]point, 0, len(members)*pointDigests*pointsADigest)
	for _, m := range members {
		for k := range pointDigests {
			sum := md5.Sum([]byte(m + "-" + strconv.Itoa(k)))
			for i := range pointsADigest {
				ring = append(ring, point{binary.LittleEndian.Uint32(sum[4*i:]), m})
			}
		}
	}
	slices.SortStableFunc(ring, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	out := make(map[string][]Partition, len(members))
	for _, p := range partitions {
		sum := md5.Sum([]byte(p.String()))
		i, _ := slices.BinarySearchFunc(ring, binary.LittleEndian.Uint32(sum[:]), func(q point, at uint32) int { return cmp.Compare(q.at, at) })
		m := ring[i%len(ring)].member
		out[m] = append(out[m], p)
	}
	return out
}

func sorted(partitions []Partition, members []string) ([]Partition, []string) {
	partitions, members = slices.Clone(partitions), slices.Clone(members)
	slices.SortFunc(partitions, ComparePartitionNames)
	slices.Sort(members)
	return partitions, members
}
