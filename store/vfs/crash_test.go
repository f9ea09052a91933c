package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// crashes counts what is found in a file after power cuts; "-" is a missing file.
func crashes(t *testing.T, m *Mem, name string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for seed := range uint64(1000) {
		b, err := m.CrashClone(rand.New(rand.NewPCG(seed, 0))).ReadFile(name)
		switch {
		case err == nil:
			found[string(b)]++
		case errors.Is(err, fs.ErrNotExist):
			found["-"]++
		default:
			t.Fatal(err)
		}
	}
	return found
}

func wantFound(t *testing.T, m *Mem, name string, want ...string) {
	t.Helper()
	found := crashes(t, m, name)
	for _, w := range want {
		if found[w] == 0 {
			t.Errorf("%s is never %.40q after a power cut", name, w)
		}
		delete(found, w)
	}
	for other, n := range found {
		t.Errorf("%s is %.40q after %d power cuts", name, other, n)
	}
}

func TestCrashClone_KeepsWhatWasSynced(t *testing.T) {
	m := NewMem()
	file := create(t, m, "a", "abc")
	wantFound(t, m, "a", "-", "", "a", "ab", "abc", "\x00\x00\x00", "\x00\x00", "\x00", "a\x00\x00", "ab\x00",
		"\x00b", "\x00bc", "\x00\x00c", "a\x00")
	check(t, file.Sync())
	wantFound(t, m, "a", "-", "abc")
	check(t, m.SyncDir("."))
	wantFound(t, m, "a", "abc")
	wantContent(t, m.CrashClone(rand.New(rand.NewPCG(1, 1))), "a", "abc")
	wantContent(t, m, "a", "abc")
}

func TestCrashClone_TearsPagesThatWereNotSynced(t *testing.T) {
	m := NewMem()
	file := create(t, m, "a", strings.Repeat("o", 3*pageSize))
	check(t, file.Sync())
	check(t, m.SyncDir("."))
	writeAt(t, file, strings.Repeat("n", 2*pageSize), pageSize)
	var kept, lost, torn, apart int
	for content := range crashes(t, m, "a") {
		if len(content) != 3*pageSize || strings.Trim(content[:pageSize], "o") != "" || strings.Trim(content, "on") != "" {
			t.Fatalf("a synced page changed: %.20q", content)
		}
		first, second := content[pageSize:2*pageSize], content[2*pageSize:]
		for _, page := range []string{first, second} {
			switch strings.Count(page, "n") {
			case 0:
				lost++
			case pageSize:
				kept++
			default:
				torn++
			}
		}
		if strings.Count(first, "n") == 0 && strings.Count(second, "n") == pageSize {
			apart++
		}
	}
	if kept == 0 || lost == 0 || torn == 0 || apart == 0 {
		t.Fatalf("pages kept %d, lost %d, torn %d; later one kept alone %d: each must happen", kept, lost, torn, apart)
	}
}

func TestCrashClone_CutsAreThereOrNot(t *testing.T) {
	m := NewMem()
	file := create(t, m, "a", "abcdef")
	check(t, file.Sync())
	check(t, m.SyncDir("."))
	check(t, file.Truncate(2))
	wantFound(t, m, "a", "abcdef", "ab")
	check(t, file.Truncate(4))
	// What was cut may be there again only together with the old size.
	wantFound(t, m, "a", "abcdef", "ab", "ab\x00", "ab\x00\x00")
	check(t, file.Sync())
	wantFound(t, m, "a", "ab\x00\x00")
}

func TestCrashClone_ReplacingAFileNeedsBothSyncs(t *testing.T) {
	replace := func(syncFile, syncDir bool) *Mem {
		m := NewMem()
		file := create(t, m, "a", "old")
		check(t, file.Sync())
		check(t, m.SyncDir("."))
		file = create(t, m, "a.new", "n")
		if syncFile {
			check(t, file.Sync())
		}
		check(t, file.Close())
		check(t, m.Rename("a.new", "a"))
		if syncDir {
			check(t, m.SyncDir("."))
		}
		return m
	}
	wantFound(t, replace(true, true), "a", "n")
	wantFound(t, replace(true, true), "a.new", "-")
	wantFound(t, replace(true, false), "a", "old", "n")
	wantFound(t, replace(true, false), "a.new", "-", "n")
	wantFound(t, replace(false, true), "a", "", "n", "\x00")
}

