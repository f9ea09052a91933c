package store

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// TestRewrite_ScanOfNumbers: behind a damaged header of a rewritten segment the next frame is looked for in what messages contain, and many
// numbers could be positions there. Comparing a checksum of megabytes for each of them would take hours.
func TestRewrite_ScanOfNumbers(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys, Rules{FlushMessages: 1000, SegmentSize: 1 << 30})
	o.LogSegmentSize, o.HotBytes = 32<<20, 1
	s := mustOpen(t, o)
	queues := []*Queue{mustQueue(t, s, "numbers", 0), mustQueue(t, s, "numbers", 1)}
	body := make([]byte, 200<<10)
	for i := 4; i+8 <= len(body); i += 8 { // where frames are aligned
		binary.LittleEndian.PutUint64(body[i:], 16<<20) // a position in the segment, and a size that it has room for
	}
	for n := 0; s.Stats().Segments < 4; n++ {
		var b Batch
		b.Add(queues[n%2], 0, body)
		if _, err := s.Append(&b); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the sealing of all segments", s.sealedUpTo)
	g := s.segmentList()[0]
	if err := s.rewriteSegment(g, func(int64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rot(t, fsys, g.name, 2) // the size of the first frame
	began := time.Now()
	r, err := Check(CheckOptions{FS: fsys, Dir: o.Dir, BootID: o.BootID})
	if err != nil {
		t.Fatal(err)
	}
	if len(damages(r)) != 1 || damages(r)[0].Bytes > 256<<10 {
		t.Fatalf("one damaged frame: %s", describe(r))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Fatalf("the check took %s", took)
	}
}
