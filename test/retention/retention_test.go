package retention

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wire"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const (
	system = `[system]
brokerId=1
numPartitions=2
logSegmentSize=1M
maxSegmentSize=64K
unflushThreshold=1000
unflushInterval=200
deletePolicy=delete,1M
deleteWhen=* * * * * ?
[topic=kept]
`
	leaving = `[topic=leaving]
`
)

var queues = []wire.Queue{{Topic: "kept", Partition: 0}, {Topic: "kept", Partition: 1}, {Topic: "leaving", Partition: 0}, {Topic: "leaving", Partition: 1}}

// writer puts letters to a queue for as long as the broker takes them. refused counts what it did not.
type writer struct {
	queue       wire.Queue
	n           int64
	ok, refused int
	err         error
}

const perPut = 32

func (w *writer) work(addr string, stop <-chan struct{}) {
	c, err := wire.Dial(addr)
	if err != nil {
		w.err = err
		return
	}
	defer c.Close()
	pause := time.NewTicker(10 * time.Millisecond) // 2 MB/s: a segment every 130 ms, with all four
	defer pause.Stop()
	for {
		select {
		case <-stop:
			return
		case <-pause.C:
		}
		var letters [][]byte
		for range perPut {
			letters = append(letters, wire.Letter(w.queue, w.n, 600))
			w.n++
		}
		receipts, err := c.Put(w.queue, letters...)
		if err != nil {
			w.err = err
			return
		}
		for _, r := range receipts {
			if r.Code == 200 {
				w.ok++
			} else {
				w.refused++
			}
		}
	}
}

// Retention runs every second under writers and readers; a topic is taken out of the configuration and put back.
func TestRetention_WhileBeingRead(t *testing.T) {
	b := process.Start(t, process.Options{Config: system + leaving})
	pid := b.PID()
	log := watchSegments(t, b.Data)
	var n tally
	writers := make([]*writer, len(queues))
	reloads := 0
	lives := chaos.Pick(1, 3)
	for life := range lives {
		stop := make(chan struct{})
		var all sync.WaitGroup
		for i, q := range queues {
			if writers[i] == nil {
				writers[i] = &writer{queue: q}
			}
			all.Go(func() { writers[i].work(b.Addr, stop) })
			all.Go(func() { n.lag(b.Addr, q, stop) })
			all.Go(func() { n.hold(b.Addr, q, stop) })
		}
		phase := chaos.Pick(2*time.Second, 8*time.Second)
		log.run(t, phase)
		b.Reload(t, system)
		log.run(t, phase)
		b.Reload(t, system+leaving)
		log.run(t, phase)
		reloads += 2
		close(stop)
		all.Wait()
		if life+1 < lives {
			b.Stop(t) // so that the next life reads what it has not written itself
			b.Restart(t)
			pid = b.PID()
		}
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
		t.Fatalf("the broker is gone: %v", err)
	}
	awaitUnmapped(t, pid)
	b.Stop(t)

	for _, w := range n.wrong[:min(len(n.wrong), 10)] {
		t.Error(w)
	}
	acked := 0
	for i, w := range writers {
		acked += w.ok
		if w.err != nil || w.ok == 0 || (w.refused > 0) != (queues[i].Topic == "leaving") {
			t.Errorf("writer of %s: %d taken, %d refused, %v", w.queue, w.ok, w.refused, w.err)
		}
	}
	if log.removed < 5*lives || n.moved.Load() < 3 || n.outlived.Load() == 0 {
		t.Errorf("%d segments removed, %d offsets moved, %d answers outlived: too few to show anything", log.removed, n.moved.Load(), n.outlived.Load())
	}
	chaos.Figure(t, 34, "reads during deletion", "%d answers with %d messages, 0 wrong, while %d segments were removed", n.answers.Load(), n.messages.Load(), log.removed)
	chaos.Figure(t, 34, "answers 'offset moved'", "%d", n.moved.Load())
	chaos.Figure(t, 34, "answers whose messages were deleted while they were read", "%d", n.outlived.Load())
	chaos.Figure(t, 34, "removals of a topic while it was read and written", "%d", reloads/2)
}

// segmentLog counts the segment files that go.
type segmentLog struct {
	pattern string
	there   map[string]bool
	removed int
}

func watchSegments(t *testing.T, data string) *segmentLog {
	t.Helper()
	return &segmentLog{pattern: filepath.Join(data, "log", "*.log"), there: map[string]bool{}}
}

// run looks at the files for a while.
func (l *segmentLog) run(t *testing.T, d time.Duration) {
	t.Helper()
	over := time.After(d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		files, err := filepath.Glob(l.pattern)
		if err != nil {
			t.Fatal(err)
		}
		now := map[string]bool{}
		for _, f := range files {
			now[f] = true
		}
		for f := range l.there {
			if !now[f] {
				l.removed++
			}
		}
		l.there = now
	}
}

// awaitUnmapped waits until the broker has let go of the files that are removed.
func awaitUnmapped(t *testing.T, pid int) {
	t.Helper()
	bound := time.After(10 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		if err != nil {
			t.Fatal(err)
		}
		held := strings.Count(string(maps), "(deleted)")
		if held == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-bound:
			t.Fatalf("the broker still maps %d files that are removed", held)
		}
	}
}
