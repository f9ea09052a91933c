package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
)

func benchStore(b *testing.B) *Store {
	rules := Rules{FlushMessages: 1 << 30, FlushInterval: time.Hour, SegmentSize: 1 << 30}
	return mustOpen(b, Options{Dir: b.TempDir(), Rules: func(protocol.Topic) Rules { return rules }})
}

// BenchmarkAppend is the store's share of a put: one message an operation, in batches as the server makes them.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1024, 16384} {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprintf("%dB/batch%d", size, batch), func(b *testing.B) {
				s := benchStore(b)
				q := mustQueue(b, s, "t", 0)
				if err := s.wait(Position(q.safeFrom)); err != nil {
					b.Fatal(err)
				}
				data := make([]byte, size)
				var batchOf Batch
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for n := 0; n < b.N; n += batch {
					batchOf.Reset()
					for range batch {
						batchOf.Add(q, 0, data)
					}
					if _, err := s.Append(&batchOf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRead drains what is in memory, 1 MiB an operation.
func BenchmarkRead(b *testing.B) {
	s := benchStore(b)
	q := mustQueue(b, s, "t", 0)
	data := make([]byte, 1024)
	var batch Batch
	for q.Stat().Bytes < 64<<20 {
		batch.Reset()
		for range 16 {
			batch.Add(q, 0, data)
		}
		if _, err := s.Append(&batch); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]byte, 0, 1<<20)
	offset := int64(0)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		out, err := q.Read(buf[:0], offset, 1<<20, 1<<20, true)
		if err != nil {
			offset = 0
			continue
		}
		offset += int64(wholeRecords(out))
	}
}
