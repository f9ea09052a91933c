package store

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// archiveStore has a queue of twelve messages in virtual segments of three, which all expire into the archive.
func archiveStore(t *testing.T) (*vfs.Mem, *Store, *Queue) {
	t.Helper()
	fsys := vfs.NewMem()
	s := mustOpen(t, testOptions(fsys, Rules{SegmentSize: 100, Retention: Policy{Archive: true, MaxAge: time.Minute}}))
	q := mustQueue(t, s, "t", 3)
	for _, body := range numbered(10, 22) {
		put(t, s, q, body) // each in a frame of its own
	}
	return fsys, s, q
}

// spoil flips a bit of the body of the n-th run of a queue.
func spoil(t *testing.T, s *Store, q *Queue, n int) {
	t.Helper()
	list := runs{mem: s.open.runs.of(q.id)}
	e := list.at(n)
	f, err := s.fs.Open(segmentName("data", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{'X'}, e.pos+int64(e.bytes)-1); err != nil {
		t.Fatal(err)
	}
}

func TestArchive_GoesAroundADamagedRun(t *testing.T) {
	fsys, s, q := archiveStore(t)
	var want []byte
	for offset := int64(0); offset < 111; offset += 37 {
		record, err := q.Read(nil, offset, 37, 37, false)
		if err != nil {
			t.Fatal(err)
		}
		if offset != 37 {
			want = append(want, record...)
		}
	}
	spoil(t, s, q, 1)
	if err := s.Expire(s.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if st := q.Stat(); st.Min != st.End {
		t.Fatalf("%+v, want all of it gone", st)
	}
	got, err := fsys.ReadFile("data/archive/t-3/00000000000000000000.meta.arc")
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("archived %q, %v, want the two sound messages", got, err)
	}
	raw, err := fsys.ReadFile("data/archive/t-3/00000000000000000037.damaged")
	if err != nil || len(raw) != frameHeader+37 || !bytes.HasSuffix(raw, []byte("message number 1X")) {
		t.Fatalf("kept %q, %v, want the damaged frame", raw, err)
	}
	if st := s.Stats(); st.ArchivedDamaged != 1 || st.RetentionStuck != 0 {
		t.Fatalf("counted %d damaged, %d stuck", st.ArchivedDamaged, st.RetentionStuck)
	}
}

// What cannot be read at all may be readable again later, so it is not let go. It shows in the figures until it is.
func TestArchive_WaitsForWhatCannotBeRead(t *testing.T) {
	_, s, q := archiveStore(t)
	g := s.open
	s.mu.Lock()
	limit := g.limit
	g.limit = g.base + 200 // as a file that somebody cut
	s.mu.Unlock()
	for range 2 {
		if err := s.Expire(s.now().Add(time.Hour)); err == nil {
			t.Fatal("archived what cannot be read")
		}
		if st := s.Stats(); st.RetentionStuck != 1 || q.Stat().Min != 0 {
			t.Fatalf("%d stuck, minimum %d", st.RetentionStuck, q.Stat().Min)
		}
	}
	s.mu.Lock()
	g.limit = limit
	s.mu.Unlock()
	if err := s.Expire(s.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.RetentionStuck != 0 || q.Stat().Min != q.Stat().End {
		t.Fatalf("%d stuck, %+v", st.RetentionStuck, q.Stat())
	}
	if names, _ := s.fs.List(filepath.Join("data", "archive", "t-3")); len(names) != 4 {
		t.Fatalf("the archive holds %v", names)
	}
}
