package disk

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/wire"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const (
	mib = 1 << 20
	// What a test waits for at most: seconds are expected, on a machine that does nothing else.
	waitBound = 60 * time.Second
	// How soon puts have to work again after there is room: the broker looks once a second.
	backBound = 10 * time.Second
)

// config has small segments, so that a disk of some megabytes holds many.
const config = `[system]
brokerId=1
numPartitions=1
logSegmentSize=1M
unflushThreshold=0
diskRefusePercent=%d
[topic=flushed]
[topic=written]
unflushThreshold=100000
unflushInterval=200
`

var queues = []wire.Queue{{Topic: "flushed"}, {Topic: "written"}}

// waitFor polls until something is so.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	wait.Until(t, 5*time.Millisecond, waitBound, what, ok)
}

// ready asks the broker whether it should be given work.
func ready(t *testing.T, b *process.Broker) (ok bool, text string) {
	t.Helper()
	client := http.Client{Timeout: waitBound}
	r, err := client.Get("http://" + b.HTTPAddr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode == http.StatusOK, strings.TrimSpace(string(body))
}

// fullness is one way in which a disk gets full.
type fullness struct {
	name   string
	limit  int // diskRefusePercent
	disk   func(*testing.T) *volume
	fill   func(*testing.T, *volume)
	filled func(*testing.T, *volume) bool // the fault is there
	reason string                         // that puts are refused with
}

const volumeSize = 64 * mib

func tmpfs(t *testing.T) *volume { return newTmpfs(t, fmt.Sprintf("size=%d", volumeSize)) }
func ext4(t *testing.T) *volume  { return newExt4(t, volumeSize) }

func fillNearly(t *testing.T, v *volume) { v.fill(t, volumeSize/11) } // behind the limit, and not full before the broker looks
func fillWhole(t *testing.T, v *volume)  { v.fill(t, 0) }

func nearlyFull(t *testing.T, v *volume) bool {
	_, _, percent := v.room(t)
	return percent > 90
}

func whollyFull(t *testing.T, v *volume) bool {
	free, _, _ := v.room(t)
	return free < mib // no segment fits
}

func noInodes(t *testing.T, v *volume) bool {
	_, inodes, _ := v.room(t)
	return inodes == 0
}

var ways = []fullness{
	{"tmpfs, limit", 90, tmpfs, fillNearly, nearlyFull, "(diskRefusePercent)"},
	{"tmpfs, to the last block", 0, tmpfs, fillWhole, whollyFull, "the disk is full"},
	{"ext4, limit", 90, ext4, fillNearly, nearlyFull, "(diskRefusePercent)"},
	{"ext4, to the last block", 0, ext4, fillWhole, whollyFull, "the disk is full"},
	{"tmpfs, inodes", 90, func(t *testing.T) *volume {
		return newTmpfs(t, fmt.Sprintf("size=%d,nr_inodes=200", volumeSize))
	}, func(t *testing.T, v *volume) { v.fillInodes(t) }, noInodes, "the disk is full"},
}

// Test 7: the disk of the broker gets full under load, and empties again.
func TestFull(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			v := way.disk(t)
			b := process.Start(t, process.Options{Config: fmt.Sprintf(config, way.limit), Data: v.data()})
			l := newLoad(queues)
			l.begin(b.Addr)
			var back []time.Duration
			var gets int64
			for range chaos.Pick(1, 6) {
				gets += fillOnce(t, way, v, b, l)
				back = append(back, emptyOnce(t, v, b, l))
			}
			l.end(t)
			l.judge(t, b.Addr)
			b.Stop(t)
			b.Restart(t)
			l.judge(t, b.Addr)
			chaos.Figure(t, 7, way.name+": puts refused", "%d, with 503; slowest put %s", l.refused(), l.slowest().Round(time.Millisecond))
			chaos.Figure(t, 7, way.name+": gets served meanwhile", "%d", gets)
			chaos.Figure(t, 7, way.name+": RTO", "%s at most", history.Quantile(sorted(back), 1))
			chaos.Figure(t, 7, way.name+": acknowledged messages checked", "%d, 0 lost; nothing that was refused is stored", l.acked())
		})
	}
}

// fillOnce fills the disk until all writers are refused, and looks that only they are. It returns the gets that were served meanwhile.
func fillOnce(t *testing.T, way fullness, v *volume, b *process.Broker, l *load) (gets int64) {
	t.Helper()
	before := l.acked()
	waitFor(t, "puts are acknowledged", func() bool { return l.acked() > before+200 })
	if ok, text := ready(t, b); !ok {
		t.Fatalf("not ready before the disk is full: %s", text)
	}
	way.fill(t, v)
	for _, w := range l.writers {
		from := w.refused.Load()
		waitFor(t, "puts to "+w.queue.String()+" are refused", func() bool { return w.refused.Load() > from+5*perPut })
	}
	if !way.filled(t, v) {
		t.Fatal("puts are refused, and the disk is not full")
	}
	if ok, text := ready(t, b); ok || !strings.Contains(text, "full") {
		t.Errorf("puts are refused because the disk is full, and /readyz says %v, %q", ok, text)
	}
	if full := b.Metric(t, "metaq_disk_full"); full != 1 {
		t.Errorf("puts are refused because the disk is full, and metaq_disk_full is %g", full)
	}
	acked, refused, served := l.acked(), l.refused(), l.gets()
	waitFor(t, "gets go on", func() bool { return l.gets() > served+20 && l.refused() > refused+20*perPut })
	if now := l.acked(); now != acked {
		t.Errorf("%d puts were acknowledged while the disk was full", now-acked)
	}
	for _, w := range l.writers {
		if reason, _ := w.last(); !strings.Contains(reason, way.reason) || !strings.Contains(reason, "room") {
			t.Errorf("%s is refused with %q", w.queue, reason)
		}
	}
	return l.gets() - served
}

// emptyOnce gives the room back, and returns how long it takes until all writers are served again.
func emptyOnce(t *testing.T, v *volume, b *process.Broker, l *load) (back time.Duration) {
	t.Helper()
	began := time.Now()
	v.free(t)
	for _, w := range l.writers {
		waitFor(t, "puts to "+w.queue.String()+" work again", func() bool { _, at := w.last(); return at.After(began) })
		_, at := w.last()
		back = max(back, at.Sub(began))
	}
	if back > backBound {
		t.Errorf("puts worked again after %s", back)
	}
	waitFor(t, "the broker is ready again", func() bool { ok, _ := ready(t, b); return ok })
	if full := b.Metric(t, "metaq_disk_full"); full != 0 {
		t.Errorf("puts work again, and metaq_disk_full is %g", full)
	}
	return back
}

func sorted(list []time.Duration) []time.Duration {
	slices.Sort(list)
	return list
}
