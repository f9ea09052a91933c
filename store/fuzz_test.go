package store

import (
	"errors"
	"hash/crc32"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

// fuzzSalt is that of the inputs.
const fuzzSalt = salt(0x5eed5a17)

// fuzzDir is a data directory with one file in it.
func fuzzDir(t testing.TB, name string, data []byte) Options {
	t.Helper()
	fsys := vfs.NewMem()
	o := testOptions(fsys, groupCommit)
	if err := fsys.MkdirAll("data/log"); err != nil {
		t.Fatal(err)
	}
	id, err := identity{Format: formatVersion, Replica: "00", Salt: fuzzSalt.String()}.encode()
	if err != nil {
		t.Fatal(err)
	}
	for n, b := range map[string][]byte{"data/identity": id, name: data} {
		if err := writeFile(fsys, n, b); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// resealed makes the frames of a segment sound again, as far as their sizes lead to one another, so that the contents are judged and not
// only the checksums.
func resealed(b []byte, x salt) []byte {
	b = append([]byte{}, b...)
	for pos := int64(0); pos+frameHeader <= int64(len(b)); {
		size := int64(le.Uint32(b[pos:]))
		if size < frameHeader || pos+size > int64(len(b)) {
			break
		}
		b[pos+9] = formatVersion
		le.PutUint64(b[pos+24:], uint64(pos))
		le.PutUint32(b[pos+4:], frameCRC(b[pos:pos+size], x))
		pos += align(size)
	}
	return b
}

// use reads all queues of a store and puts something into each.
func use(t testing.TB, s *Store) {
	t.Helper()
	for _, q := range s.Queues() {
		st := q.Stat()
		for offset, n := st.Min, 0; n < 100; n++ {
			b, err := q.Read(nil, offset, 4096, 4096, false)
			var moved *MovedError
			if errors.As(err, &moved) && moved.Offset > offset {
				offset = moved.Offset
				continue
			}
			if err != nil || len(b) == 0 {
				break
			}
			offset += int64(wholeRecords(b))
		}
		q.SegmentStart(st.End)
		q.SeekTime(0)
		var b Batch
		b.Add(q, 0, []byte("more"))
		s.Append(&b)
	}
}

// Whatever is in a segment: the store opens and serves what is sound, or says what is wrong. The offline check agrees, and its repair
// leads to a directory that opens.
func FuzzSegmentRecover(f *testing.F) {
	t := f
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	put(t, s, q, "hello", "world")
	hide(t, s, 1, q, "later")
	if _, err := s.Publish(1); err != nil {
		f.Fatal(err)
	}
	hide(t, s, 2, mustQueue(t, s, "t", 3), "never")
	if _, err := s.Discard(2); err != nil {
		f.Fatal(err)
	}
	if _, err := s.CommitOffset("t", "group", 0, 25); err != nil {
		f.Fatal(err)
	}
	put(t, s, q, "end")
	b, err := s.fs.ReadFile(segmentName("data", 0))
	if err != nil {
		f.Fatal(err)
	}
	b = resealed(b[:align(s.appended)], fuzzSalt)
	f.Add(b, false)
	f.Add(b, true)
	f.Add(lostFrame(0, 96, 1, 0, []goOn{{1, 100}, {2, 0}}, fuzzSalt), false)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal {
			data = resealed(data, fuzzSalt)
		}
		o := fuzzDir(t, segmentName("data", 0), data)
		fsys := o.FS.(*vfs.Mem)
		checkOptions := CheckOptions{FS: fsys, Dir: "data", BootID: o.BootID}
		r, err := Check(checkOptions)
		if err != nil {
			t.Fatalf("check: %v", err)
		}
		repaired := fsys.KillClone()
		s, err := Open(o)
		if err == nil {
			use(t, s)
			s.Close()
		}
		if err != nil && r.Sound() {
			t.Fatalf("open: %v, but the check says:%s", err, describe(r))
		}
		o.FS, checkOptions.FS, checkOptions.Repair = repaired, repaired, true
		if r, err = Check(checkOptions); err != nil {
			t.Fatalf("check and repair: %v", err)
		}
		if s, err = Open(o); err == nil {
			use(t, s)
			s.Close()
		}
		if err != nil && r.Sound() {
			t.Fatalf("open after the repair: %v, but the check says:%s", err, describe(r))
		}
	})
}

// Whatever is in a checkpoint: it is refused, or it means the same when it is written again.
func FuzzCheckpoint(f *testing.F) {
	for _, clean := range []bool{false, true} {
		d := newDamageDisk(f, clean)
		b, err := d.fs.ReadFile("data/checkpoint")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal && len(data) > 12 {
			data = append([]byte{}, data...)
			copy(data, checkpointMark)
			le.PutUint32(data[8:], fuzzSalt.seal(crc32.Checksum(data[12:], castagnoli)))
		}
		c, err := parseCheckpoint("checkpoint", data, fuzzSalt)
		var corrupt *CorruptError
		if err != nil {
			if !errors.As(err, &corrupt) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again := (&checker{salt: fuzzSalt}).encode(c)
		c2, err := parseCheckpoint("checkpoint", again, fuzzSalt)
		if err != nil {
			t.Fatalf("written again, it is refused: %v", err)
		}
		if c2.pos != c.pos || len(c2.queues) != len(c.queues) || len(c2.offsets) != len(c.offsets) || c2.lastID != c.lastID {
			t.Fatalf("written again, it is %+v, was %+v", c2, c)
		}
		o := fuzzDir(t, "data/checkpoint", data)
		r, err := Check(CheckOptions{FS: o.FS, Dir: "data", BootID: o.BootID})
		if err != nil {
			t.Fatalf("check: %v", err)
		}
		s, err := Open(o)
		if err == nil {
			use(t, s)
			s.Close()
		}
		if err == nil && !r.Sound() {
			t.Fatalf("opened, but the check says:%s", describe(r))
		}
	})
}
