package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// onBoth runs a test against the real file system and against its twin, so that neither promises what the other breaks.
func onBoth(t *testing.T, test func(t *testing.T, f FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, OS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := NewMem()
		check(t, m.MkdirAll("/data"))
		test(t, m, "/data")
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, f FS, name, content string) File {
	t.Helper()
	file, err := f.Create(name)
	check(t, err)
	if content != "" {
		writeAt(t, file, content, 0)
	}
	return file
}

func writeAt(t *testing.T, file File, content string, offset int64) {
	t.Helper()
	n, err := file.WriteAt([]byte(content), offset)
	if err != nil || n != len(content) {
		t.Fatalf("WriteAt of %d bytes = %d, %v", len(content), n, err)
	}
}

func wantContent(t *testing.T, f FS, name, want string) {
	t.Helper()
	got, err := f.ReadFile(name)
	check(t, err)
	if string(got) != want {
		t.Fatalf("%s holds %.80q, want %.80q", name, got, want)
	}
}

func TestFS_NamesAndDirectories(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		check(t, f.MkdirAll(dir+"/a/b"))
		check(t, f.MkdirAll(dir+"/a/b"))
		file := create(t, f, dir+"/a/2", "two")
		check(t, file.Close())
		check(t, create(t, f, dir+"/a/1", "one").Close())
		names, err := f.List(dir + "/a")
		check(t, err)
		if want := []string{"1", "2", "b"}; !slices.Equal(names, want) {
			t.Fatalf("List = %v, want %v", names, want)
		}
		if _, err := f.Create(dir + "/a/1"); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("Create of an existing name: %v", err)
		}
		check(t, f.Rename(dir+"/a/1", dir+"/a/2"))
		wantContent(t, f, dir+"/a/2", "one")
		size, err := f.Stat(dir + "/a/2")
		if err != nil || size != 3 {
			t.Fatalf("Stat = %d, %v", size, err)
		}
		check(t, f.SyncDir(dir+"/a"))
		if err := f.Remove(dir + "/a"); err == nil {
			t.Fatal("a directory that is not empty was removed")
		}
		check(t, f.Remove(dir+"/a/2"))
		check(t, f.Remove(dir+"/a/b"))
		check(t, f.Remove(dir+"/a"))
		missing := map[string]error{
			"Remove":    f.Remove(dir + "/a"),
			"Rename":    f.Rename(dir+"/a", dir+"/b"),
			"SyncDir":   f.SyncDir(dir + "/a"),
			"Rename to": f.Rename(dir+"/a/1", dir+"/a/2"),
			"Stat":      second(f.Stat(dir + "/a")),
			"Open":      second(f.Open(dir + "/a")),
			"OpenRead":  second(f.OpenRead(dir + "/a")),
			"ReadFile":  second(f.ReadFile(dir + "/a")),
			"List":      second(f.List(dir + "/a")),
			"Create":    second(f.Create(dir + "/a/1")),
			"Lock":      second(f.Lock(dir + "/a/lock")),
			"Free":      third(f.Free(dir + "/a")),
		}
		for call, err := range missing {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s of a missing name: %v", call, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }

func TestFS_MkdirAllRefusesAFileInTheWay(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		check(t, create(t, f, dir+"/a", "").Close())
		for _, name := range []string{"/a", "/a/b"} {
			if err := f.MkdirAll(dir + name); err == nil {
				t.Errorf("MkdirAll of %s worked", name)
			}
		}
	})
}

func TestFile_AfterCloseAndReadOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		file := create(t, f, dir+"/a", "abc")
		check(t, file.Close())
		closed := map[string]error{
			"ReadAt":   second(file.ReadAt(make([]byte, 1), 0)),
			"WriteAt":  second(file.WriteAt([]byte("x"), 0)),
			"Sync":     file.Sync(),
			"Allocate": file.Allocate(10),
			"Truncate": file.Truncate(0),
			"Size":     second(file.Size()),
			"Map":      second(file.Map(1)),
			"Close":    file.Close(),
		}
		for call, err := range closed {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s after Close: %v", call, err)
			}
		}
		read, err := f.OpenRead(dir + "/a")
		check(t, err)
		if _, err := read.WriteAt([]byte("x"), 0); err == nil {
			t.Error("a file opened for reading was written")
		}
		if err := read.Truncate(0); err == nil {
			t.Error("a file opened for reading was cut")
		}
		check(t, read.Sync())
		check(t, read.Close())
		wantContent(t, f, dir+"/a", "abc")
	})
}

