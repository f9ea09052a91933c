package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

// An index that is not in memory is read where the queue lies, and not whole: a reader of one queue of a thousand looks at one index for each segment,
// of some megabytes. Where files lie in memory anyway nothing can be told, and the first figure says so.
func TestIndex_AColdLookReadsLittle(t *testing.T) {
	var list []queueRuns
	pos := int64(frameHeader)
	for q := range uint32(1000) {
		one := queueRuns{queue: q + 1}
		for i := range 100 {
			one.runs = append(one.runs, entry{logical: int64(i) * 100, pos: pos, time: int64(i), bytes: 100, count: 1})
			pos += align(100 + frameHeader)
		}
		list = append(list, one)
	}
	name := filepath.Join(t.TempDir(), "index")
	b := encodeIndex(0, list, false, 5)
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := vfs.OS().Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	f.Uncache()
	x, err := openIndex(vfs.OS(), name, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer x.mapping.Unmap()
	opened := x.mapping.Cached(0, int64(len(b)))
	found := 0
	if err := x.look(500, func(r *runs) { found = r.len() }); err != nil || found != 100 {
		t.Fatalf("%d runs, %v", found, err)
	}
	read := x.mapping.Cached(0, int64(len(b)))
	t.Logf("of %d bytes %d are read to open it, %d to look a queue up", len(b), opened, read)
	if opened < int64(len(b)) && read > int64(len(b))/8 {
		t.Errorf("a look at one queue of 1000 reads %d of %d bytes", read, len(b))
	}
}
