package store

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

func TestCheck_SoundDirectories(t *testing.T) {
	for _, closed := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed=%v", closed), func(t *testing.T) {
			d := newDamageDisk(t, closed)
			r := d.check(t, false)
			if len(damages(r)) > 0 || closed && len(r.Findings) > 0 {
				t.Errorf("findings in a sound directory:%s", describe(r))
			}
			messages := 0
			for _, m := range d.want {
				messages += len(m)
			}
			if r.Messages != int64(messages) || r.Queues != 3 || r.Segments < 5 {
				t.Errorf("report %+v, want %d messages in 3 queues", r, messages)
			}
		})
	}
}

// open opens the directory and reads it.
func (d *damageDisk) open(t *testing.T) (*Store, outcome, error) {
	t.Helper()
	s, err := Open(d.o)
	if err != nil {
		return nil, outcome{}, err
	}
	out := d.read(t, s)
	return s, out, nil
}

// harm is a way in which bytes of a file go bad.
type harm struct {
	name string
	do   func(b []byte, at int64) []byte
}

var harms = []harm{
	{"flip", func(b []byte, at int64) []byte { b[at] ^= 1 << (at % 8); return b }},
	{"zero", func(b []byte, at int64) []byte { clear(b[at:min(at+200, int64(len(b)))]); return b }},
	{"cut", func(b []byte, at int64) []byte { return b[:at] }},
}

func TestDamage_InASealedSegment(t *testing.T) {
	base := newDamageDisk(t, true)
	harmless, tries := 0, 0
	segments := base.segments(t)
	for _, name := range segments[:len(segments)-1] {
		size := base.size(t, name)
		for at := int64(0); at < size; at += 61 {
			for _, h := range harms {
				d := base.copy()
				d.change(t, name, func(b []byte) []byte { return h.do(b, at) })
				tries++
				r := d.check(t, false)
				s, out, err := d.open(t)
				if err != nil {
					t.Fatalf("%s at %d of %s: a sealed segment keeps the broker from starting: %v", h.name, at, name, err)
				}
				d.putAgain(t, s)
				s.Close()
				if r.Sound() {
					if out.count() > 0 {
						t.Fatalf("%s at %d of %s: %d messages lost, nothing found", h.name, at, name, out.count())
					}
					harmless++
					continue
				}
				d.explained(t, r, out)
				d.exact(t, r, out)
				if h.name == "flip" && out.count() > 6 {
					t.Fatalf("flip at %d of %s: %d messages lost", at, name, out.count())
				}
			}
		}
	}
	if harmless > tries/10 {
		t.Errorf("%d of %d tries harmed nothing", harmless, tries)
	}
	t.Logf("%d tries, %d in padding or without effect", tries, harmless)
}

func TestDamage_BehindTheCheckpointWhereItWasFlushed(t *testing.T) {
	base := newDamageDisk(t, false)
	segments := base.segments(t)
	name := segments[len(segments)-1]
	frames := framesOf(t, base, name)
	last := frames[len(frames)-1]
	tries := 0
	for at := int64(0); at < last.Offset; at += 7 {
		for _, h := range harms[:2] {
			d := base.copy()
			d.change(t, name, func(b []byte) []byte {
				if h.name == "zero" {
					clear(b[at:min(at+200, last.Offset)])
					return b
				}
				return h.do(b, at)
			})
			tries++
			r := d.check(t, false)
			s, out, err := d.open(t)
			if err == nil {
				// Padding, or a place that was zero before.
				s.Close()
				if out.count() > 0 || !r.Sound() {
					t.Fatalf("%s at %d: opened, %d messages lost:%s", h.name, at, out.count(), describe(r))
				}
				continue
			}
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.File != filepath.Join("data", name) || corrupt.Offset > at || r.Sound() {
				t.Fatalf("%s at %d: open: %v; sound %v", h.name, at, err, r.Sound())
			}
			d.o.ReadOnly = true
			s, _, err = d.open(t)
			if err != nil {
				t.Fatalf("%s at %d: open read-only: %v", h.name, at, err)
			}
			s.Close()
			d.o.ReadOnly = false
			r = d.check(t, true)
			if !r.Sound() {
				t.Fatalf("%s at %d: not repaired:%s", h.name, at, describe(r))
			}
			s, out, err = d.open(t)
			if err != nil {
				t.Fatalf("%s at %d: open after the repair: %v%s", h.name, at, err, describe(r))
			}
			d.explained(t, r, out)
			d.exact(t, r, out)
			d.putAgain(t, s)
			s.Close()
		}
	}
	t.Logf("%d tries in %d frames", tries, len(frames))
}

