package store

import (
	"errors"
	"slices"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// TestCheck_SwappedSegments: in a longer file under the name of a shorter one there are positions that lie behind that one's end. They must not pass
// for its own, in another order: every message that cannot be read is named.
func TestCheck_SwappedSegments(t *testing.T) {
	for seed := range uint64(10) {
		m := newMixed(t, seed, 8)
		list := m.store.segmentList()
		all := map[string]map[int64]bool{}
		for _, q := range m.store.Queues() {
			all[queueKey(q)] = offsetsOf(t, q)
		}
		if err := m.store.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			a, b := list[i].name, list[i+1].name
			swap(t, m, a, b)
			report := m.check(t, false)
			if report.Sound() {
				t.Errorf("seed %d: %s and %s are swapped, and the check finds nothing", seed, a, b)
			}
			s, err := Open(m.options)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range s.Queues() {
				there := offsetsOf(t, q)
				for offset := range all[queueKey(q)] {
					if !there[offset] && !slices.ContainsFunc(report.Findings, func(f Finding) bool {
						return slices.ContainsFunc(f.Lost, func(l Loss) bool {
							return l.Topic == q.topic && l.Partition == q.partition && l.From <= offset && offset < l.To
						})
					}) {
						t.Fatalf("seed %d: %s at %d is lost, and the check does not say so: %s", seed, queueKey(q), offset, describe(report))
					}
				}
			}
			s.Close()
			swap(t, m, a, b)
		}
	}
}

// offsetsOf are those of the messages that can be read, each tried by itself.
func offsetsOf(t *testing.T, q *Queue) map[int64]bool {
	t.Helper()
	list := map[int64]bool{}
	for offset := int64(0); ; {
		b, err := q.Read(nil, offset, 1<<20, 1<<20, false)
		var moved *MovedError
		var corrupt *CorruptError
		switch {
		case errors.Is(err, ErrEnd):
			return list
		case errors.As(err, &moved):
			offset = moved.Offset
		case errors.As(err, &corrupt):
			offset += protocol.RecordHeader // where the next one begins is not known
		case err != nil:
			t.Fatal(err)
		}
		for err == nil && len(b) > 0 {
			n := recordSize(b)
			list[offset] = true
			b, offset = b[n:], offset+n
		}
	}
}

func swap(t *testing.T, m *mixed, a, b string) {
	t.Helper()
	spare := a + ".swapped"
	for _, r := range [][2]string{{a, spare}, {b, a}, {spare, b}} {
		if err := m.fsys.Rename(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
}