func TestFile_ReadAtTellsTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		file := create(t, f, dir+"/a", "abc")
		defer file.Close()
		b := make([]byte, 4)
		if n, err := file.ReadAt(b, 1); n != 2 || err != io.EOF {
			t.Errorf("read over the end = %d, %v", n, err)
		}
		if n, err := file.ReadAt(b, 3); n != 0 || err != io.EOF {
			t.Errorf("read at the end = %d, %v", n, err)
		}
		if n, err := file.ReadAt(b[:0], 3); n != 0 || err != nil {
			t.Errorf("read of nothing = %d, %v", n, err)
		}
		if _, err := file.ReadAt(b, -1); err == nil || err == io.EOF {
			t.Errorf("read before the beginning: %v", err)
		}
		if _, err := file.WriteAt(b, -1); err == nil {
			t.Error("a write before the beginning worked")
		}
	})
}

func TestFile_AllocateNeverShrinks(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		file := create(t, f, dir+"/a", "abc")
		defer file.Close()
		check(t, file.Allocate(5000))
		check(t, file.Allocate(100))
		wantContent(t, f, dir+"/a", "abc"+strings.Repeat("\x00", 4997))
		check(t, file.Truncate(1))
		check(t, file.Truncate(3))
		wantContent(t, f, dir+"/a", "a\x00\x00")
		if err := file.Allocate(0); err == nil {
			t.Error("an allocation of nothing worked")
		}
	})
}

func TestMapping_ShowsLaterWrites(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		file := create(t, f, dir+"/a", "abc")
		check(t, file.Allocate(10_000))
		m, err := file.Map(10_000)
		check(t, err)
		writeAt(t, file, "first", 5_000)
		check(t, file.Allocate(1<<20)) // outgrows what a small file was given
		writeAt(t, file, "second", 6_000)
		other, err := f.Open(dir + "/a")
		check(t, err)
		writeAt(t, other, "third", 9_997)
		check(t, other.Close())
		check(t, file.Close())
		check(t, f.Remove(dir+"/a"))
		m.Advise(4_097, 1<<40)
		m.Advise(1<<40, 1)
		m.Advise(-1, 0)
		m.Load(4_097, 1<<40)
		m.Load(-1, 0)
		for offset, want := range map[int]string{0: "abc", 5_000: "first", 6_000: "second", 9_997: "thi"} {
			if got := string(m.Bytes()[offset : offset+len(want)]); got != want {
				t.Errorf("mapping has %q at %d, want %q", got, offset, want)
			}
		}
		if len(m.Bytes()) != 10_000 {
			t.Errorf("mapping has %d bytes", len(m.Bytes()))
		}
		check(t, m.Unmap())
		if err := m.Unmap(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second Unmap: %v", err)
		}
	})
}

func TestMap_RefusesWhatTheFileHasNot(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		file := create(t, f, dir+"/a", "abc")
		defer file.Close()
		for _, length := range []int64{-1, 0, 4} {
			if _, err := file.Map(length); err == nil {
				t.Errorf("Map of %d bytes worked", length)
			}
		}
	})
}

func TestLock_KeepsOthersOutUntilItIsClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		lock, err := f.Lock(dir + "/lock")
		check(t, err)
		_, err = f.Lock(dir + "/lock")
		var locked *LockedError
		if !errors.As(err, &locked) || locked.PID != os.Getpid() {
			t.Fatalf("second Lock: %v, want one that names process %d", err, os.Getpid())
		}
		if want := fmt.Sprintf("held by process %d", os.Getpid()); !strings.Contains(err.Error(), want) {
			t.Fatalf("second Lock: %q, want %q in it", err, want)
		}
		wantContent(t, f, dir+"/lock", fmt.Sprint(os.Getpid()))
		check(t, lock.Close())
		if err := lock.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("second Close: %v", err)
		}
		lock, err = f.Lock(dir + "/lock")
		check(t, err)
		check(t, lock.Close())
	})
}

