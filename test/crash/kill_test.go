package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/test/process"
)

var (
	kills = flag.Int("kills", 5, "how often TestKill9 kills the broker")
	seed  = flag.Uint64("seed", 0, "of the moments of the kills; 0 = draw one")
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// Two topics with the two ways to acknowledge: both must survive the death of the process. Log segments are small, so that
// kills hit every step of rolling one.
const config = `[system]
brokerId=1
numPartitions=2
unflushThreshold=0
logSegmentSize=4194304
[topic=flushed]
[topic=written]
unflushThreshold=1000
unflushInterval=10000
`

var queues = []queue{{"flushed", 0}, {"flushed", 1}, {"written", 0}, {"written", 1}}

const (
	writersPerQueue = 2
	shortestLife    = 20 * time.Millisecond
	longestLife     = 300 * time.Millisecond
	// A run that acknowledged hardly anything has shown nothing.
	leastPerKill = 20
)

func TestKill9(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	rng := rand.New(rand.NewPCG(*seed, 0))
	broker := process.Start(t, process.Options{Config: config})
	var (
		writers []*writer
		readers []*reader
		starts  []time.Duration
	)
	for _, q := range queues {
		readers = append(readers, &reader{queue: q})
		for range writersPerQueue {
			writers = append(writers, &writer{number: len(writers), queue: q})
		}
	}
	for range *kills {
		live(t, broker, writers, readers, shortestLife+time.Duration(rng.Int64N(int64(longestLife-shortestLife))))
		broker.Restart(t)
		starts = append(starts, broker.Start)
	}

	var v verdict
	var bytes int64
	for i, q := range queues {
		j := newJudge(&v, q, writers, readers[i])
		end, err := readAll(broker.Addr, q, j.visit)
		if err != nil {
			t.Errorf("read back: %v", err)
		}
		j.finish()
		bytes += end
	}
	broker.Stop(t)

	fmt.Printf("kill -9: %d kills, seed %d, %.1f MB\n%v\n", *kills, *seed, float64(bytes)/1e6, &v)
	slices.Sort(starts)
	fmt.Printf("start after a kill: p50 %s, p99 %s, max %s\n",
		at(starts, 0.5), at(starts, 0.99), at(starts, 1))
	for _, e := range v.examples {
		t.Error(e)
	}
	for _, w := range writers {
		for _, r := range w.refused[:min(len(w.refused), 3)] {
			t.Errorf("writer %d: %s", w.number, r)
		}
	}
	for _, r := range readers {
		for _, s := range r.wrong[:min(len(r.wrong), 3)] {
			t.Errorf("reader of %s: %s", r.queue, s)
		}
	}
	if v.bad() > 0 {
		t.Errorf("seed %d: %v", *seed, &v)
	}
	if v.acknowledged < *kills*leastPerKill {
		t.Errorf("only %d puts were acknowledged in %d lives", v.acknowledged, *kills)
	}
}

// live lets everybody work for a while, kills the broker and waits until all have noticed.
func live(t *testing.T, broker *process.Broker, writers []*writer, readers []*reader, life time.Duration) {
	t.Helper()
	var all sync.WaitGroup
	for _, w := range writers {
		all.Go(func() { w.work(broker.Addr) })
	}
	for _, r := range readers {
		all.Go(func() { r.follow(broker.Addr) })
	}
	<-time.After(life)
	broker.Kill(t)
	all.Wait()
}

// at is a quantile of sorted durations.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))].Round(time.Millisecond)
}
