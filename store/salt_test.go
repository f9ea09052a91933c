package store

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// forgery is a disk on which a client has put a message that holds frames, each right for the position at which it comes to lie in the
// log, and on which the frame of that message is damaged.
func forgery(t *testing.T, damage func(b []byte, at int64)) *damageDisk {
	t.Helper()
	d := &damageDisk{fs: vfs.NewMem(), want: map[string]map[int64]string{}, ends: map[string]int64{}}
	d.o = testOptions(d.fs, groupCommit)
	s := mustOpen(t, d.o)
	q := mustQueue(t, s, "t", 0)
	for i, offset := range put(t, s, q, numbered(0, 4)...) {
		d.note(q, offset, fmt.Sprintf("message number %d", i))
	}
	at := s.appended
	first := align(at + frameHeader + protocol.RecordHeader) // where the first forged frame begins
	body := bytes.Repeat([]byte{'-'}, int(first-at-frameHeader-protocol.RecordHeader))
	for n := range 3 {
		run := protocol.AppendMessage(nil, 1, 0, fmt.Appendf(nil, "forged %d", n))
		frame := append(make([]byte, frameHeader), run...)
		pos := first + int64(n)*align(int64(len(frame)))
		putHeader(frame, header{kind: kindMessage, count: 1, epoch: 1, queue: q.id, pos: pos, logical: q.end, time: 1}, 0)
		body = append(body, frame...)
		body = append(body, zeros[:align(int64(len(frame)))-int64(len(frame))]...)
	}
	offset := put(t, s, q, string(body))[0]
	d.note(q, offset, string(body))
	d.ends["t-0"] = q.Stat().End
	d.fs = d.fs.KillClone()
	d.o.FS = d.fs
	d.change(t, d.segments(t)[0], func(b []byte) []byte { damage(b, at); return b })
	return d
}

// A client that knows positions in the log puts frames into a message. When the frame around them is damaged, they are not taken for
// frames: not by a start, which calls it the torn end that it may be, nor by a repair.
func TestSalt_FramesInAMessageAreNoFrames(t *testing.T) {
	for name, damage := range map[string]func(b []byte, at int64){
		"the size":   func(b []byte, at int64) { b[at+1] ^= 0x40 },
		"the kind":   func(b []byte, at int64) { b[at+8] ^= 1 },
		"all of it":  func(b []byte, at int64) { clear(b[at : at+frameHeader]) },
		"the length": func(b []byte, at int64) { b[at+frameHeader+3] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			d := forgery(t, damage)
			r := d.check(t, false)
			if tail := r.Findings[len(r.Findings)-1]; !r.Sound() || tail.Area != AreaTail {
				t.Fatalf("findings:%s", describe(r))
			}
			if r := d.copy().check(t, true); r.Messages != 4 {
				t.Fatalf("%d messages after a repair, want 4:%s", r.Messages, describe(r))
			}
			s, out, err := d.open(t)
			if err != nil || out.count() != 1 {
				t.Fatalf("open: %v, %d messages lost, want the one with the frames in it", err, out.count())
			}
			s.Close()
		})
	}
}

// With a forged salt the same frames would count: the test above tests something.
func TestSalt_TheForgeryIsGood(t *testing.T) {
	d := forgery(t, func(b []byte, at int64) { clear(b[at : at+frameHeader]) })
	g, err := openSegment(d.fs, "data", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	if n, _ := survivors([]*segment{g}, 0); n != 3 {
		t.Errorf("%d frames with the salt 0, want the 3 forged ones", n)
	}
}

// Files of another directory, with the same names, sizes and positions.
func TestSalt_FilesOfAnotherDirectory(t *testing.T) {
	base, other := newDamageDisk(t, true), newDamageDisk(t, true)
	segments := base.segments(t)
	for _, name := range []string{segments[1], indexName(segments[1]), checkpointName, checkpointPrev, identityName} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			foreign, err := other.fs.ReadFile(filepath.Join("data", name))
			if err != nil {
				t.Fatal(err)
			}
			d := base.copy()
			d.change(t, name, func([]byte) []byte { return foreign })
			r := d.check(t, false)
			if r.Sound() || filepath.Base(damages(r)[0].File) != filepath.Base(name) {
				t.Fatalf("not found:%s", describe(r))
			}
			if r = d.copy().check(t, true); r.Sound() == (name == segments[1]) {
				t.Fatalf("repaired %v:%s", r.Sound(), describe(r))
			}
			s, out, err := d.open(t)
			if name == identityName {
				if err == nil {
					t.Fatal("opened with the identity of another directory")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			d.explained(t, r, out)
			s.Close()
		})
	}
}

// The salt is in the other files too, so a lost identity costs nothing.
func TestSalt_OutlivesTheIdentity(t *testing.T) {
	for _, lost := range [][]string{{identityName}, {identityName, checkpointName, checkpointPrev}} {
		d := newDamageDisk(t, true).copy()
		for _, name := range lost {
			if err := d.fs.Remove(filepath.Join("data", name)); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := d.open(t); err == nil {
			t.Fatalf("without %v: opened as if the directory were new", lost)
		}
		if r := d.check(t, true); !r.Sound() {
			t.Fatalf("without %v: not repaired:%s", lost, describe(r))
		}
		s, out, err := d.open(t)
		if err != nil || out.count() > 0 {
			t.Fatalf("without %v, after the repair: %v, %d messages lost", lost, err, out.count())
		}
		d.putAgain(t, s)
		s.Close()
	}
}
