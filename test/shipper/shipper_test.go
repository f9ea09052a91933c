//go:build linux

package shipper

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/tools/ship"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const (
	number    = 32 // in docs/reliability.md
	topic     = "logs"
	endBound  = 2 * time.Minute // for what is left when everything is quiet
	stopBound = 10 * time.Second
)

// agent is the real binary, shipping.
type agent struct {
	t          *testing.T
	binary     string
	checkpoint string
	args       []string
	log        *os.File
	cmd        *exec.Cmd
}

func newAgent(t *testing.T, broker, checkpoint string, more ...string) *agent {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "ship.log"))
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, binary: process.Binary(t, ""), checkpoint: checkpoint, log: log}
	a.args = append([]string{"ship", "--broker", broker, "--topic", topic, "--checkpoint", checkpoint}, more...)
	t.Cleanup(func() {
		a.kill()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("end of the shipper's log:\n%s", text[max(0, len(text)-16<<10):])
		}
		log.Close()
	})
	return a
}

func (a *agent) start(more ...string) {
	a.t.Helper()
	a.cmd = exec.Command(a.binary, append(a.args[:len(a.args):len(a.args)], more...)...)
	a.cmd.Stderr = a.log
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
}

// kill ends the process as a crash does.
func (a *agent) kill() {
	if a.cmd == nil {
		return
	}
	// It may have ended by itself, which the checks at the end show.
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
	a.cmd = nil
}

// status is what `metaq ship status` tells of the files; nothing while the shipper does not answer yet.
func (a *agent) status() []ship.FileStatus {
	a.t.Helper()
	out, err := exec.Command(a.binary, "ship", "status", "-o", "json", "--checkpoint", a.checkpoint).Output()
	if err != nil {
		return nil
	}
	var s ship.Status
	if err := json.Unmarshal(out, &s); err != nil {
		a.t.Fatalf("the status %.200q: %v", out, err)
	}
	if len(s.Inputs) == 0 {
		return nil
	}
	return s.Inputs[0].Files
}

// terminate stops the process with SIGTERM, which it has to obey in time.
func (a *agent) terminate() {
	a.t.Helper()
	began := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	err := a.cmd.Wait()
	a.cmd = nil
	if took := time.Since(began); err != nil || took > stopBound {
		a.t.Errorf("after SIGTERM it ended with %v after %s", err, took)
	}
}

// await waits until something holds.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	wait.Until(t, 20*time.Millisecond, endBound, what, done)
}

// finish ships what is left, and ends.
func (a *agent) finish() {
	a.t.Helper()
	a.start("--once")
	ended := make(chan error, 1)
	go func(cmd *exec.Cmd) { ended <- cmd.Wait() }(a.cmd)
	select {
	case err := <-ended:
		a.cmd = nil
		if err != nil {
			a.t.Fatalf("the last shipper: %v", err)
		}
	case <-time.After(endBound):
		_ = a.cmd.Process.Kill()
		<-ended
		a.cmd = nil
		a.t.Fatalf("lines are left after %s", endBound)
	}
}

// TestShip_LosesNothing kills the shipper every second and the broker every 20 s, while five files are written and rotated every second, each in another way.
func TestShip_LosesNothing(t *testing.T) {
	seed := chaos.Seed(t)
	length := chaos.Pick(20*time.Second, 10*time.Minute)
	brokerEvery := chaos.Pick(6*time.Second, 20*time.Second)
	broker := process.Start(t, process.Options{Config: "[system]\n[topic=" + topic + "]\nnumPartitions=4\n"})
	dir := t.TempDir()
	shipper := newAgent(t, broker.Addr, filepath.Join(dir, "checkpoint"), "--gzip", "--rotate-wait", "1s", filepath.Join(dir, "*.log"))

	writers := []*writer{
		{name: "renamed", rotate: renamed}, {name: "late", rotate: late}, {name: "dated", rotate: dated}, {name: "packed", rotate: packed}, {name: "copied", rotate: copied},
	}
	stop := make(chan struct{})
	failures := make(chan error, len(writers))
	var writing sync.WaitGroup
	for i, w := range writers {
		w.path, w.keep, w.rand = filepath.Join(dir, w.name+".log"), 60, rand.New(rand.NewPCG(seed, uint64(i)))
		writing.Go(func() { failures <- w.work(stop, 20, 20*time.Millisecond, time.Second) })
	}

	shipperKills, brokerKills := 0, 0
	random := rand.New(rand.NewPCG(seed, 99))
	end, nextBroker := time.After(length), time.After(brokerEvery)
	for over := false; !over; {
		shipper.start()
		select {
		case <-end:
			over = true
		case <-time.After(500*time.Millisecond + time.Duration(random.IntN(1000))*time.Millisecond):
		}
		brokerDies := false
		select {
		case <-nextBroker:
			brokerDies = true
			broker.Kill(t)
			brokerKills++
			// The shipper reads on, and must write down nothing of it.
			<-time.After(300*time.Millisecond + time.Duration(random.IntN(600))*time.Millisecond)
		default:
		}
		shipper.kill()
		shipperKills++
		if brokerDies {
			broker.Restart(t)
			nextBroker = time.After(brokerEvery)
		}
	}
	// One life in which the broker dies while lines are on their way.
	shipper.start()
	broker.Kill(t)
	brokerKills++
	broker.Restart(t)
	close(stop)
	writing.Wait()
	for range writers {
		if err := <-failures; err != nil {
			t.Fatal(err)
		}
	}
	shipper.kill()
	shipperKills++
	shipper.finish()

	lines, twice, rewinds, rotations := int64(0), int64(0), 0, 0
	verdicts := judge(t, broker.Addr, writers)
	for _, w := range writers {
		v := verdicts[w.name]
		t.Logf("%s: %d lines, %d rotations, %d lost, %d stored twice at %d places", w.name, w.lines, w.rotations, v.lost, v.twice, v.rewinds)
		if v.lost > 0 || v.wrong != "" {
			t.Errorf("%s: %d of %d lines are lost; %s", w.name, v.lost, w.lines, v.wrong)
		}
		// A copy that was truncated before a kilobyte of it was acknowledged cannot be told from another file, and is sent again.
		allowed := shipperKills + brokerKills
		if w.name == "copied" {
			allowed += w.rotations
		}
		if v.rewinds > allowed {
			t.Errorf("%s: lines came again at %d places, after %d kills", w.name, v.rewinds, allowed)
		}
		lines, twice, rewinds, rotations = lines+w.lines, twice+v.twice, rewinds+v.rewinds, rotations+w.rotations
		if w.rotations < int(length/time.Second)/2 || w.lines < 100*int64(length/time.Second) {
			t.Errorf("%s: only %d lines and %d rotations: nothing was shown", w.name, w.lines, w.rotations)
		}
	}
	if t.Failed() {
		return // the figures are of what was shown
	}
	chaos.Figure(t, number, "shippers killed", "%d, brokers %d, in %s", shipperKills, brokerKills, length)
	chaos.Figure(t, number, "lines", "%d of %d files in %d rotations, 0 lost, 0 out of order", lines, len(writers), rotations)
	chaos.Figure(t, number, "stored twice", "%d (%.1f %%), at %d places", twice, 100*float64(twice)/float64(lines), rewinds)
}

