package damage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/store"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wire"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const config = `[system]
brokerId=1
numPartitions=2
logSegmentSize=1M
maxSegmentSize=256K
deletePolicy=keep
[topic=flushed]
[topic=written]
unflushThreshold=1000
unflushInterval=200
`

var queues = []wire.Queue{{Topic: "flushed", Partition: 0}, {Topic: "flushed", Partition: 1}, {Topic: "written", Partition: 0}, {Topic: "written", Partition: 1}}

// origin is a data directory as a broker left it, and what was put into it.
type origin struct {
	dir    string
	want   map[wire.Queue]map[int64]int64 // number of the letter by offset
	starts map[wire.Queue][]int64         // the same offsets, ascending
	ends   map[wire.Queue]int64
	frames map[string][]store.DumpedFrame // by file
}

const (
	putsPerRound = 40 // of each queue
	rounds       = 60 // about 5 segments
)

// newOrigin fills a directory. The broker is stopped in order, or killed once it has had time to note how far the log was flushed.
func newOrigin(t *testing.T, dir string, stopped bool) *origin {
	t.Helper()
	o := &origin{dir: dir, want: map[wire.Queue]map[int64]int64{}, starts: map[wire.Queue][]int64{}, ends: map[wire.Queue]int64{}, frames: map[string][]store.DumpedFrame{}}
	b := process.Start(t, process.Options{Config: config, Data: dir})
	c, err := wire.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for round := range rounds {
		for _, q := range queues {
			o.put(t, c, q, round)
		}
	}
	if stopped {
		b.Stop(t)
	} else {
		o.awaitNote(t)
		b.Kill(t)
	}
	o.dump(t)
	return o
}

func (o *origin) put(t *testing.T, c *wire.Conn, q wire.Queue, round int) {
	t.Helper()
	var letters [][]byte
	for i := range putsPerRound {
		letters = append(letters, wire.Letter(q, int64(round*putsPerRound+i), 100+(round*7919+i*104729)%700))
	}
	receipts, err := c.Put(q, letters...)
	if err != nil {
		t.Fatal(err)
	}
	if o.want[q] == nil {
		o.want[q] = map[int64]int64{}
	}
	for i, r := range receipts {
		if r.Code != 200 {
			t.Fatalf("put to %s: %d %s", q, r.Code, r.Text)
		}
		o.want[q][r.Offset] = int64(round*putsPerRound + i)
		o.starts[q] = append(o.starts[q], r.Offset)
		o.ends[q] = r.Offset + 20 + int64(len(letters[i]))
	}
}

// awaitNote waits until the file flushed says the same for a while: then everything is flushed and it says so.
func (o *origin) awaitNote(t *testing.T) {
	t.Helper()
	var last []byte
	since := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	bound := time.After(30 * time.Second)
	for {
		select {
		case <-bound:
			t.Fatal("the file flushed did not come to rest in 30 s")
		case <-tick.C:
		}
		now, err := os.ReadFile(filepath.Join(o.dir, "flushed"))
		if err != nil || !bytes.Equal(now, last) {
			last, since = now, time.Now()
		}
		if time.Since(since) > 2500*time.Millisecond {
			return
		}
	}
}

func (o *origin) dump(t *testing.T) {
	t.Helper()
	err := store.Dump(store.DumpOptions{Dir: o.dir}, func(f store.DumpedFrame) error {
		name := filepath.Join("log", filepath.Base(f.File))
		o.frames[name] = append(o.frames[name], f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// segments are the names of the segment files that have frames, oldest first.
func (o *origin) segments(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(o.dir, "log", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if name := filepath.Join("log", filepath.Base(f)); len(o.frames[name]) > 0 {
			names = append(names, name)
		}
	}
	if len(names) < 4 {
		t.Fatalf("segments %v: too few", names)
	}
	return names
}

func indexOf(segment string) string { return strings.TrimSuffix(segment, ".log") + ".idx" }

// copyTo makes a copy for one try.
func (o *origin) copyTo(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(o.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reading is what a broker served of a directory.
type reading struct {
	served  int
	lost    map[wire.Queue][]int64 // offsets that gave something else than their message
	answers []string               // to reads of what is lost
}

// read reads each queue through, on from each offset that is not served. A byte that is not as it was put fails the test.
func (o *origin) read(t *testing.T, addr, what string) reading {
	t.Helper()
	r := reading{lost: map[wire.Queue][]int64{}}
	c, err := wire.Dial(addr)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer c.Close()
	for _, q := range queues {
		seen := map[int64]bool{}
		for at := int64(0); at < o.ends[q]; {
			a, err := c.Get(q, at, 128<<10)
			if err != nil {
				t.Fatalf("%s: get of %s at %d: %v", what, q, at, err)
			}
			next := at
			if a.Code == 200 {
				var list []wire.Message
				list, next, err = wire.Messages(at, a.Body)
				if err != nil {
					t.Fatalf("%s: served a wrong byte: %s: %v", what, q, err)
				}
				for _, m := range list {
					n, err := wire.OpenLetter(q, m.Data)
					if want, put := o.want[q][m.Offset]; err != nil || !put || n != want {
						t.Fatalf("%s: served a wrong byte: %s at %d: letter %d, %v; put was %d, %v", what, q, m.Offset, n, err, want, put)
					}
					seen[m.Offset] = true
				}
			} else {
				r.answers = append(r.answers, a.Text())
			}
			if moved, ok := a.Moved(); ok && moved > at {
				next = moved
			}
			if next == at {
				next = o.behind(q, at)
			}
			at = next
		}
		r.served += len(seen)
		for offset := range o.want[q] {
			if !seen[offset] {
				r.lost[q] = append(r.lost[q], offset)
			}
		}
	}
	return r
}

// behind is the next offset at which a message was put.
func (o *origin) behind(q wire.Queue, at int64) int64 {
	if i := sort.Search(len(o.starts[q]), func(i int) bool { return o.starts[q][i] > at }); i < len(o.starts[q]) {
		return o.starts[q][i]
	}
	return o.ends[q]
}

func (r reading) count() int {
	n := 0
	for _, offsets := range r.lost {
		n += len(offsets)
	}
	return n
}

// explained fails the test if a message is lost of which the report says nothing.
func (r reading) explained(t *testing.T, what string, report store.CheckReport) {
	t.Helper()
	for q, offsets := range r.lost {
	next:
		for _, offset := range offsets {
			for _, f := range report.Findings {
				for _, l := range f.Lost {
					if fmt.Sprintf("%s-%d", l.Topic, l.Partition) == q.String() && offset >= l.From && offset < l.To {
						continue next
					}
				}
			}
			t.Fatalf("%s: %s at %d is lost, and the check does not say so: %s", what, q, offset, describe(report))
		}
	}
}

// putAgain puts one message to each queue: no offset may have been given before.
func (o *origin) putAgain(t *testing.T, addr, what string) {
	t.Helper()
	c, err := wire.Dial(addr)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer c.Close()
	for _, q := range queues {
		receipts, err := c.Put(q, wire.Letter(q, 1<<40, 50))
		if err != nil || receipts[0].Code != 200 || receipts[0].Offset < o.ends[q] {
			t.Fatalf("%s: put to %s, whose end was %d: %+v, %v", what, q, o.ends[q], receipts, err)
		}
	}
}

func describe(r store.CheckReport) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n  %s %s %s+%d (%d bytes): %s; lost %d ranges; fixable %v repaired %v", f.Severity, f.Area, f.File, f.Offset, f.Bytes, f.Reason, len(f.Lost), f.Fixable, f.Repaired)
	}
	return b.String()
}