// framesOf dumps the frames of one segment.
func framesOf(t testing.TB, d *damageDisk, name string) []DumpedFrame {
	t.Helper()
	var list []DumpedFrame
	err := Dump(DumpOptions{FS: d.fs, Dir: "data"}, func(f DumpedFrame) error {
		if f.File == filepath.Join("data", name) {
			list = append(list, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A consumer that asks for more than is left gets what is left of a segment that somebody cut, not only the error.
func TestDamage_ACutSegmentGivesWhatIsLeft(t *testing.T) {
	d := newDamageDisk(t, true).copy()
	name := d.segments(t)[1]
	frames := framesOf(t, d, name)
	d.change(t, name, func(b []byte) []byte { return b[:frames[len(frames)/2].Offset] })
	s := mustOpen(t, d.o)
	for _, f := range frames[:len(frames)/2] {
		if f.Kind != "message" {
			continue
		}
		q := s.Queue([]byte(f.Topic), f.Partition)
		if b, err := q.Read(nil, f.Logical, 1<<20, 1<<20, false); err != nil || len(b) < int(f.Size)-frameHeader {
			t.Errorf("%s-%d at %d: %d bytes, %v, want at least the %d of its frame", f.Topic, f.Partition, f.Logical, len(b), err, f.Size-frameHeader)
		}
	}
}

func TestDamage_InAnIndex(t *testing.T) {
	base := newDamageDisk(t, true)
	segments := base.segments(t)
	name := indexName(segments[2])
	for at := int64(0); at < base.size(t, name); at += 1 + at/64 {
		d := base.copy()
		d.flip(t, name, at, int(at%8))
		r := d.check(t, false)
		if r.Sound() || r.Findings[0].Area != AreaIndex || r.Findings[0].File != filepath.Join("data", name) {
			t.Fatalf("flip at %d: not found:%s", at, describe(r))
		}
		s, out, err := d.open(t)
		if err != nil || out.count() > 0 {
			t.Fatalf("flip at %d: %v, %d messages lost", at, err, out.count())
		}
		s.Close()
		if r := d.check(t, false); !r.Sound() {
			t.Fatalf("flip at %d: the store has not healed the index:%s", at, describe(r))
		}
		d = base.copy()
		d.flip(t, name, at, int(at%8))
		if r := d.check(t, true); !r.Sound() {
			t.Fatalf("flip at %d: not repaired:%s", at, describe(r))
		}
		if r := d.check(t, false); len(r.Findings) > 0 {
			t.Fatalf("flip at %d: after the repair:%s", at, describe(r))
		}
	}
}

// An index that rots while it is in use, after it was compared with its checksum: no wrong byte is served, and nothing falls over.
func TestDamage_InAnIndexThatIsInUse(t *testing.T) {
	d := newDamageDisk(t, true).copy()
	s := mustOpen(t, d.o)
	if out := d.read(t, s); out.count() > 0 {
		t.Fatalf("%d messages lost before any damage", out.count())
	}
	unserved := 0
	segments := d.segments(t)
	for _, name := range segments[:len(segments)-1] {
		index := indexName(name)
		for at := int64(indexHeader); at < d.size(t, index); at += 29 {
			bit := int(at % 8)
			d.flip(t, index, at, bit)
			unserved += d.read(t, s).count()
			d.flip(t, index, at, bit)
		}
	}
	if unserved == 0 {
		t.Error("the damage had no effect: nothing was tested")
	}
	if out := d.read(t, s); out.count() > 0 {
		t.Errorf("%d messages lost after the damage was undone", out.count())
	}
}

func TestDamage_IndexAndSegment(t *testing.T) {
	base := newDamageDisk(t, true)
	segments := base.segments(t)
	name := segments[2]
	for at := int64(0); at < base.size(t, name); at += 97 {
		d := base.copy()
		d.flip(t, name, at, 3)
		d.flip(t, indexName(name), base.size(t, indexName(name))-1, 0)
		r := d.check(t, true)
		s, out, err := d.open(t)
		if err != nil {
			t.Fatalf("flip at %d: %v", at, err)
		}
		d.explained(t, r, out)
		d.exact(t, r, out)
		s.Close()
	}
}

func TestDamage_InCheckpoints(t *testing.T) {
	for _, closed := range []bool{true, false} {
		base := newDamageDisk(t, closed)
		for _, name := range []string{checkpointName, checkpointPrev} {
			for at := int64(0); at < base.size(t, name); at += 29 {
				d := base.copy()
				d.flip(t, name, at, int(at%8))
				r := d.check(t, false)
				if r.Sound() || damages(r)[0].Area != AreaCheckpoint || len(damages(r)) != 1 {
					t.Fatalf("flip at %d of %s:%s", at, name, describe(r))
				}
				repaired := d.copy()
				s, out, err := d.open(t)
				if err != nil || out.count() > 0 {
					t.Fatalf("flip at %d of %s: %v, %d messages lost", at, name, err, out.count())
				}
				d.putAgain(t, s)
				s.Close()
				if r := repaired.check(t, true); !r.Sound() {
					t.Fatalf("flip at %d of %s: not repaired:%s", at, name, describe(r))
				}
				s, out, err = repaired.open(t)
				if err != nil || out.count() > 0 {
					t.Fatalf("flip at %d of %s, after the repair: %v, %d messages lost", at, name, err, out.count())
				}
				s.Close()
			}
		}
	}
}

func TestDamage_InBothCheckpoints(t *testing.T) {
	d := newDamageDisk(t, true).copy()
	d.flip(t, checkpointName, 30, 1)
	d.flip(t, checkpointPrev, 30, 1)
	if _, _, err := d.open(t); err == nil {
		t.Fatal("opened without a sound checkpoint")
	}
	r := d.check(t, true)
	if !r.Sound() {
		t.Fatalf("not repaired:%s", describe(r))
	}
	s, out, err := d.open(t)
	if err != nil || out.count() > 0 {
		t.Fatalf("after the repair: %v, %d messages lost", err, out.count())
	}
	d.putAgain(t, s)
	s.Close()
	if names, _ := d.fs.List("data/aside"); len(names) != 2 {
		t.Errorf("aside holds %v, want both checkpoints", names)
	}
}

func TestDamage_InTheIdentity(t *testing.T) {
	base := newDamageDisk(t, true)
	before, err := base.fs.ReadFile("data/identity")
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseIdentity("identity", before)
	if err != nil {
		t.Fatal(err)
	}
	for at := range int64(len(before)) {
		for bit := range 8 {
			d := base.copy()
			d.flip(t, "identity", at, bit)
			b, _ := d.fs.ReadFile("data/identity")
			if id, err := parseIdentity("identity", b); err == nil {
				if id != want {
					t.Fatalf("flip of bit %d at %d: identity %+v, was %+v", bit, at, id, want)
				}
				continue
			}
			if bit != 0 {
				continue
			}
			if _, _, err := d.open(t); err == nil {
				t.Fatalf("flip at %d: opened", at)
			}
			if r := d.check(t, true); !r.Sound() {
				t.Fatalf("flip at %d: not repaired:%s", at, describe(r))
			}
			s, out, err := d.open(t)
			if err != nil || out.count() > 0 {
				t.Fatalf("flip at %d, after the repair: %v, %d messages lost", at, err, out.count())
			}
			s.Close()
		}
	}
}

func TestDamage_ASegmentIsMissing(t *testing.T) {
	for _, closed := range []bool{true, false} {
		base := newDamageDisk(t, closed)
		for i, name := range base.segments(t) {
			for _, withIndex := range []bool{true, false} {
				what := fmt.Sprintf("closed=%v, segment %d, index %v", closed, i, withIndex)
				d := base.copy()
				if err := d.fs.Remove(filepath.Join("data", name)); err != nil {
					t.Fatal(err)
				}
				if withIndex {
					if err := d.fs.Remove(filepath.Join("data", indexName(name))); err != nil && !isNotExist(err) {
						t.Fatal(err)
					}
				}
				if s, out, err := d.open(t); err == nil {
					s.Close()
					t.Fatalf("%s: opened with %d messages lost", what, out.count())
				}
				r := d.check(t, true)
				if !r.Sound() {
					t.Fatalf("%s: not repaired:%s", what, describe(r))
				}
				s, out, err := d.open(t)
				if err != nil {
					t.Fatalf("%s: after the repair: %v%s", what, err, describe(r))
				}
				if i+1 < len(base.segments(t)) {
					d.explained(t, r, out) // nobody can know what was in the last one
				}
				d.putAgain(t, s)
				s.Close()
			}
		}
	}
}

var damageSeeds = flag.Uint64("damage.seeds", 300, "how many random damages TestDamage_Random tries")

// Several places at once, anywhere but in the last frames, where a torn end cannot be told from damage.
func TestDamage_Random(t *testing.T) {
	bases := []*damageDisk{newDamageDisk(t, true), newDamageDisk(t, false)}
	refused := 0
	for seed := range *damageSeeds {
		rng := rand.New(rand.NewPCG(seed, 5))
		base := bases[rng.IntN(2)]
		d := base.copy()
		segments := d.segments(t)
		what := fmt.Sprintf("seed %d:", seed)
		for range 1 + rng.IntN(4) {
			name := segments[rng.IntN(len(segments))]
			end := d.size(t, name)
			if name == segments[len(segments)-1] {
				frames := framesOf(t, base, name)
				if len(frames) < 2 {
					continue
				}
				end = frames[len(frames)-1].Offset
			}
			if rng.IntN(3) == 0 {
				name = indexName(name)
				var err error
				if end, err = d.fs.Stat(filepath.Join("data", name)); err != nil {
					continue
				}
			}
			at := rng.Int64N(end)
			n := min(1+int64(rng.ExpFloat64()*60), end-at)
			zero := rng.IntN(2) == 0
			what += fmt.Sprintf(" %s[%d:%d] zero %v;", name, at, at+n, zero)
			d.change(t, name, func(b []byte) []byte {
				for i := at; i < at+n; i++ {
					if b[i] = byte(rng.Uint32()); zero {
						b[i] = 0
					}
				}
				return b
			})
		}
		r := d.check(t, true)
		s, out, err := d.open(t)
		if err != nil {
			if r.Sound() {
				t.Fatalf("%s called sound, but: %v%s", what, err, describe(r))
			}
			refused++
			continue
		}
		d.explained(t, r, out)
		d.putAgain(t, s)
		s.Close()
	}
	if refused > 0 {
		t.Errorf("%d of %d could not be opened after the repair", refused, *damageSeeds)
	}
}
