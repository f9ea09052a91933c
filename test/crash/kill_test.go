package crash

import (
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wire"
)

var kills = flag.Int("kills", 0, "how often TestKill9 kills the broker; 0: as often as its form says")

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

var queues = []queue{
	{wire.Queue{Topic: "flushed"}, history.Flushed}, {wire.Queue{Topic: "flushed", Partition: 1}, history.Flushed},
	{wire.Queue{Topic: "written"}, history.Accepted}, {wire.Queue{Topic: "written", Partition: 1}, history.Accepted},
}

const (
	shortestLife = 20 * time.Millisecond
	longestLife  = 300 * time.Millisecond
	// A run that acknowledged hardly anything has shown nothing.
	leastPerKill = 20
)

// Test 1: kill -9 under load, again and again on the same data.
func TestKill9(t *testing.T) {
	seed := chaos.Seed(t)
	rounds := chaos.Pick(5, 200)
	if *kills > 0 {
		rounds = *kills
	}
	v, starts := killLoop(t, seed, rounds, process.Options{Config: config})
	if !v.Good {
		t.Errorf("seed %d: convicted: %v", seed, v.Convicted())
	}
	if v.Puts[history.OK] < rounds*leastPerKill || v.Faults["kill -9"] != rounds {
		t.Errorf("only %d puts were acknowledged over %d kills: the run proves nothing", v.Puts[history.OK], v.Faults["kill -9"])
	}
	chaos.Figure(t, 1, "kills survived", "%d", rounds)
	chaos.Figure(t, 1, "acknowledged messages checked", "%d, %d lost, %d altered, %d stored twice", v.Puts[history.OK], v.Count("lost-acked"), v.Count("invented"), v.Count("duplicate"))
	chaos.Figure(t, 1, "start after a kill", "p50 %s, p99 %s, max %s; log %.0f MB at the end", history.Quantile(starts, 0.5), history.Quantile(starts, 0.99), history.Quantile(starts, 1), float64(v.Bytes)/1e6)
	chaos.Figure(t, 1, "start to first acknowledged put", "p50 %s, p99 %s, max %s", history.Quantile(v.Recovery, 0.5), history.Quantile(v.Recovery, 0.99), history.Quantile(v.Recovery, 1))
}

// killLoop kills a broker under load so often, and judges what it serves in the end.
func killLoop(t *testing.T, seed uint64, rounds int, o process.Options) (v *history.Verdict, starts []time.Duration) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	run := history.Begin(t, history.Header{Test: "kill9", Seed: seed}, o.Config)
	broker := process.Start(t, o)
	l := newLoad(run, queues)
	life := func() time.Duration { return shortestLife + time.Duration(rng.Int64N(int64(longestLife-shortestLife))) }
	for range rounds {
		l.live(broker.Addr, func() {
			<-time.After(life())
			l.fault("kill -9")
			broker.Kill(t)
		})
		broker.Restart(t)
		l.healed("kill -9")
		starts = append(starts, broker.Start)
	}
	v = l.judge(t, broker, func() { <-time.After(longestLife) })
	slices.Sort(starts)
	return v, starts
}
