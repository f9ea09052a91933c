package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/process"
)

// A power cut takes what was acknowledged without a flush in the last interval, and what the flush under way then had not finished.
const (
	powerInterval = 200 * time.Millisecond
	powerWindow   = powerInterval + time.Second
)

// disk is an ext4 file system in an image on a file system in memory.
type disk struct {
	dir   string // where it is mounted
	ram   string
	count int
}

func (d *disk) image() string { return filepath.Join(d.ram, fmt.Sprint("image-", d.count)) }

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s (this test mounts file systems: it has to run as root)", name, strings.Join(args, " "), err, out)
	}
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{dir: t.TempDir(), ram: t.TempDir()}
	command(t, "mount", "-t", "tmpfs", "-o", "size=4G", "metaq-test", d.ram)
	t.Cleanup(func() { command(t, "umount", d.ram) })
	if err := os.WriteFile(d.image(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image(), 2<<30); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.ext4", "-q", "-m", "0", d.image())
	d.mount(t)
	t.Cleanup(func() { command(t, "umount", d.dir) })
	return d
}

// mount makes the disk usable. Its journal is written when somebody syncs, and hardly by itself.
func (d *disk) mount(t *testing.T) {
	t.Helper()
	command(t, "mount", "-o", "loop,commit=300", d.image(), d.dir)
}

// keep copies what the disk holds at this moment: what is in the machine's memory only is not in it.
func (d *disk) keep(t *testing.T) {
	t.Helper()
	command(t, "cp", "--sparse=always", d.image(), filepath.Join(d.ram, fmt.Sprint("image-", d.count+1)))
}

// swap goes on with the copy, as the machine does when its power is back.
func (d *disk) swap(t *testing.T) {
	t.Helper()
	command(t, "umount", d.dir)
	if err := os.Remove(d.image()); err != nil {
		t.Fatal(err)
	}
	d.count++
	d.mount(t)
}

// Test 2: the power of the machine is cut under load, again and again. With group commit nothing acknowledged is lost, without it no more than the
// window, and in both cases no offset gives two different messages.
func TestPowerCut(t *testing.T) {
	seed := chaos.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	text := strings.Replace(config, "unflushInterval=10000", fmt.Sprint("unflushInterval=", powerInterval.Milliseconds()), 1)
	cuts, checked, unflushed, worst := 0, 0, 0, 0
	for range chaos.Pick(1, 10) {
		d := newDisk(t)
		run := history.Begin(t, history.Header{Test: "powercut", Seed: seed, Window: powerWindow}, text)
		broker := process.Start(t, process.Options{Config: text, Data: filepath.Join(d.dir, "data")})
		l := newLoad(run, queues)
		for range chaos.Pick(4, 50) {
			l.live(broker.Addr, func() {
				<-time.After(shortestLife + time.Duration(rng.Int64N(int64(longestLife/2))))
				l.fault(history.PowerCut)
				broker.Signal(t, syscall.SIGSTOP)
				d.keep(t)
				broker.Kill(t)
			})
			d.swap(t)
			broker.BootID = fmt.Sprint("boot-", rng.Uint64())
			broker.Restart(t)
			l.healed(history.PowerCut)
			cuts++
		}
		v := l.judge(t, broker, func() { <-time.After(longestLife) })
		if !v.Good {
			t.Fatalf("seed %d: convicted: %v", seed, v.Convicted())
		}
		if v.Faults[history.PowerCut] != chaos.Pick(4, 50) {
			t.Fatalf("the history holds %d power cuts", v.Faults[history.PowerCut])
		}
		checked += v.Puts[history.OK]
		unflushed += v.Allowed
		worst = max(worst, v.WorstLoss)
	}
	if checked < cuts*leastPerKill {
		t.Errorf("only %d puts were acknowledged over %d power cuts: the run proves nothing", checked, cuts)
	}
	chaos.Figure(t, 2, "power cuts survived (images of ext4)", "%d", cuts)
	chaos.Figure(t, 2, "acknowledged messages checked", "%d; lost with group commit 0; lost without it %d, at most %d of a partition at once, none older than the window of %s", checked, unflushed, worst, powerWindow)
}
