package crash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/process"
)

// What is put to this topic goes after a second.
const fleeting = `[system]
logSegmentSize=1048576
maxSegmentSize=1048576
[topic=gone]
unflushThreshold=1000
deletePolicy=delete,1s
deleteWhen=* * * * * ?
`

// diedAtPoint is how the process ends at a failpoint (package store/fault).
const diedAtPoint = 99

// dieWithin bounds how long a failpoint takes to be reached. Segments are rewritten only when the log goes on for 256 MiB behind them.
const dieWithin = 2 * time.Minute

// Test 4: the process dies at each place that the code names, under load; then it starts again. What was acknowledged is there.
func TestFailpoints(t *testing.T) {
	seed := chaos.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	run := history.Begin(t, history.Header{Test: "failpoints", Seed: seed}, config)
	broker := process.Start(t, process.Options{Config: config, Tags: "failpoints"})
	l := newLoad(run, queues)
	l.live(broker.Addr, func() { // so that there is something to recover
		<-time.After(longestLife)
		l.fault("kill -9")
		broker.Kill(t)
	})
	points := chaos.Planted(t, "Point")
	chosen := slices.Clone(points)
	rng.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	chosen = chosen[:chaos.Pick(8, len(chosen))]
	hit := 0
	for range chaos.Pick(1, 3) {
		for _, point := range chosen {
			if strings.HasPrefix(point, "retention.") {
				dieRemoving(t, point)
				hit++
				continue
			}
			l.fault(point)
			if err := die(t, broker, l, rng, point); err != nil {
				t.Errorf("seed %d: %s: %v", seed, point, err)
				continue
			}
			hit++
		}
	}
	broker.Env = nil
	broker.Restart(t)
	v := l.judge(t, broker, func() { <-time.After(longestLife) })
	if !v.Good {
		t.Errorf("seed %d: convicted: %v", seed, v.Convicted())
	}
	chaos.Figure(t, 4, "failpoints hit", "%d, at %d of %d places", hit, len(chosen), len(points))
	chaos.Figure(t, 4, "acknowledged messages checked", "%d, %d lost, %d altered", v.Puts[history.OK], v.Count("lost-acked"), v.Count("invented"))
}

// die has a broker that does not run start and end at a failpoint.
func die(t *testing.T, broker *process.Broker, l *load, rng *rand.Rand, point string) error {
	family, _, _ := strings.Cut(point, ".")
	broker.Env = []string{"BROKER_FAILPOINT=" + point}
	switch family {
	case "recovery":
		if point == "recovery.torn_kept" {
			tear(t, broker.Data, rng)
		}
		if point == "recovery.gaps" {
			broker.BootID = fmt.Sprint("boot-", rng.Uint64())
		}
		err := broker.TryRestart(t)
		if err == nil {
			broker.Kill(t)
		}
		return endedAtPoint(err)
	case "append", "flush", "put", "control": // at any time under load, not at the first one
		if point == "append.rolled" {
			break // that happens once in a while
		}
		broker.Env[0] += fmt.Sprintf("@%d", 20+rng.IntN(200))
	}
	err := broker.TryRestart(t)
	if err != nil {
		return endedAtPoint(err)
	}
	var ended bool
	l.live(broker.Addr, func() {
		if family == "close" {
			<-time.After(shortestLife)
			broker.Signal(t, syscall.SIGTERM)
		}
		if ended, err = broker.Ended(t, dieWithin); !ended {
			broker.Kill(t)
		}
	})
	if !ended {
		return fmt.Errorf("the broker was still alive after %s", dieWithin)
	}
	return endedAtPoint(err)
}

// dieRemoving has a broker end while it removes old messages, and looks whether the log is sound after that.
func dieRemoving(t *testing.T, point string) {
	t.Helper()
	broker := process.Start(t, process.Options{Config: fleeting, Tags: "failpoints"})
	broker.Kill(t)
	broker.Env = []string{"BROKER_FAILPOINT=" + point}
	broker.Restart(t)
	conn, err := net.Dial("tcp", broker.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.Copy(io.Discard, conn) }() // the answers; it ends with the connection
	put := bytes.Repeat([]byte("put gone 0 1000 0 1\r\n"+strings.Repeat("x", 1000)), 64)
	for err == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(dieWithin))
		_, err = conn.Write(put)
	}
	ended, err := broker.Ended(t, dieWithin)
	if !ended {
		t.Fatalf("%s: the broker was still alive after %s", point, dieWithin)
	}
	if err := endedAtPoint(err); err != nil {
		t.Errorf("%s: %v", point, err)
	}
	broker.Env = nil
	broker.Restart(t)
	if ready, why := broker.Health(t); !ready {
		t.Errorf("%s: not ready after a restart: %s", point, why)
	}
	broker.Stop(t)
	broker.Tool(t, "check", broker.Data)
}

func endedAtPoint(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == diedAtPoint {
		return nil
	}
	return fmt.Errorf("the process ended otherwise: %v", err)
}

// tear puts half a frame behind the last one, as a crash in the middle of a write leaves it.
func tear(t *testing.T, data string, rng *rand.Rand) {
	t.Helper()
	name := openSegment(t, data)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	end = (end + 15) &^ 7
	half := make([]byte, 40)
	for i := range half {
		half[i] = byte(1 + rng.IntN(255))
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(half, int64(end)); err != nil {
		t.Fatal(err)
	}
}
