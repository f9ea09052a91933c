package server

import (
	"sync/atomic"
	"time"
)

// realtimeKeys are the names of the lines, in their order.
var realtimeKeys = [...]string{"realtime_put", "realtime_get", "realtime_offset", "realtime_get_miss", "realtime_put_failed", "realtime_message_size"}

// sample takes the counters of the whole broker.
func (s *Server) sample() sample {
	puts := s.sum(func(n *counters) *atomic.Int64 { return &n.puts })
	failed := s.sum(func(n *counters) *atomic.Int64 { return &n.putFailed })
	return sample{
		put:       puts + failed,
		get:       s.sum(func(n *counters) *atomic.Int64 { return &n.gets }),
		offset:    s.sum(func(n *counters) *atomic.Int64 { return &n.offsets }),
		miss:      s.sum(func(n *counters) *atomic.Int64 { return &n.misses }),
		putFailed: failed,
		size:      puts,
		sizeBytes: s.sum(func(n *counters) *atomic.Int64 { return &n.putBytes }),
	}
}

func (s *Server) statsRealtime(t *statsText) {
	values := s.window.lines(time.Now(), s.sample(), func(key string) string { return "Invalid keyOne:" + key })
	for i, key := range realtimeKeys {
		t.line(key, values[i])
	}
}

// resetRealtime begins all realtime numbers again.
func (s *Server) resetRealtime(now time.Time) {
	s.window.reset(now, s.sample())
	s.catalog.each(func(t *topic) { t.counts.window.reset(now, t.counts.read()) })
}

// takeSamples moves all realtime windows on.
func (s *Server) takeSamples(now time.Time) {
	s.window.take(now, s.sample())
	s.catalog.each(func(t *topic) { t.counts.window.take(now, t.counts.read()) })
}
