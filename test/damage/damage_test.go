package damage

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaq/metaq/store"
	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

// tally counts what became of the harms of one region.
type tally struct {
	injected int
	checked  int // found by `metaq check`, which named the file
	refused  int // the broker did not start
	harmless int // nothing is lost and nothing found: it hit what nobody reads
	served   int // messages
	lost     int // messages that were answered with an error or are gone after a repair, as the check says
}

func (a *tally) add(b tally) {
	a.injected += b.injected
	a.checked += b.checked
	a.refused += b.refused
	a.harmless += b.harmless
	a.served += b.served
	a.lost += b.lost
}

// Damage in each region of a directory that a killed and one that a stopped broker left.
func TestDamage_EachRegion(t *testing.T) {
	seed := chaos.Seed(t)
	killed, stopped := newOrigin(t, filepath.Join(t.TempDir(), "killed"), false), newOrigin(t, filepath.Join(t.TempDir(), "stopped"), true)
	results := map[string]*tally{}
	var names []string
	for _, side := range []struct {
		name   string
		o      *origin
		other  *origin
		rounds int
	}{
		{"killed", killed, stopped, chaos.Pick(1, 26)},
		{"stopped", stopped, killed, chaos.Pick(1, 12)},
	} {
		rng := rand.New(rand.NewPCG(seed, uint64(len(side.name))))
		for _, r := range regions(t, rng, side.o, side.other) {
			if results[r.name] == nil {
				results[r.name] = &tally{}
				names = append(names, r.name)
			}
			for range side.rounds {
				h := r.draw(rng)
				results[r.name].add(side.o.suffer(t, fmt.Sprintf("%s, %s: %s", side.name, r.name, h.what), h))
			}
		}
	}
	var all tally
	for _, name := range names {
		n := results[name]
		all.add(*n)
		chaos.Figure(t, 8, "detected / injected: "+name, "%d / %d (%d hit nothing that is read)", n.checked, n.injected, n.harmless)
		if n.checked+n.harmless < n.injected {
			t.Errorf("%s: %d of %d were not found", name, n.injected-n.checked-n.harmless, n.injected)
		}
	}
	chaos.Figure(t, 8, "wrong bytes served", "0 in %d messages read from %d damaged directories", all.served, all.injected)
	chaos.Figure(t, 8, "messages lost, each named by the check", "%d", all.lost)
	if all.harmless > all.injected/5 {
		t.Errorf("%d of %d harms hit nothing: the run shows little", all.harmless, all.injected)
	}
}

