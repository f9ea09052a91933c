package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wire"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// Old messages go by age too: the one message of each new topic would otherwise hold its segment for ever.
const system = `[system]
brokerId=1
numPartitions=2
logSegmentSize=16M
maxSegmentSize=1M
deletePolicy=delete,15s,16M
deleteWhen=* * * * * ?
autoCreateTopics=true
[topic=flushed]
[topic=written]
unflushThreshold=1000
unflushInterval=500
`

var queues = []wire.Queue{{Topic: "flushed", Partition: 0}, {Topic: "flushed", Partition: 1}, {Topic: "written", Partition: 0}, {Topic: "written", Partition: 1}}

const (
	waveSize = 60
	// diskBound is what retention leaves, what comes in the seconds between two runs of it, and a lot of room.
	diskBound = 2 << 30
)

// A day of a broker in minutes. An hour of it lasts ten seconds in the long form.
func TestSoak_NothingGrows(t *testing.T) {
	run, hour := chaos.Pick(9*time.Second, 6*time.Minute), chaos.Pick(1500*time.Millisecond, 10*time.Second)
	every := chaos.Pick(200*time.Millisecond, time.Second)
	b := process.Start(t, process.Options{Config: system})
	var l load
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, q := range queues {
		all.Go(func() { l.produce(b.Addr, q, stop) })
		all.Go(func() { l.consume(b.Addr, q, stop) })
	}

	watched, from := gauges(), &source{pid: b.PID(), metrics: b.HTTPAddr}
	began := time.Now()
	warm := began.Add(run / 5)
	hours, removed, disk := 0, 0, int64(0)
	segments := map[string]bool{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	enough := func() bool { return time.Since(began) >= run && (removed >= 3 || time.Since(began) >= 4*run) } // a machine with other work needs longer
	for next := began.Add(hour); !enough(); {
		<-tick.C
		if time.Now().After(warm) {
			if err := from.sample(watched); err != nil {
				t.Fatal(err)
			}
		}
		removed += count(t, b.Data, segments, &disk)
		if time.Now().After(next) {
			next = next.Add(hour)
			hours++
			l.wave(b.Addr, waveSize, fmt.Sprintf("hour%d", hours)) // which also makes a topic
			b.Reload(t, system+fmt.Sprintf("[topic=hour%d]\nnumPartitions=3\n", hours))
		}
	}
	took, measured := time.Since(began), time.Since(warm)
	close(stop)
	all.Wait()
	b.Stop(t)

	for _, w := range l.wrong[:min(len(l.wrong), 10)] {
		t.Error(w)
	}
	if hours < 4 || removed < 3 || l.reads.Load() == 0 {
		t.Errorf("%d hours, %d segments removed, %d messages read: too little to show anything", hours, removed, l.reads.Load())
	}
	chaos.Figure(t, 36, "load", "%d messages put (%.0f/s, %d refused), %d read, in %s; %d hours with a reload, a new topic and %d connections each; %d segments removed",
		l.puts.Load(), float64(l.puts.Load())/took.Seconds(), l.refused.Load(), l.reads.Load(), took.Round(time.Second), hours, waveSize, removed)
	chaos.Figure(t, 36, "most bytes on the disk", "%d MiB", disk>>20)
	if disk > diskBound {
		t.Errorf("%d bytes on the disk: retention does not bound them", disk)
	}
	for _, g := range watched {
		grown := growth(g.values)
		last := g.values[len(g.values)-1]
		if chaos.Long() {
			chaos.Figure(t, 36, "slope of "+g.name, "%+.1f%s an hour (limit %+.0f), %.0f%s at the end", perHour(grown, measured), g.unit, perHour(g.grows, measured), last, g.unit)
		} else {
			chaos.Figure(t, 36, "growth of "+g.name, "%+.1f%s in %s (limit %+.0f), %.0f%s at the end", grown, g.unit, measured.Round(time.Second), g.grows, last, g.unit)
		}
		if grown > g.grows {
			t.Errorf("%s grew by %.1f%s in %s, at most %.0f is allowed: %.0f", g.name, grown, g.unit, measured, g.grows, g.values)
		}
	}
}

// count looks at the segment files: how many are gone since the last time, and the most bytes that there were.
func count(t *testing.T, data string, there map[string]bool, most *int64) (removed int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "log", "*"))
	if err != nil {
		t.Fatal(err)
	}
	now, bytes := map[string]bool{}, int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			continue // removed since
		}
		bytes += info.Size()
		if filepath.Ext(f) == ".log" {
			now[f] = true
		}
	}
	for f := range there {
		if !now[f] {
			removed++
			delete(there, f)
		}
	}
	for f := range now {
		there[f] = true
	}
	*most = max(*most, bytes)
	return removed
}
