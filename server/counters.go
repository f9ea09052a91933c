package server

import (
	"sync/atomic"
	"time"

	"github.com/metaq/metaq/protocol"
)

// shards is the number of copies of the counters. Each event loop has its own, so that counting costs no cache line of another core.
const shards = 8

// verbs bounds the array of request counts; protocol.Verb is smaller.
const verbs = 32

// counters are what one loop has counted since the start. Reading adds the shards up.
type counters struct {
	puts, putBytes, putFailed     atomic.Int64
	gets, hits, misses, moved     atomic.Int64
	getBytes, offsets             atomic.Int64
	bytesIn, bytesOut             atomic.Int64
	badRequests, pauses, timeouts atomic.Int64
	slowClosed, panics            atomic.Int64
	coldReads, longPolls          atomic.Int64
	failures                      [8]atomic.Int64 // failed puts by failureIndex
	requests                      [verbs]atomic.Int64
	durations                     [verbs]histogram

	_ [128]byte // the next shard begins on a cache line of its own
}

// sum adds one counter up over the shards.
func (s *Server) sum(of func(*counters) *atomic.Int64) (n int64) {
	for i := range s.counts {
		n += of(&s.counts[i]).Load()
	}
	return n
}

// failureCodes are the codes of failed puts, in the order of counters.failures.
var failureCodes = [...]protocol.Status{
	protocol.StatusError, protocol.StatusForbidden, protocol.StatusBadRequest, protocol.StatusUnavailable, protocol.StatusNotFound, protocol.StatusTimeout,
}

func failureIndex(code protocol.Status) int {
	for i, c := range failureCodes {
		if c == code {
			return i
		}
	}
	return 0
}

// bucketBounds are the upper bounds of the histograms of request durations.
var bucketBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// histogram counts durations in buckets.
type histogram struct {
	buckets [len(bucketBounds) + 1]atomic.Int64
	nanos   atomic.Int64
}

// observe counts n events that took the same time.
func (h *histogram) observe(d time.Duration, n int64) {
	i := 0
	for i < len(bucketBounds) && d > bucketBounds[i] {
		i++
	}
	h.buckets[i].Add(n)
	h.nanos.Add(n * int64(d))
}
