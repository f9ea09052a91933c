package slowdisk

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/wire"
)

// row is the number of these tests.
const row = 27

// patience bounds what the tests wait for; clientBound is how long clients of the original wait for an answer.
const (
	patience    = 90 * time.Second
	clientBound = 3 * time.Second
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const brokerConfig = "[system]\nnumPartitions=20\n[topic=slow]\n"

// strace is the command that runs or attaches to a broker and delays each fdatasync.
func strace(t *testing.T, delay time.Duration, more ...string) []string {
	t.Helper()
	name, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not here: run scripts/test-setup.sh as root")
	}
	return append([]string{name, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
		"-e", fmt.Sprintf("inject=fdatasync:delay_enter=%d", delay.Microseconds())}, more...)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	wait.Until(t, 20*time.Millisecond, patience, what, ok)
}

// readBack returns what is stored in the partition of a connection, by letter.
func readBack(t *testing.T, addr string, i int) map[int64]bool {
	t.Helper()
	c, err := wire.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q, stored := queueOf(i), map[int64]bool{}
	for offset := int64(0); ; {
		a, err := c.Get(q, offset, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if a.Code == 404 {
			return stored
		}
		if a.Code != 200 {
			t.Fatalf("get: %s", a.Text())
		}
		list, next, err := wire.Messages(offset, a.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			n, err := wire.OpenLetter(q, m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if stored[n] {
				t.Errorf("letter %d of %s is stored twice", n, q)
			}
			stored[n] = true
		}
		offset = next
	}
}

// check compares the answers with what is stored. rest is whether a put whose result was not known has to be there.
func check(t *testing.T, addr string, all [connections][]outcome, rest bool) {
	t.Helper()
	for i, outcomes := range all {
		stored := readBack(t, addr, i)
		for n, o := range outcomes {
			switch there := stored[int64(n)]; {
			case o.code == 200 && !there:
				t.Errorf("letter %d of %s was acknowledged and is lost", n, queueOf(i))
			case o.code == 503 && there:
				t.Errorf("letter %d of %s was refused and is stored", n, queueOf(i))
			case o.code == 504 && rest && !there:
				t.Errorf("letter %d of %s waited for a flush that came, and is lost", n, queueOf(i))
			}
		}
	}
}

func TestSlowDisk_GroupsGrow(t *testing.T) {
	t.Parallel()
	var groups []float64
	for _, delay := range []time.Duration{20 * time.Millisecond, 200 * time.Millisecond} {
		b := process.Start(t, process.Options{Config: brokerConfig, Under: strace(t, delay, "-D", "--seccomp-bpf")})
		l := startLoad(t, b.Addr)
		over := time.After(chaos.Pick(3*time.Second, 30*time.Second))
		<-over
		all := l.end(t)
		flushes := b.Metric(t, "metaq_flush_duration_seconds_count")
		mean := time.Duration(b.Metric(t, "metaq_flush_duration_seconds_sum") / flushes * float64(time.Second))
		if mean < delay {
			t.Fatalf("a flush took %s: the disk was not slow", mean)
		}
		if n := count(all, 503) + count(all, 504); n > 0 {
			t.Errorf("%s: %d puts were answered busy", delay, n)
		}
		// A put waits for the flush under way and for its own.
		p99 := percentile(all, 200, 0.99)
		if bound := 2*delay + 500*time.Millisecond; p99 > bound {
			t.Errorf("%s: the slowest hundredth of the puts took %s or more, want at most %s", delay, p99, bound)
		}
		group := b.Metric(t, "metaq_flush_batch_messages_sum") / flushes
		groups = append(groups, group)
		chaos.Figure(t, row, fmt.Sprintf("fdatasync of %s", delay), "%d puts/s offered; %.0f puts a flush; p50 %s, p99 %s; no time-out", int(connections*time.Second/putEvery),
			group, percentile(all, 200, 0.5).Round(time.Millisecond), p99.Round(time.Millisecond))
		check(t, b.Addr, all, true)
		b.Stop(t)
	}
	if groups[1] < 3*groups[0] {
		t.Errorf("%.0f puts a flush at 20 ms, %.0f at 200 ms: the groups do not grow", groups[0], groups[1])
	}
}

func TestStuckDisk_BusyThenBack(t *testing.T) {
	t.Parallel()
	stuckFor := chaos.Pick(10*time.Second, 60*time.Second)
	b := process.Start(t, process.Options{Config: brokerConfig})
	l := startLoad(t, b.Addr)
	eventually(t, "puts are acknowledged", func() bool { return l.answeredOK(time.Time{}) })
	line := strace(t, time.Hour, "-p", strconv.Itoa(b.PID()))
	tracer := exec.Command(line[0], line[1:]...)
	tracer.Stderr = os.Stderr
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			_ = tracer.Process.Signal(syscall.SIGKILL) // lets the call go on at once
			_ = tracer.Wait()
		}
	}
	t.Cleanup(end)
	eventually(t, "the disk is stuck", func() bool { return b.Metric(t, "metaq_disk_stuck_seconds") > 0 })
	if r, err := http.Get("http://" + b.HTTPAddr + "/readyz"); err != nil {
		t.Error(err)
	} else {
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "has not answered a flush since") {
			t.Errorf("/readyz: %d %s", r.StatusCode, text)
		}
	}
	_, before := b.Memory(t)
	most, grown := before, b.Metric(t, "metaq_unflushed_bytes")
	eventually(t, "the time is over", func() bool {
		_, now := b.Memory(t)
		most = max(most, now)
		return b.Metric(t, "metaq_disk_stuck_seconds") >= stuckFor.Seconds()
	})
	if after := b.Metric(t, "metaq_unflushed_bytes"); after != grown {
		t.Errorf("the log grew by %.0f bytes while the disk was stuck", after-grown)
	}
	if most-before > 32<<20 {
		t.Errorf("memory grew by %d MiB while the disk was stuck", (most-before)>>20)
	}
	released := time.Now()
	end()
	eventually(t, "puts are acknowledged again", func() bool { return l.answeredOK(released) })
	back := time.Since(released)
	all := l.end(t)

	unknown, refused := count(all, 504), count(all, 503)
	if unknown == 0 || refused == 0 {
		t.Fatalf("%d puts were told that their result is not known, %d were refused: want both", unknown, refused)
	}
	slowest := max(percentile(all, 504, 1), percentile(all, 503, 1), percentile(all, 200, 1))
	if slowest >= clientBound {
		t.Errorf("an answer took %s, clients wait %s", slowest, clientBound)
	}
	for _, o := range slices.Concat(all[:]...) {
		if o.code != 200 && !strings.Contains(o.text, "busy: the disk has not answered a flush for") {
			t.Fatalf("answer %d %q", o.code, o.text)
		}
	}
	if late := b.Metric(t, "metaq_puts_late_total"); int(late) != unknown {
		t.Errorf("%.0f puts became safe late, %d were waiting", late, unknown)
	}
	if n := b.Metric(t, "metaq_disk_stuck_total"); n != 1 {
		t.Errorf("stuck %.0f times", n)
	}
	check(t, b.Addr, all, true)
	chaos.Figure(t, row, fmt.Sprintf("disk stuck for %s", stuckFor), "%d puts acknowledged and all there, %d told 504 within %s, %d refused within %s; memory +%d MiB; first put acknowledged %s after the disk answered",
		count(all, 200), unknown, percentile(all, 504, 1).Round(time.Millisecond), refused, percentile(all, 503, 1).Round(time.Millisecond), (most-before)>>20, back.Round(time.Millisecond))
	b.Stop(t)
}
