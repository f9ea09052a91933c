package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wire"
)

// A diskError is a system call of the broker that strace makes fail, once or from then on.
type diskError struct {
	name  string
	call  string // system call
	errno string
	when  int  // which of the calls of a thread
	ever  bool // the later ones fail too
	path  func(t *testing.T, data string) string
	// The log must be poisoned by it. Else the broker must not mind.
	poisons bool
	once    bool // after the error, nothing calls it for the same file again
}

const (
	injectBound = 60 * time.Second // the load has to bring the broker to the call
	redBound    = 10 * time.Second
	// After a segment is full, the files that belong to it are written within this time.
	sealFor = time.Second
	// How long the load goes on with a poisoned log.
	refusedFor = 150 * time.Millisecond
	// Puts that a broker which does not mind an error takes after it.
	storedMetric = `metaq_put_messages_total{topic="flushed"}`
	morePuts     = 500
)

// unwritable is what stats say of a poisoned log.
var unwritable = regexp.MustCompile(`(?m)^writable +0$`)

// redPhase is the event from which on every put has to be refused.
const redPhase = "red"

// openSegment is the segment that is written to.
func openSegment(t *testing.T, data string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "log", "*.log"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segment in %s: %v", data, err)
	}
	return slices.Max(names)
}

func logFolder(_ *testing.T, data string) string { return filepath.Join(data, "log") }

// nextIndex is the file that becomes the index of the open segment.
func nextIndex(t *testing.T, data string) string {
	return strings.TrimSuffix(openSegment(t, data), ".log") + ".idx.tmp"
}

func nextCheckpoint(_ *testing.T, data string) string { return filepath.Join(data, "checkpoint.tmp") }

// diskErrors are those of the short form, and then those of the long one.
func diskErrors(rng *rand.Rand) []diskError {
	flush := func(n int) diskError {
		return diskError{fmt.Sprintf("EIO from fdatasync %d of the log", n), "fdatasync", "EIO", n, false, openSegment, true, true}
	}
	write := func(n int, errno string) diskError {
		return diskError{fmt.Sprintf("%s from pwrite %d to the log", errno, n), "pwrite64", errno, n, false, openSegment, true, false}
	}
	list := []diskError{
		flush(1), flush(2 + rng.IntN(40)), write(1+rng.IntN(20), "EIO"), write(1+rng.IntN(20), "ENOSPC"),
		{"EIO from fsync of the log's folder", "fsync", "EIO", 1, true, logFolder, true, false},
		{"EIO from fdatasync of an index", "fdatasync", "EIO", 1, false, nextIndex, false, false},
	}
	if !chaos.Long() {
		return list
	}
	list = append(list,
		diskError{"ENOSPC from pwrite to an index", "pwrite64", "ENOSPC", 1, false, nextIndex, false, false},
		diskError{"EIO from fdatasync of the checkpoint", "fdatasync", "EIO", 1, false, nextCheckpoint, false, false},
		diskError{"ENOSPC from pwrite to the checkpoint", "pwrite64", "ENOSPC", 1, false, nextCheckpoint, false, false},
	)
	for range 6 {
		list = append(list, flush(1+rng.IntN(100)), write(1+rng.IntN(100), "EIO"), write(1+rng.IntN(100), "ENOSPC"))
	}
	return list
}

// Test 6: calls of the real broker to its disk fail. Nothing is acknowledged from then on, the call is not repeated as if nothing had
// happened, what is there is still served, and every sign is red. After a restart each acknowledged message is there.
func TestDiskErrors(t *testing.T) {
	seed := chaos.Seed(t)
	run := history.Begin(t, history.Header{Test: "diskerrors", Seed: seed}, config)
	broker := process.Start(t, process.Options{Config: config})
	l := newLoad(run, queues)
	var red []time.Duration
	l.live(broker.Addr, func() {
		for _, q := range l.queues {
			awaitMessages(t, broker.Addr, q)
		}
		l.fault("kill -9")
		broker.Kill(t)
	})
	broker.Restart(t)
	l.healed("kill -9")
	list := diskErrors(rand.New(rand.NewPCG(seed, 0)))
	poisoned := 0
	for _, d := range list {
		l.live(broker.Addr, func() {
			if after := d.fail(t, broker, l); d.poisons {
				poisoned++
				red = append(red, after)
			}
			broker.Kill(t)
		})
		broker.Restart(t)
		if ready, why := broker.Health(t); !ready {
			t.Errorf("%s: after a restart the broker is not ready: %s", d.name, why)
		}
		l.healed(d.name)
	}
	v := l.judge(t, broker, func() { <-time.After(refusedFor) })
	if !v.Good {
		t.Errorf("seed %d: convicted: %v", seed, v.Convicted())
	}
	refused := judgeRed(t, filepath.Join(run.Dir, history.FileName), poisoned)
	slices.Sort(red)
	chaos.Figure(t, 6, "disk errors injected", "%d, %d of them into the log; no sync repeated", len(list), poisoned)
	chaos.Figure(t, 6, "time to red", "p50 %s, max %s", history.Quantile(red, 0.5), history.Quantile(red, 1))
	chaos.Figure(t, 6, "puts sent after that", "%d, all refused", refused)
	chaos.Figure(t, 6, "acknowledged messages checked", "%d, %d lost", v.Puts[history.OK], v.Count("lost-acked"))
}

