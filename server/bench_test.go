package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// nullSocket takes everything.
type nullSocket struct{ bytes int }

func (s *nullSocket) Write(p []byte) (int, error) { s.bytes += len(p); return len(p), nil }
func (s *nullSocket) Buffered() int               { return 0 }
func (s *nullSocket) CloseWrite()                 {}
func (s *nullSocket) Close()                      {}

// looseConn is a connection without a network, on a loop that only the caller runs. Puts do not wait for the flush.
func looseConn(t testing.TB) *conn {
	t.Helper()
	s := startServer(t, settings{"unflushThreshold": "1000000", "unflushInterval": "600000", "logSegmentSize": "256M"})
	putMany(t, s.Addr(), 1, 1)
	c := &conn{server: s, sock: &nullSocket{}}
	l := s.newLoop(0)
	l.wake = func() {}
	l.add(c)
	return c
}

func pipelinedPuts(count, size int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("put t 0 %d 0 7\r\n%s", size, strings.Repeat("x", size)), count))
}

// TestConn_HotPathDoesNotAllocate bounds what a pass costs beside the messages: the store's index grows now and then.
func TestConn_HotPathDoesNotAllocate(t *testing.T) {
	c := looseConn(t)
	puts := pipelinedPuts(64, 100)
	if n := testing.AllocsPerRun(500, func() { c.feed(puts) }); n > 2 {
		t.Errorf("%v allocations for 64 puts", n)
	}
	gets := []byte(strings.Repeat("get t group 0 0 4096 7\r\n", 64))
	if n := testing.AllocsPerRun(500, func() { c.feed(gets) }); n > 2 {
		t.Errorf("%v allocations for 64 gets", n)
	}
}

func BenchmarkPut64(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			c := looseConn(b)
			puts := pipelinedPuts(64, size)
			b.SetBytes(int64(64 * size))
			b.ReportAllocs()
			for b.Loop() {
				c.feed(puts)
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int32{4096, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			c := looseConn(b)
			for range 40 {
				c.feed(pipelinedPuts(64, 1024))
			}
			get := protocol.AppendGet(nil, "t", "g", 0, 0, size, -1, 7)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				c.feed(get)
			}
		})
	}
}
