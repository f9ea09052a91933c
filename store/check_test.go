package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

func TestCheck_RefusesARunningBrokerAndSaysWhichProcess(t *testing.T) {
	fsys := vfs.NewMem()
	s := mustOpen(t, testOptions(fsys, groupCommit))
	defer s.Close()
	_, err := Check(CheckOptions{FS: fsys, Dir: "data"})
	var held *vfs.LockedError
	if !errors.As(err, &held) || held.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("check: %v", err)
	}
	err = Dump(DumpOptions{FS: fsys, Dir: "data"}, func(DumpedFrame) error { return nil })
	if !errors.As(err, &held) {
		t.Errorf("dump: %v", err)
	}
	if _, err := Check(CheckOptions{FS: fsys, Dir: "elsewhere"}); err == nil || !strings.Contains(err.Error(), "no data directory") {
		t.Errorf("check of a directory that is none: %v", err)
	}
}

// contents are all files of a disk but the lock.
func contents(t testing.TB, fsys *vfs.Mem) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, dir := range []string{"data", "data/log", "data/aside"} {
		names, _ := fsys.List(dir)
		for _, n := range names {
			b, err := fsys.ReadFile(filepath.Join(dir, n))
			if err == nil && n != "lock" {
				m[filepath.Join(dir, n)] = string(b)
			}
		}
	}
	return m
}

// damagedEverywhere is a disk with one damage of each kind that can be repaired.
func damagedEverywhere(t testing.TB) *damageDisk {
	t.Helper()
	d := newDamageDisk(t, false)
	segments := d.segments(t)
	d.flip(t, identityName, 3, 0)
	d.flip(t, checkpointName, 40, 0)
	d.flip(t, indexName(segments[1]), 60, 0)
	d.flip(t, segments[len(segments)-1], 80, 0)
	return d
}