func TestFree_IsWithinTheTotal(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		free, total, err := f.Free(dir)
		if err != nil || free <= 0 || total < free {
			t.Fatalf("Free = %d of %d, %v", free, total, err)
		}
	})
}

// A reader of a mapping is kept from unwritten bytes by a watermark only, as in the store: the race detector watches.
func TestMapping_IsReadWhileTheFileIsWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, f FS, dir string) {
		const record, records = 100, 500
		file := create(t, f, dir+"/a", "")
		defer file.Close()
		check(t, file.Allocate(record*records))
		m, err := file.Map(record * records)
		check(t, err)
		var written atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range byte(255) {
				if _, err := file.WriteAt(bytes.Repeat([]byte{i + 1}, record), int64(i)*record); err != nil {
					t.Error(err)
				}
				written.Store((int64(i) + 1) * record)
				if i%16 == 0 && file.Sync() != nil {
					t.Error("sync failed")
				}
			}
		})
		wg.Go(func() {
			for read := 0; read < 255*record; {
				end := int(written.Load())
				for ; read < end; read++ {
					if got, want := m.Bytes()[read], byte(read/record+1); got != want {
						t.Errorf("byte %d is %d, want %d", read, got, want)
						return
					}
				}
			}
		})
		wg.Wait()
		check(t, m.Unmap())
	})
}

// The twin is compared with the real file system over random calls.
func TestMem_DoesWhatTheOSDoes(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		mem, dir := NewMem(), t.TempDir()
		a, b := &traced{f: OS(), dir: dir}, &traced{f: mem, dir: "/"}
		for i := range 300 {
			what, name, to, n := rng.IntN(9), names[rng.IntN(3)], names[rng.IntN(3)], rng.Int64N(20_000)
			got, want := b.do(what, name, to, n), a.do(what, name, to, n)
			if got != want {
				t.Fatalf("seed %d, call %d (%d %s %s %d): %s, want %s", seed, i, what, name, to, n, got, want)
			}
		}
		a.close(t)
		b.close(t)
	}
}

var names = []string{"x", "y", "z"}

// traced does calls by number and tells their outcome without the texts of errors.
type traced struct {
	f    FS
	dir  string
	open []File
	maps []Mapping
}

func (tr *traced) do(what int, name, to string, n int64) string {
	name, to = path.Join(tr.dir, name), path.Join(tr.dir, to)
	var out any
	var err error
	var file File
	if len(tr.open) > 0 {
		file = tr.open[int(n)%len(tr.open)]
	}
	switch {
	case what == 0:
		if file, err = tr.f.Create(name); err == nil {
			tr.open = append(tr.open, file)
		}
	case what == 1:
		if file, err = tr.f.Open(name); err == nil {
			tr.open = append(tr.open, file)
		}
	case what == 2 && n%4 == 0:
		err = tr.f.Remove(name)
	case what == 3:
		err = tr.f.Rename(name, to)
	case what == 4:
		out, err = tr.f.ReadFile(name)
	case what == 5 && file != nil:
		out, err = file.WriteAt(bytes.Repeat([]byte{byte(n)}, int(n%9_000)), n)
	case what == 6 && file != nil:
		err = file.Allocate(n + 1)
	case what == 7 && file != nil && n%3 == 0 && len(tr.maps) == 0:
		err = file.Truncate(n)
	case what == 8 && file != nil:
		var m Mapping
		if m, err = file.Map(n); err == nil {
			tr.maps = append(tr.maps, m)
		}
	}
	list, listErr := tr.f.List(tr.dir)
	var shown uint32
	for _, m := range tr.maps {
		shown = crc32.Update(shown, crc32.IEEETable, m.Bytes())
	}
	if b, ok := out.([]byte); ok {
		out = crc32.ChecksumIEEE(b)
	}
	return fmt.Sprintf("%v %v %v %v %v %x", out, err == nil, errors.Is(err, fs.ErrNotExist), list, listErr, shown)
}

func (tr *traced) close(t *testing.T) {
	t.Helper()
	for _, m := range tr.maps {
		check(t, m.Unmap())
	}
	for _, file := range tr.open {
		check(t, file.Close())
	}
}