// suffer does one harm to a copy of the directory and takes it through check, start, repair and start.
func (o *origin) suffer(t *testing.T, what string, h harm) tally {
	t.Helper()
	n := tally{injected: 1}
	dir := o.copyTo(t)
	defer os.RemoveAll(filepath.Dir(dir))
	h.do(t, dir)
	report := check(t, dir)
	found := h.named(filesOf(report, dir))
	if found {
		n.checked = 1
	}
	dryRun(t, what, dir)

	untouched := dir + "-again"
	if err := os.CopyFS(untouched, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	b, refused := process.Attempt(t, process.Options{Config: config, Data: dir})
	var r reading
	if b != nil {
		r = o.read(t, b.Addr, what)
		r.explained(t, what, report)
		o.putAgain(t, b.Addr, what)
		b.Kill(t)
	} else {
		n.refused = 1
		sensible(t, what, refused)
		if report.Sound() {
			t.Errorf("%s: the check finds nothing, the broker says %s", what, refused)
		}
	}
	if !found && (b == nil || r.count() > 0) {
		t.Errorf("%s: not found by the check, %d messages lost:%s\n%s", what, r.count(), describe(report), refused)
	}
	if !found && b != nil && r.count() == 0 {
		n.harmless = 1
	}

	// The repair, of a directory that no broker has touched.
	report = check(t, untouched, "--repair")
	if b != nil {
		n.served, n.lost = r.served, r.count()
	}
	b, refused = process.Attempt(t, process.Options{Config: config, Data: untouched})
	if b == nil {
		if report.Sound() {
			t.Errorf("%s: the repair calls it sound, the broker says %s", what, refused)
		}
		return n
	}
	r = o.read(t, b.Addr, what+", repaired")
	r.explained(t, what+", repaired", report)
	o.putAgain(t, b.Addr, what+", repaired")
	b.Kill(t)
	n.served += r.served
	n.lost = max(n.lost, r.count())
	return n
}

// sensible says whether a broker that refused to start gave a reason instead of falling over.
func sensible(t *testing.T, what, log string) {
	t.Helper()
	if strings.Contains(log, "goroutine ") || strings.Contains(log, "panic") || !strings.Contains(log, "open ") {
		t.Errorf("%s: the broker fell over:\n%s", what, log)
	}
}

// check runs `metaq check` and reads its report. Damage is exit code 1.
func check(t *testing.T, dir string, args ...string) store.CheckReport {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(process.Binary(t, ""), append([]string{"check", dir, "-o", "json"}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("metaq check: %v\n%s", err, stderr.Bytes())
	}
	var report store.CheckReport
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("metaq check: %v\n%s%s", err, stdout.Bytes(), stderr.Bytes())
	}
	if report.Sound() != (err == nil) {
		t.Fatalf("metaq check ended with %v, its report says sound %v", err, report.Sound())
	}
	return report
}

// filesOf are the files that a report names.
func filesOf(r store.CheckReport, dir string) []string {
	var names []string
	for _, f := range r.Findings {
		if f.Area == store.AreaLeftover && strings.HasSuffix(f.File, ".prepared") {
			continue
		}
		names = append(names, strings.TrimPrefix(f.File, dir+"/"))
	}
	return names
}

// dryRun asks for a repair that changes nothing, and makes sure of that.
func dryRun(t *testing.T, what, dir string) {
	t.Helper()
	before := sums(t, dir)
	check(t, dir, "--repair", "--dry-run")
	after := sums(t, dir)
	if !slices.Equal(before, after) {
		t.Errorf("%s: a dry run has changed the directory:\n%v\n%v", what, before, after)
	}
}

// sums are names and checksums of all files but the lock.
func sums(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == "lock" {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		list = append(list, fmt.Sprintf("%s %x", path, sha256.Sum256(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Damage to segments that a running broker has mapped: no wrong byte is served, everything else goes on.
func TestDamage_UnderALiveBroker(t *testing.T) {
	seed := chaos.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 8))
	o := newOrigin(t, filepath.Join(t.TempDir(), "live"), true)
	var n tally
	answered := 0
	dir := o.copyTo(t)
	b := process.Start(t, process.Options{Config: config, Data: dir})
	if r := o.read(t, b.Addr, "before"); r.count() > 0 {
		t.Fatalf("%d messages lost before any damage", r.count())
	}
	segments := o.segments(t)
	last := 0
	for range chaos.Pick(12, 60) {
		name := segments[rng.IntN(len(segments)-1)]
		f := o.frames[name][rng.IntN(len(o.frames[name]))]
		at := f.Offset + rng.Int64N(f.Size)
		h := flip(name, at, rng.IntN(8))
		if rng.IntN(4) == 0 {
			h = flip(indexOf(name), 48+rng.Int64N(1000), rng.IntN(8))
		}
		h.do(t, dir)
		n.injected++
		r := o.read(t, b.Addr, "live: "+h.what)
		n.served += r.served
		answered += len(r.answers)
		last = r.count()
		o.putAgain(t, b.Addr, "live: "+h.what)
	}
	if last == 0 || answered == 0 {
		t.Fatalf("no damage was noticed in %d tries", n.injected)
	}
	noPanics(t, b.HTTPAddr)
	b.Stop(t)
	report := check(t, dir)
	b = process.Start(t, process.Options{Config: config, Data: dir})
	r := o.read(t, b.Addr, "after")
	r.explained(t, "after a restart", report)
	b.Stop(t)
	chaos.Figure(t, 8, "wrong bytes served while files were damaged under a running broker", "0 of %d messages, %d harms, %d reads answered with an error", n.served, n.injected, answered)
}

// noPanics asks a broker whether a command has panicked.
func noPanics(t *testing.T, addr string) {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(text, []byte("\nmetaq_panics_total 0\n")) {
		t.Errorf("commands have panicked, or the metric is gone: %v", err)
	}
}

// The last messages of a real file cut at some bytes: the start recovers to the boundary of a message.
func TestTornTail_OfARealFile(t *testing.T) {
	seed := chaos.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 9))
	o := newOrigin(t, filepath.Join(t.TempDir(), "torn"), false)
	if err := os.Remove(filepath.Join(o.dir, "flushed")); err != nil { // a crash before the last second was noted
		t.Fatal(err)
	}
	segments := o.segments(t)
	tail := segments[len(segments)-1]
	frames := o.frames[tail]
	last := frames[len(frames)-1]
	cuts := 0
	for range chaos.Pick(3, 60) {
		at := last.Offset + rng.Int64N(last.Size)
		h := cut(tail, at)
		if rng.IntN(2) == 0 {
			h = zero(tail, at, page)
			if at+8 >= last.Offset+last.Size { // its last bytes may be zero already
				continue
			}
		}
		cuts++
		dir := o.copyTo(t)
		h.do(t, dir)
		if report := check(t, dir); !report.Sound() {
			t.Fatalf("%s: a torn tail was called damage:%s", h.what, describe(report))
		}
		b := process.Start(t, process.Options{Config: config, Data: dir})
		r := o.read(t, b.Addr, h.what)
		if r.count() != len(last.Messages) {
			t.Fatalf("%s: %d messages lost, want the %d of the last frame", h.what, r.count(), len(last.Messages))
		}
		b.Stop(t)
		if report := check(t, dir); !report.Sound() {
			t.Fatalf("%s: after the start:%s", h.what, describe(report))
		}
		os.RemoveAll(filepath.Dir(dir))
	}
	chaos.Figure(t, 9, "cuts of the last frame of a real file", "%d, all recovered to a message boundary", cuts)
}