func TestCheck_DryRunChangesNothing(t *testing.T) {
	d := damagedEverywhere(t)
	before := contents(t, d.fs)
	r, err := Check(CheckOptions{FS: d.fs, Dir: "data", BootID: d.o.BootID, Repair: true, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(damages(r)) != 4 || r.Sound() {
		t.Errorf("findings:%s", describe(r))
	}
	for _, f := range damages(r) {
		if !f.Fixable || f.Repaired || f.Action == "" {
			t.Errorf("%s: fixable %v, repaired %v, action %q", f.Area, f.Fixable, f.Repaired, f.Action)
		}
	}
	after := contents(t, d.fs)
	for name, b := range before {
		if after[name] != b {
			t.Errorf("%s has changed", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files, were %d", len(after), len(before))
	}
}

func TestCheck_KeepsACopyOfWhatItChanges(t *testing.T) {
	d := damagedEverywhere(t)
	before := contents(t, d.fs)
	if r := d.check(t, true); !r.Sound() {
		t.Fatalf("not repaired:%s", describe(r))
	}
	after := contents(t, d.fs)
	changed := 0
	for name, b := range before {
		if after[name] == b {
			continue
		}
		changed++
		if kept := "data/aside/" + filepath.Base(name) + ".damaged"; after[kept] != b {
			t.Errorf("%s was changed, and %s is not what it was", name, kept)
		}
	}
	if changed != 4 {
		t.Errorf("%d files were changed, want 4", changed)
	}
	// A second damage of the same file keeps both copies.
	d.flip(t, checkpointName, 44, 0)
	d.check(t, true)
	if again := contents(t, d.fs); again["data/aside/checkpoint.damaged"] != before["data/checkpoint"] || again["data/aside/checkpoint.damaged.2"] == "" {
		t.Error("the first copy is gone, or there is no second one")
	}
}

// A repair that is interrupted at any call leaves a directory that the next one repairs.
func TestCheck_RepairIsInterrupted(t *testing.T) {
	base := damagedEverywhere(t)
	whole := base.copy()
	want := whole.check(t, true)
	s, lost, err := whole.open(t)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for n := 1; ; n++ {
		d := base.copy()
		calls := 0
		d.fs.Inject(func(op vfs.Op) error {
			if calls++; calls >= n {
				return errors.New("injected")
			}
			return nil
		})
		_, err := Check(CheckOptions{FS: d.fs, Dir: "data", BootID: d.o.BootID, Repair: true})
		d.fs.Inject(nil)
		d.fs = d.fs.CrashClone(rand.New(rand.NewPCG(uint64(n), 1)))
		d.o.FS = d.fs
		r := d.check(t, true)
		if !r.Sound() {
			t.Fatalf("interrupted at call %d: not repaired:%s", n, describe(r))
		}
		s, out, openErr := d.open(t)
		if openErr != nil {
			t.Fatalf("interrupted at call %d: %v", n, openErr)
		}
		d.explained(t, want, out)
		if out.count() != lost.count() {
			t.Fatalf("interrupted at call %d: %d messages lost instead of %d", n, out.count(), lost.count())
		}
		d.putAgain(t, s)
		s.Close()
		if err == nil {
			t.Logf("interrupted at %d calls", n-1)
			break
		}
	}
}

// Without checkpoints the whole log is read at a start, so damage anywhere in it is damage behind the checkpoint. Frames that make queues
// are among what is lost then.
func TestDamage_WithoutACheckpoint(t *testing.T) {
	base := newDamageDisk(t, true)
	for _, name := range []string{checkpointName, checkpointPrev} {
		if err := base.fs.Remove("data/" + name); err != nil {
			t.Fatal(err)
		}
	}
	nameless := 0
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 9))
		d := base.copy()
		segments := d.segments(t)
		what := fmt.Sprintf("seed %d:", seed)
		for i := range 1 + rng.IntN(3) {
			name := segments[rng.IntN(len(segments)-1)]
			at := rng.Int64N(d.size(t, name))
			if i == 0 && seed%3 == 0 {
				name, at = segments[0], rng.Int64N(200) // where the queues are made
			}
			n := min(1+int64(rng.ExpFloat64()*60), d.size(t, name)-at)
			what += fmt.Sprintf(" %s[%d:%d]", name, at, at+n)
			d.change(t, name, func(b []byte) []byte { clear(b[at : at+n]); return b })
		}
		r := d.check(t, true)
		s, out, err := d.open(t)
		if err != nil {
			t.Fatalf("%s: %v%s", what, err, describe(r))
		}
		if !r.Sound() {
			t.Fatalf("%s: opened, but:%s", what, describe(r))
		}
		for key := range out.lost {
			if topic, partition := splitKey(key); s.Queue([]byte(topic), partition) == nil {
				nameless++
				delete(out.lost, key)
			}
		}
		d.explained(t, r, out)
		d.putAgain(t, s)
		s.Close()
	}
	if nameless == 0 {
		t.Error("no queue has lost its name")
	}
}

func TestDump_ShowsEveryMessage(t *testing.T) {
	d := newDamageDisk(t, false)
	seen, hidden, kinds := 0, 0, map[string]int{}
	pos := int64(0)
	err := Dump(DumpOptions{FS: d.fs, Dir: "data", Data: true}, func(f DumpedFrame) error {
		if f.Position < pos {
			t.Errorf("position %d after %d", f.Position, pos)
		}
		pos = f.Position + f.Size
		kinds[f.Kind]++
		for _, m := range f.Messages {
			if f.Kind == "hidden" {
				hidden++
				continue
			}
			seen++
			if want := d.want[fmt.Sprintf("%s-%d", f.Topic, f.Partition)][m.Offset]; !bytes.Equal(m.Data, []byte(want)) || m.Damaged {
				t.Errorf("%s-%d at %d: %q, put %q", f.Topic, f.Partition, m.Offset, m.Data, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for _, m := range d.want {
		messages += len(m)
	}
	if seen+hidden != messages || kinds["queue"] != 3 || kinds["publish"] != 1 || kinds["offset"] != 4 {
		t.Errorf("%d messages and %d hidden ones, want %d; kinds %v", seen, hidden, messages, kinds)
	}
}

func TestDump_SelectsAndStops(t *testing.T) {
	d := newDamageDisk(t, true)
	segments := d.segments(t)
	d.flip(t, segments[1], 100, 0)
	frames, damaged := 0, 0
	err := Dump(DumpOptions{FS: d.fs, Dir: "data", Topic: "b", Partitions: []int32{1}}, func(f DumpedFrame) error {
		switch {
		case f.Kind == "damaged":
			damaged++
		case f.Kind == "publish":
		case f.Topic != "b":
			t.Errorf("a frame of %s", f.Topic)
		}
		frames++
		return nil
	})
	if err != nil || frames < 10 || damaged != 1 {
		t.Errorf("%d frames, %d damaged, %v", frames, damaged, err)
	}
	stop := errors.New("stop")
	frames = 0
	if err := Dump(DumpOptions{FS: d.fs, Dir: "data", From: 5000, To: 6000}, func(f DumpedFrame) error {
		frames++
		if f.Position+f.Size <= 5000 || f.Position >= 6000 {
			t.Errorf("a frame at %d", f.Position)
		}
		if frames == 3 {
			return stop
		}
		return nil
	}); err != stop {
		t.Errorf("dump: %v, want the error of the function", err)
	}
}