func TestCrashClone_RemovedNamesMayComeBack(t *testing.T) {
	m := NewMem()
	check(t, m.MkdirAll("d"))
	file := create(t, m, "d/a", "abc")
	check(t, file.Sync())
	check(t, m.SyncDir("d"))
	check(t, m.Remove("d/a"))
	wantFound(t, m, "d/a", "-", "abc")
	check(t, m.Remove("d"))
	wantFound(t, m, "d/a", "-", "abc")
}

func TestSyncDir_TakesAlongWhatARenameBuildsOn(t *testing.T) {
	m := NewMem()
	check(t, m.MkdirAll("from"))
	check(t, m.MkdirAll("to"))
	file := create(t, m, "from/a", "abc")
	check(t, file.Sync())
	check(t, m.Rename("from/a", "to/a"))
	check(t, m.SyncDir("from"))
	wantFound(t, m, "to/a", "-", "abc")
	check(t, m.SyncDir("to"))
	wantFound(t, m, "to/a", "abc")
	wantFound(t, m, "from/a", "-")
}

func TestCrashClone_LocksAreFreeAndNothingIsShared(t *testing.T) {
	m := NewMem()
	_, err := m.Lock("lock")
	check(t, err)
	file := create(t, m, "a", "abc")
	check(t, file.Sync())
	check(t, m.SyncDir("."))
	for _, c := range []*Mem{m.CrashClone(rand.New(rand.NewPCG(1, 1))), m.KillClone()} {
		if _, err := c.Lock("lock"); err != nil {
			t.Fatal(err)
		}
		writeAt(t, file, "xyz", 0)
		wantContent(t, c, "a", "abc")
		writeAt(t, file, "abc", 0)
	}
}

func TestKillClone_KeepsEverythingButMakesNothingSafe(t *testing.T) {
	m := NewMem()
	file := create(t, m, "a", "abc")
	check(t, file.Sync())
	check(t, m.SyncDir("."))
	writeAt(t, file, "xyz", 0)
	check(t, create(t, m, "b", "").Close())
	killed := m.KillClone()
	wantContent(t, killed, "a", "xyz")
	wantContent(t, killed, "b", "")
	found := crashes(t, killed, "a")
	if found["abc"] == 0 || found["xyz"] == 0 {
		t.Fatalf("found %v after a kill and a power cut, want abc and xyz among them", found)
	}
	wantFound(t, killed, "b", "-", "")
	file, err := killed.Open("a")
	check(t, err)
	check(t, file.Sync())
	wantFound(t, killed, "a", "xyz")
}

// Against a model: after a power cut each byte is one that it was since the last Sync, and the size too.
func TestCrashClone_FindsOnlyWhatWasThereSinceTheLastSync(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		m := NewMem()
		file := create(t, m, "a", "")
		check(t, m.SyncDir("."))
		history := [][]byte{{}} // contents since the last Sync, that one included
		now := []byte{}
		for range rng.IntN(40) {
			switch rng.IntN(5) {
			case 0:
				check(t, file.Sync())
				history = nil
			case 1:
				size := rng.IntN(3 * pageSize)
				check(t, file.Truncate(int64(size)))
				now = slices.Clone(append(now, make([]byte, 3*pageSize)...)[:size])
			default:
				offset := rng.IntN(3 * pageSize)
				b := bytes.Repeat([]byte{byte(rng.IntN(255) + 1)}, rng.IntN(pageSize)+1)
				writeAt(t, file, string(b), int64(offset))
				grown := make([]byte, max(len(now), offset+len(b)))
				copy(grown, now)
				copy(grown[offset:], b)
				now = grown
			}
			history = append(history, now)
			for range 5 {
				wantFromHistory(t, m.CrashClone(rng), history, fmt.Sprintf("seed %d", seed))
			}
		}
	}
}

func wantFromHistory(t *testing.T, m *Mem, history [][]byte, where string) {
	t.Helper()
	got, err := m.ReadFile("a")
	check(t, err)
	smallest, largest := len(history[0]), len(history[0])
	for _, h := range history {
		smallest, largest = min(smallest, len(h)), max(largest, len(h))
	}
	if len(got) < smallest || len(got) > largest {
		t.Fatalf("%s: size %d was never there, %d to %d were", where, len(got), smallest, largest)
	}
	if len(history) == 1 && !bytes.Equal(got, history[0]) {
		t.Fatalf("%s: the synced content changed", where)
	}
	for i, b := range got {
		if !slices.ContainsFunc(history, func(h []byte) bool { return i < len(h) && h[i] == b || i >= len(h) && b == 0 }) {
			t.Fatalf("%s: byte %d is %d, which it never was", where, i, b)
		}
	}
}
