package server

import (
	"sync/atomic"
	"time"
)

// topicCounts are what the clients did with a topic since the start.
type topicCounts struct {
	puts, putBytes, putFailed atomic.Int64
	gets, misses, offsets     atomic.Int64
	window                    window
}

func newTopicCounts(now time.Time) *topicCounts {
	n := &topicCounts{}
	n.window.baseAt = now
	return n
}

// read takes the counts as a sample for the realtime window.
func (n *topicCounts) read() sample {
	puts := n.puts.Load()
	return sample{
		put: puts, get: n.gets.Load(), offset: n.offsets.Load(), miss: n.misses.Load(), putFailed: n.putFailed.Load(),
		size: puts, sizeBytes: n.putBytes.Load(),
	}
}

// topicTally counts puts of a pass, so that a run of puts to one topic touches the shared counters once.
type topicTally struct {
	runs  []topicRun
	total int64 // bytes of data
}

type topicRun struct {
	topic       *topic
	puts, bytes int64
}

func (y *topicTally) add(t *topic, bytes int) {
	y.total += int64(bytes)
	if n := len(y.runs); n > 0 && y.runs[n-1].topic == t {
		y.runs[n-1].puts++
		y.runs[n-1].bytes += int64(bytes)
		return
	}
	y.runs = append(y.runs, topicRun{t, 1, int64(bytes)})
}

// flush adds what was counted to the topics.
func (y *topicTally) flush() {
	for _, r := range y.runs {
		r.topic.counts.puts.Add(r.puts)
		r.topic.counts.putBytes.Add(r.bytes)
	}
	y.drop()
}

// drop forgets what was counted.
func (y *topicTally) drop() {
	clear(y.runs)
	y.runs, y.total = y.runs[:0], 0
}
