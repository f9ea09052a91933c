package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wire"
)

// awaitReserve waits until the broker has put its reserve aside, which it does within a second or so.
func awaitReserve(t *testing.T, b *process.Broker) {
	t.Helper()
	waitFor(t, "the reserve is there", func() bool {
		list, err := os.ReadDir(filepath.Join(b.Data, "reserve"))
		return err == nil && len(list) == 8
	})
}

// Test 7: a broker whose disk is full to the last block or inode stops in order or is killed, and starts again on the full disk. It serves what
// it has, and takes messages again once there is room.
func TestFull_StopAndStart(t *testing.T) {
	starts := 0
	for _, way := range ways {
		if way.limit > 0 && way.reason == "(diskRefusePercent)" {
			continue // there is room
		}
		for _, end := range []struct {
			name string
			end  func(testing.TB, *process.Broker)
		}{{"stop", func(t testing.TB, b *process.Broker) { b.Stop(t) }}, {"kill", func(t testing.TB, b *process.Broker) { b.Kill(t) }}} {
			t.Run(way.name+", "+end.name, func(t *testing.T) {
				v := way.disk(t)
				b := process.Start(t, process.Options{Config: fmt.Sprintf(config, way.limit), Data: v.data()})
				awaitReserve(t, b)
				l := newLoad(queues)
				l.begin(b.Addr)
				fillOnce(t, way, v, b, l)
				l.end(t)
				end.end(t, b)
				way.fill(t, v) // what the end has given back
				if !way.filled(t, v) {
					t.Fatal("the disk is not full")
				}
				b.Restart(t)
				starts++
				l.judge(t, b.Addr)
				l.begin(b.Addr)
				for _, w := range l.writers {
					from := w.refused.Load()
					waitFor(t, "puts to "+w.queue.String()+" are refused", func() bool { return w.refused.Load() > from+5*perPut })
				}
				if ok, text := ready(t, b); ok {
					t.Errorf("started on a full disk, and /readyz says %q", text)
				}
				emptyOnce(t, v, b, l)
				awaitReserve(t, b)
				l.end(t)
				b.Stop(t)
				b.Restart(t)
				l.judge(t, b.Addr)
			})
		}
	}
	chaos.Figure(t, 7, "starts on a disk that is entirely full", "%d, after stops in order and kills; nothing lost", starts)
}

// Test 7: the log itself fills the disk to the end, and retention has something to remove a little later. That has to be written into a log
// that has no room.
func TestFull_RetentionMakesRoom(t *testing.T) {
	v := newTmpfs(t, "size=12m")
	const age = 6 * time.Second
	b := process.Start(t, process.Options{Data: v.data(), Config: fmt.Sprintf(`[system]
brokerId=1
numPartitions=1
logSegmentSize=1M
maxSegmentSize=64K
unflushThreshold=1000
unflushInterval=200
diskRefusePercent=0
deletePolicy=delete,%ds
deleteWhen=* * * * * ?
[topic=t]
`, age/time.Second)})
	awaitReserve(t, b)
	c, err := wire.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := wire.Queue{Topic: "t"}
	put := func(n int) (refused bool) {
		// The smallest there are: next to nothing is left of the segment when the last one does not fit.
		letters := make([][]byte, n)
		for i := range letters {
			letters[i] = []byte("x")
		}
		receipts, err := c.Put(q, letters...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			if r.Code != 200 && r.Code != 503 {
				t.Fatalf("put: %d %s", r.Code, r.Text)
			}
		}
		return receipts[n-1].Code == 503
	}
	uses := func() int { return strings.Count(b.Log(t), "the reserve of the log is in use") }
	for range chaos.Pick(1, 5) {
		before := uses()
		// Shortly after there was no room, puts are refused without another look at the disk.
		waitFor(t, "the log fills the disk", func() bool { return put(4096) && put(1) && whollyFull(t, v) })
		full := time.Now()
		waitFor(t, "retention makes room", func() bool { return !put(1) })
		back := time.Since(full)
		if back > age+backBound {
			t.Errorf("puts worked again after %s, and messages are to go after %s", back, age)
		}
		chaos.Figure(t, 7, "the log fills the disk: RTO by its own retention", "%s, messages going after %s", back.Round(time.Millisecond), age)
		if uses() == before {
			t.Error("retention had room in the log: this run shows nothing")
		}
		awaitReserve(t, b)
	}
	b.Stop(t)
	b.Restart(t)
}