// verdict is what was found of a writer.
type verdict struct {
	lost    int64
	twice   int64
	rewinds int    // places where the numbers go back
	wrong   string // the first thing that must not be
}

// judge reads the topic back. In each partition, the lines of a writer have to appear for the first time in their order; what comes again has to have been
// there.
func judge(t *testing.T, addr string, writers []*writer) map[string]*verdict {
	t.Helper()
	verdicts := map[string]*verdict{}
	found, last, where := map[string]int64{}, map[string]int64{}, map[string]client.Partition{}
	for _, w := range writers {
		verdicts[w.name], found[w.name], last[w.name] = &verdict{}, -1, -1
	}
	ctx, cancel := context.WithTimeout(context.Background(), endBound)
	defer cancel()
	b, err := client.OpenBrowser(ctx, addr, topic)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for m, err := range b.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		words := strings.SplitN(string(m.Body), " ", 3)
		v := verdicts[words[0]]
		if v == nil || len(words) != 3 {
			t.Fatalf("a line that nobody wrote: %.100q", m.Body)
		}
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil || words[2] != strings.Repeat(string(rune('a'+n%26)), len(words[2])) {
			t.Fatalf("a line that nobody wrote: %.100q", m.Body)
		}
		at := client.Partition{Broker: m.Broker, Number: m.Partition}
		if p, ok := where[words[0]]; ok && p != at && v.wrong == "" {
			v.wrong = fmt.Sprintf("line %d is in partition %s, others are in %s", n, at, p)
		}
		where[words[0]] = at
		if n <= last[words[0]] {
			v.rewinds++
		}
		last[words[0]] = n
		switch seen := found[words[0]]; {
		case n <= seen:
			v.twice++
		case n > seen+1 && v.wrong == "":
			v.wrong = fmt.Sprintf("line %d comes after %d", n, seen)
			fallthrough
		default:
			v.lost += n - seen - 1 // or they come later, which is wrong as well
			found[words[0]] = n
		}
	}
	for _, w := range writers {
		verdicts[w.name].lost += w.lines - 1 - found[w.name]
	}
	return verdicts
}

// Files may be rotated and removed while the broker is away: they stay open until they can be shipped. SIGTERM then ends the shipper in time, and the next one goes
// on.
func TestShip_TheBrokerIsAway(t *testing.T) {
	broker := process.Start(t, process.Options{Config: "[system]\n[topic=" + topic + "]\nnumPartitions=4\n"})
	dir := t.TempDir()
	shipper := newAgent(t, broker.Addr, filepath.Join(dir, "checkpoint"), "--drain-timeout", "300ms", filepath.Join(dir, "renamed.log"))
	w := &writer{name: "renamed", path: filepath.Join(dir, "renamed.log"), rotate: renamed, keep: 1, rand: rand.New(rand.NewPCG(1, 2))}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	defer w.file.Close()
	step := func() {
		t.Helper()
		if err := w.write(1000); err != nil {
			t.Fatal(err)
		}
	}
	known := func(files int) {
		t.Helper()
		await(t, fmt.Sprintf("%d files", files), func() bool { return len(shipper.status()) >= files })
	}
	step()
	shipper.start()
	await(t, "the first lines", func() bool { s := shipper.status(); return len(s) == 1 && s[0].Size > 0 && s[0].Lag == 0 })
	broker.Kill(t)
	for n := range 4 { // more than are kept
		step()
		if err := w.rotate(w); err != nil {
			t.Fatal(err)
		}
		known(n + 2)
	}
	broker.Restart(t)
	await(t, "all lines", func() bool {
		for _, f := range shipper.status() {
			if f.Lag > 0 {
				return false
			}
		}
		return true
	})
	// And once more, with a stop meanwhile.
	broker.Kill(t)
	step()
	await(t, "lines on their way", func() bool { s := shipper.status(); return s[len(s)-1].Sent > s[len(s)-1].Position })
	shipper.terminate()
	broker.Restart(t)
	shipper.finish()
	if v := judge(t, broker.Addr, []*writer{w})["renamed"]; v.lost > 0 || v.wrong != "" || v.rewinds > 2 {
		t.Errorf("of %d lines: %+v", w.lines, *v)
	}
}
