package store

import (
	"fmt"
	"testing"

	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/chaos"
)

// The log cut at each byte of its last three messages, in a file that is shorter and in one that is zero from there on.
func TestRecovery_TornTailAtEachByteOfTheLastMessages(t *testing.T) {
	d0 := &damageDisk{fs: vfs.NewMem(), want: map[string]map[int64]string{}, ends: map[string]int64{}}
	d0.o = testOptions(d0.fs, groupCommit)
	s := mustOpen(t, d0.o)
	q := mustQueue(t, s, "t", 0)
	for i, offset := range put(t, s, q, numbered(0, 10)...) {
		d0.note(q, offset, fmt.Sprintf("message number %d", i))
	}
	d0.fs = d0.fs.KillClone()
	name := d0.segments(t)[0]
	frames := framesOf(t, d0, name)
	first, end := frames[len(frames)-3].Offset, frames[len(frames)-1].Offset+frames[len(frames)-1].Size
	tries := 0
	for at := first; at <= end; at++ {
		for _, boot := range []string{damageBoot, "boot-2"} {
			for _, cut := range []bool{true, false} {
				d := d0.copy()
				d.o.BootID = boot
				d.change(t, name, func(b []byte) []byte {
					if cut {
						return b[:at]
					}
					clear(b[at:])
					return b
				})
				tries++
				r := d.check(t, false)
				if !r.Sound() {
					t.Fatalf("cut at %d: a torn tail was called damage:%s", at, describe(r))
				}
				s, out, err := d.open(t)
				if err != nil {
					t.Fatalf("cut at %d: %v", at, err)
				}
				whole := 7
				for _, f := range frames[len(frames)-3:] {
					if f.Offset+f.Size <= at {
						whole++
					}
				}
				if out.served != whole {
					t.Fatalf("cut at %d: %d messages served, want %d", at, out.served, whole)
				}
				torn := s.Stats().TornBytes
				s.Close()
				names, _ := d.fs.List("data/aside")
				if (torn > 0) != (len(names) > 0) {
					t.Fatalf("cut at %d: %d bytes cut, aside holds %v", at, torn, names)
				}
			}
		}
	}
	chaos.Figure(t, 9, "cuts of the last 3 messages, in memory", "%d, all recovered to a message boundary", tries)
}
