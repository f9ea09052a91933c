package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/chaos"
)

// notedDisk is a disk as a killed broker leaves it some time after its last put. It has ten messages of one queue.
func notedDisk(t *testing.T) *damageDisk {
	t.Helper()
	d := &damageDisk{fs: vfs.NewMem(), want: map[string]map[int64]string{}, ends: map[string]int64{}}
	d.o = testOptions(d.fs, groupCommit)
	s := mustOpen(t, d.o)
	q := mustQueue(t, s, "t", 0)
	for i, offset := range put(t, s, q, numbered(0, 10)...) {
		d.note(q, offset, fmt.Sprintf("message number %d", i))
	}
	d.ends["t-0"] = q.Stat().End
	end := s.flushed.Load()
	waitFor(t, "the file flushed to say so", func() bool {
		noted, err := readFlushed(d.fs, s.path(flushedName), s.salt)
		return err == nil && noted == end
	})
	return d.copy()
}

// An end of the log that is lost at the boundary of a frame, with nothing behind it, is damage as soon as the file flushed knows of it.
func TestFlushed_AnEndLostAtAFrameBoundary(t *testing.T) {
	base := notedDisk(t)
	name := base.segments(t)[0]
	frames := framesOf(t, base, name)
	for _, f := range frames[1:] {
		for _, boot := range []string{damageBoot, "boot-2"} {
			for _, cut := range []bool{true, false} {
				what := fmt.Sprintf("lost from %d on, %s, cut %v", f.Offset, boot, cut)
				d := base.copy()
				d.o.BootID = boot
				d.change(t, name, func(b []byte) []byte {
					if cut {
						return b[:f.Offset]
					}
					clear(b[f.Offset:])
					return b
				})
				var corrupt *CorruptError
				if _, _, err := d.open(t); !errors.As(err, &corrupt) || corrupt.File != filepath.Join("data", name) || corrupt.Offset != f.Offset {
					t.Fatalf("%s: open: %v", what, err)
				}
				r := d.check(t, false)
				if bad := damages(r); len(bad) != 1 || bad[0].Offset != f.Offset || bad[0].Area != AreaFrame {
					t.Fatalf("%s: findings:%s", what, describe(r))
				}
				if r = d.check(t, true); !r.Sound() {
					t.Fatalf("%s: not repaired:%s", what, describe(r))
				}
				s, out, err := d.open(t)
				if err != nil {
					t.Fatalf("%s: after the repair: %v", what, err)
				}
				d.explained(t, r, out)
				d.putAgain(t, s)
				s.Close()
			}
		}
	}
}

// The last segment is gone, and the log behind the one before it with it.
func TestFlushed_TheLastSegmentIsGone(t *testing.T) {
	d := newDamageDisk(t, false)
	probe := d.copy()
	s := mustOpen(t, probe.o)
	note := encodeFlushed(s.open.base, s.salt)
	s.Close()
	if err := writeFile(d.fs, "data/"+flushedName, note); err != nil {
		t.Fatal(err)
	}
	segments := d.segments(t)
	if err := d.fs.Remove(filepath.Join("data", segments[len(segments)-1])); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.open(t); err == nil {
		t.Fatal("opened without the last segment")
	}
	if r := d.check(t, true); !r.Sound() {
		t.Fatalf("not repaired:%s", describe(r))
	}
	s, _, err := d.open(t)
	if err != nil {
		t.Fatal(err)
	}
	d.putAgain(t, s)
	s.Close()
}

// Power cuts at any moment of a run that is long enough for the file to be written again and again: it never says more than is there.
func TestFlushed_SaysNoMoreThanAPowerCutLeaves(t *testing.T) {
	seed := chaos.Seed(t)
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	o.Rules = rulesByTopic(map[string]Rules{"sure": groupCommit, "quick": {FlushMessages: 50, FlushInterval: 30 * time.Millisecond}})
	s := mustOpen(t, o)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			for _, topic := range []string{"sure", "quick"} {
				q, err := s.CreateQueue(protocol.Topic(topic), 0)
				if err == nil {
					var b Batch
					b.Add(q, 0, fmt.Appendf(nil, "message number %d", n))
					_, err = s.Append(&b)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 3))
	cuts, said := 0, map[int64]bool{}
	over := time.After(chaos.Pick(2500*time.Millisecond, 20*time.Second))
	for running := true; running; cuts++ {
		select {
		case <-over:
			running = false
		case <-time.After(time.Duration(rng.IntN(20)) * time.Millisecond):
		}
		clone := o
		clone.FS, clone.BootID = fsys.CrashClone(rng), "boot-2"
		if noted, err := readFlushed(clone.FS, "data/"+flushedName, s.salt); err == nil {
			said[noted] = true
		}
		after, err := Open(clone)
		if err != nil {
			t.Fatalf("power cut %d: %v", cuts, err)
		}
		after.Close()
	}
	close(stop)
	<-stopped
	if len(said) < 3 {
		t.Errorf("the file said %d things in %d power cuts: too few to show anything", len(said), cuts)
	}
}

// A file that says nothing is no reason not to start, and is written again.
func TestFlushed_TheFileItselfIsDamaged(t *testing.T) {
	base := notedDisk(t)
	want, err := base.fs.ReadFile("data/" + flushedName)
	if err != nil {
		t.Fatal(err)
	}
	for at := range flushedSize + 1 {
		d := base.copy()
		d.change(t, flushedName, func(b []byte) []byte {
			if at == flushedSize {
				return b[:7]
			}
			b[at] ^= 1
			return b
		})
		r := d.check(t, false)
		if !r.Sound() || r.Findings[0].Area != AreaFlushed {
			t.Fatalf("byte %d: findings:%s", at, describe(r))
		}
		s, out, err := d.open(t)
		if err != nil || out.count() > 0 {
			t.Fatalf("byte %d: %v, %d messages lost", at, err, out.count())
		}
		waitFor(t, "the file to be written again", func() bool {
			got, err := d.fs.ReadFile("data/" + flushedName)
			return err == nil && bytes.Equal(got, want)
		})
		s.Close()
	}
}