// fail lets a call of the broker fail under load and looks at what the broker makes of it. It returns how long its health took to turn red.
func (d diskError) fail(t *testing.T, broker *process.Broker, l *load) time.Duration {
	t.Helper()
	l.fault(d.name)
	trace, call := d.inject(t, broker)
	if !d.poisons {
		before := broker.Metric(t, storedMetric)
		awaitThat(t, d.name+": more puts are taken", func() bool { return broker.Metric(t, storedMetric) > before+morePuts })
		if ready, why := broker.Health(t); !ready {
			t.Errorf("%s: the broker is not ready: %s", d.name, why)
		}
		return 0
	}
	// The broker may have begun to say so before the trace was looked at.
	var why string
	awaitThat(t, d.name+": health turns red", func() bool {
		var ready bool
		ready, why = broker.Health(t)
		return !ready
	})
	seen := time.Now()
	l.run.Add(history.Event{Proc: "nemesis", Type: history.Invoke, F: history.Phase, ID: redPhase})
	if !strings.Contains(why, "input/output error") && !strings.Contains(why, "no space left") {
		t.Errorf("%s: health does not tell the cause: %s", d.name, why)
	}
	if n := broker.Metric(t, "metaq_partition_poisoned"); n != 1 {
		t.Errorf("%s: metaq_partition_poisoned is %v", d.name, n)
	}
	if text := broker.Tool(t, "stats", "store"); !unwritable.MatchString(text) {
		t.Errorf("%s: stats do not say that nothing can be written:\n%s", d.name, text)
	}
	for _, q := range l.queues {
		checkReadOnly(t, broker.Addr, q, d.name)
	}
	<-time.After(refusedFor)
	if d.once {
		checkNotRepeated(t, trace.Calls(t), d)
	}
	return seen.Sub(call.At)
}

// inject makes the call fail, and returns when it has. When the file is full before that, it begins again with the one that has followed, and
// asks for half as many calls.
func (d diskError) inject(t *testing.T, broker *process.Broker) (*process.Trace, process.Call) {
	t.Helper()
	for end := time.Now().Add(injectBound); time.Now().Before(end); {
		file := d.path(t, broker.Data)
		trace := broker.Strace(t, "-P", file, "-e", "trace=fdatasync,fsync,pwrite64", "-e", d.injection())
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for over := end; time.Now().Before(over); <-tick.C {
			if call, ok := trace.Injected(t); ok {
				return trace, call
			}
			if over == end && d.path(t, broker.Data) != file {
				over = time.Now().Add(sealFor)
			}
		}
		trace.Stop(t)
		d.when = (d.when + 1) / 2
	}
	t.Fatalf("%s: it did not happen within %s", d.name, injectBound)
	return nil, process.Call{}
}

// injection is the error as strace takes it.
func (d diskError) injection() string {
	text := fmt.Sprintf("inject=%s:error=%s:when=%d", d.call, d.errno, d.when)
	if d.ever {
		text += "+"
	}
	return text
}

// checkReadOnly sees that a put is refused and that a get is not.
func checkReadOnly(t *testing.T, addr string, q queue, after string) {
	t.Helper()
	conn, err := wire.Dial(addr)
	if err != nil {
		t.Fatalf("%s: a new connection: %v", after, err)
	}
	defer conn.Close()
	a, err := conn.Command("put %s %d 4 0 7\r\nbody", q.Topic, q.Partition)
	if err != nil || a.Code != 503 || !strings.Contains(string(a.Body), "write to the disk has failed") {
		t.Errorf("%s: a put to %s is answered %d %s, %v; want 503 with the cause", after, q, a.Code, a.Body, err)
	}
	if a, err = conn.Get(q.Queue, 0, readSize); err != nil || a.Code != 200 {
		t.Errorf("%s: a get of %s is answered %d %.200s, %v; want messages", after, q, a.Code, a.Body, err)
	}
}

// checkNotRepeated sees that a call is not made again for the file for which it has failed: the kernel tells of a failed write once.
func checkNotRepeated(t *testing.T, calls []process.Call, d diskError) {
	t.Helper()
	first := slices.IndexFunc(calls, func(c process.Call) bool { return c.Injected })
	for _, c := range calls[first+1:] {
		if c.Name == d.call {
			t.Errorf("%s: it is called again, after %s: %s", d.name, c.At.Sub(calls[first].At), c.Text)
		}
	}
}

// judgeRed sees that no put that was sent while the broker was red was acknowledged, and returns how many were refused.
func judgeRed(t *testing.T, name string, phases int) (refused int) {
	t.Helper()
	red, seen := false, 0
	late := map[string]bool{} // puts that were sent while it was red
	var head history.Header
	err := history.Read(name, &head, func(line int, e history.Event) error {
		switch {
		case e.F == history.Phase && e.ID == redPhase:
			red = true
			seen++
		case e.F == history.Nemesis && e.Type == history.OK:
			red = false
		case e.F == history.Put && e.Type == history.Invoke:
			if red {
				late[e.ID] = true
			}
		case e.F == history.Put && late[e.ID] && e.Type == history.OK:
			t.Errorf("line %d: put %s was sent to a poisoned log and is acknowledged", line, e.ID)
		case e.F == history.Put && late[e.ID] && e.Type == history.Fail:
			refused++
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if seen != phases || refused < phases {
		t.Errorf("%d red phases, %d puts refused in them: want %d phases, and puts in each", seen, refused, phases)
	}
	return refused
}

// awaitMessages waits until a partition has something to read.
func awaitMessages(t *testing.T, addr string, q queue) {
	t.Helper()
	conn, err := wire.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	awaitThat(t, q.String()+" has messages", func() bool {
		a, err := conn.Get(q.Queue, 0, readSize)
		if err != nil {
			t.Fatal(err)
		}
		return a.Code == 200
	})
}

// awaitThat waits for something, with a bound.
func awaitThat(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(injectBound + redBound); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, injectBound+redBound)
		}
	}
}
