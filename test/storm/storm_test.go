package storm

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// row is that of docs/reliability.md.
const row = 42

// poisons are messages that the bolts always fail.
const poisons = 3

// A trial is a cluster, a topology that reads it, and what has to come of that.
type trial struct {
	*cluster
	*supervisor
	r    *rand.Rand
	sent map[string]bool

	kills    int
	slowest  time.Duration // from a kill to the next message that was acknowledged
	orphaned time.Duration // how long a spout has lived without its worker, at most
}

// begin runs a topology that has messages waiting for it.
func begin(t *testing.T, c *cluster, messages int, what topology) *trial {
	t.Helper()
	seed := chaos.Seed(t)
	tr := &trial{cluster: c, r: rand.New(rand.NewPCG(seed, seed)), sent: map[string]bool{}}
	tr.produce(t, "first", messages)
	tr.supervisor = supervise(t, what)
	return tr
}

// produce stores messages.
func (tr *trial) produce(t *testing.T, name string, n int) {
	t.Helper()
	for i := range n {
		body := fmt.Sprintf("%s-%d", name, i)
		tr.send(t, body)
		tr.sent[body] = true
	}
}

// killed kills the worker, or one of its spouts, which is the end of the worker too, and runs it again.
func (tr *trial) killed(t *testing.T, spout bool) {
	t.Helper()
	began := time.Now()
	spouts := tr.children(t)
	if len(spouts) != tr.topology.spouts {
		t.Fatalf("the worker has %d spouts, want %d", len(spouts), tr.topology.spouts)
	}
	if spout {
		if err := syscall.Kill(spouts[tr.r.IntN(len(spouts))], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the worker of a spout that was killed has ended", func() bool {
			select {
			case <-tr.exited:
				return true
			default:
				return false
			}
		})
	} else {
		tr.kill()
	}
	before, alone := tr.count(), time.Now()
	for _, pid := range spouts {
		eventually(t, fmt.Sprintf("spout %d has ended as its worker has", pid), func() bool { return gone(pid) })
	}
	tr.orphaned = max(tr.orphaned, time.Since(alone))
	tr.kills++
	tr.produce(t, fmt.Sprint("after kill ", tr.kills), 300)
	tr.start(t)
	eventually(t, "a message is acknowledged that was not before", func() bool { return tr.count() > before })
	tr.slowest = max(tr.slowest, time.Since(began))
}

// gone says whether a process has ended, whoever has to bury it.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return true
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(after, "Z")
}

// all waits until every message was acknowledged, and the group is at the end of all partitions.
func (tr *trial) all(t *testing.T) {
	t.Helper()
	eventually(t, "every message is acknowledged", func() bool { return tr.count() >= len(tr.sent) })
	for body := range tr.tally().acked {
		if !tr.sent[body] {
			t.Errorf("the bolts have acknowledged %q, which nobody has sent", body)
		}
	}
	eventually(t, "the group is at the end of all partitions", func() bool { return maps.Equal(tr.offsets(t), tr.ends) })
}

// figures reports what the bolts have told.
func (tr *trial) figures(t *testing.T, spout string) {
	t.Helper()
	told := tr.tally()
	twice := 0
	for _, n := range told.acked {
		twice += n - 1
	}
	text := fmt.Sprintf("%d messages, 0 lost; %d tuples, of which the bolts failed %d and forgot %d; acknowledged again: %d", len(tr.sent), told.tuples, told.fails,
		told.silent, twice)
	if tr.kills > 0 {
		text += fmt.Sprintf("; kills of a worker or its spout: %d; from a kill to the next message, start of Storm included, at most %.1f s; spouts outlived their worker by at most %.2f s",
			tr.kills, tr.slowest.Seconds(), tr.orphaned.Seconds())
	}
	chaos.Figure(t, row, spout, "%s", text)
	if told.fails == 0 {
		t.Error("the bolts have failed no tuple: nothing was tested")
	}
}

// multilang is a topology of a spout that is a command.
func multilang(spouts int, command ...string) topology {
	return topology{spouts: spouts, timeout: 2, failed: 10, silent: 2, spout: append(command, topic, "--group", group, "--tries", "12", "--metric", "metaq")}
}

// withPoison lets messages that always fail be among the others: they have to end in the dead-letter topic, and no others.
func (tr *trial) withPoison(t *testing.T) {
	t.Helper()
	for i := range poisons {
		tr.send(t, fmt.Sprint("poison-", i))
	}
}

func (tr *trial) poisonIsDead(t *testing.T) {
	t.Helper()
	dead := tr.stored(t, topic+".dead")
	for i := range poisons {
		if body := fmt.Sprint("poison-", i); !slices.Contains(dead, body) {
			t.Errorf("%s is not in the dead-letter topic, which has %q", body, dead)
		}
	}
	for _, body := range dead {
		if tr.sent[body] {
			t.Errorf("the dead-letter topic has %q", body)
		}
	}
}

// Our spout, in a Storm whose bolts fail and forget tuples, and whose worker, or one of its spouts, is killed, and a broker too: every message is dealt with, and the
// offsets say so.
func TestSpout(t *testing.T) {
	c := startCluster(t)
	tr := begin(t, c, 300, multilang(2, process.Binary(t, ""), "spout", "--zk", c.zookeeper.Addr, "--retry-from", "50ms", "--retry-to", "1s"))
	tr.withPoison(t)
	eventually(t, "the topology has begun", func() bool { return tr.count() > 100 })
	for i := range chaos.Pick(1, 10) {
		tr.killed(t, i%2 == 0)
	}
	tr.brokers[1].Kill(t)
	tr.brokers[1].Restart(t)
	tr.produce(t, "last", 200)
	tr.all(t)
	tr.poisonIsDead(t)
	tr.figures(t, "metaq spout")
	tr.stop(t)
	if offsets := tr.offsets(t); !maps.Equal(offsets, tr.ends) {
		t.Errorf("after the end the offsets are %v, want %v", offsets, tr.ends)
	}
}

// The same in Python, against a broker that stands alone.
func TestPythonSpout(t *testing.T) {
	source, err := filepath.Abs("../../client/python/src")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", source)
	c := startAlone(t)
	tr := begin(t, c, 300, multilang(1, "python3", "-m", "metaq.storm", "--broker", c.addr(), "--retry-from", "0.05", "--retry-to", "1"))
	tr.withPoison(t)
	eventually(t, "the topology has begun", func() bool { return tr.count() > 100 })
	for i := range chaos.Pick(0, 4) {
		tr.killed(t, i%2 == 0)
	}
	tr.all(t)
	tr.poisonIsDead(t)
	tr.figures(t, "metaq.storm in Python")
}

// The spout of Metamorphosis on its Java client, one message of a partition at a time, against our brokers.
func TestOriginalSpout(t *testing.T) {
	c := startCluster(t)
	tr := begin(t, c, 150, topology{spouts: 2, timeout: 2, failed: 10, silent: 1, spout: []string{"original", c.zookeeper.Addr, topic, group}})
	tr.all(t)
	tr.figures(t, "spout of Metamorphosis")
}
