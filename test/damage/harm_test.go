package damage

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A harm is one damage to a directory.
type harm struct {
	what  string
	files []string // one of these the check has to name
	do    func(t *testing.T, dir string)
}

const page = 4096

// edit changes the bytes of a file in place, so that a broker that has it mapped sees it. It fails the test if nothing changes.
func edit(t *testing.T, dir, name string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after := change(bytes.Clone(before))
	if bytes.Equal(before, after) {
		t.Fatalf("%s: nothing was damaged", name)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(after, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(after))); err != nil {
		t.Fatal(err)
	}
}

func flip(name string, at int64, bit int) harm {
	return harm{what: what("flip", name, at), files: []string{name}, do: func(t *testing.T, dir string) {
		edit(t, dir, name, func(b []byte) []byte { b[at] ^= 1 << bit; return b })
	}}
}

// zero clears bytes, as a page that was never written.
func zero(name string, at, n int64) harm {
	return harm{what: what("zero", name, at), files: []string{name}, do: func(t *testing.T, dir string) {
		edit(t, dir, name, func(b []byte) []byte { clear(b[at:min(at+n, int64(len(b)))]); return b })
	}}
}

func cut(name string, at int64) harm {
	return harm{what: what("cut", name, at), files: []string{name}, do: func(t *testing.T, dir string) {
		edit(t, dir, name, func(b []byte) []byte { return b[:at] })
	}}
}

func what(how, name string, at int64) string {
	return how + " " + name + " at " + strconv.FormatInt(at, 10)
}

// remove takes a file away. Others may be named for it, or none if the broker makes it again by itself.
func remove(name string) harm {
	return harm{what: "remove " + name, files: []string{name}, do: func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}}
}

// swap gives two files each other's names.
func swap(a, b string) harm {
	return harm{what: "swap " + a + " and " + b, files: []string{a, b}, do: func(t *testing.T, dir string) {
		first, second, aside := filepath.Join(dir, a), filepath.Join(dir, b), filepath.Join(dir, "aside-for-a-swap")
		for _, move := range [][2]string{{first, aside}, {second, first}, {aside, second}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Fatal(err)
			}
		}
	}}
}

// foreign puts the file of another directory in the place of one.
func foreign(name string, other *origin, otherName string) harm {
	return harm{what: name + " from another directory", files: []string{name}, do: func(t *testing.T, dir string) {
		b, err := os.ReadFile(filepath.Join(other.dir, otherName))
		if err != nil {
			t.Fatal(err)
		}
		edit(t, dir, name, func([]byte) []byte { return b })
	}}
}

// rename changes a directory entry.
func rename(from, to string) harm {
	return harm{what: "rename " + from + " to " + to, files: []string{from, to}, do: func(t *testing.T, dir string) {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}}
}

// duplicate makes a second entry with the content of a file.
func duplicate(from, to string) harm {
	return harm{what: "duplicate " + from + " as " + to, files: []string{from, to}, do: func(t *testing.T, dir string) {
		b, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}}
}

// A region is a kind of place, with harms drawn from it.
type region struct {
	name string
	draw func(rng *rand.Rand) harm
}

// regions are those of a directory. Everything in it was flushed.
func regions(t *testing.T, rng *rand.Rand, o, other *origin) []region {
	segments := o.segments(t)
	sealed, tail := segments[:len(segments)-1], segments[len(segments)-1]
	pick := func(rng *rand.Rand) string { return sealed[rng.IntN(len(sealed))] }
	size := func(name string) int64 {
		info, err := os.Stat(filepath.Join(o.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	anywhere := func(rng *rand.Rand, name string, from, to int64) harm {
		at := from + rng.Int64N(to-from)
		switch rng.IntN(3) {
		case 0:
			return cut(name, at)
		case 1:
			return zero(name, from+(at-from)/512*512, min(page, to-from)) // some of it is no zero yet
		}
		return flip(name, at, rng.IntN(8))
	}
	list := []region{
		{"segment, frame header", func(rng *rand.Rand) harm {
			name := pick(rng)
			f := o.frames[name][rng.IntN(len(o.frames[name]))]
			if rng.IntN(3) == 0 {
				return zero(name, f.Offset, 48)
			}
			return flip(name, f.Offset+rng.Int64N(48), rng.IntN(8))
		}},
		{"segment, body", func(rng *rand.Rand) harm {
			name := pick(rng)
			for {
				f := o.frames[name][rng.IntN(len(o.frames[name]))]
				if f.Size <= 48 {
					continue
				}
				at := f.Offset + 48 + rng.Int64N(f.Size-48)
				if rng.IntN(3) == 0 {
					return zero(name, at/page*page, page)
				}
				return flip(name, at, rng.IntN(8))
			}
		}},
		{"segment, cut", func(rng *rand.Rand) harm { name := pick(rng); return cut(name, rng.Int64N(size(name))) }},
		{"index, directory", func(rng *rand.Rand) harm {
			return flip(indexOf(pick(rng)), rng.Int64N(32+16*int64(len(queues))), rng.IntN(8))
		}},
		{"index, entries", func(rng *rand.Rand) harm {
			name := indexOf(pick(rng))
			return anywhere(rng, name, 32+16*int64(len(queues)), size(name))
		}},
		{"tail", func(rng *rand.Rand) harm {
			frames := o.frames[tail]
			last := frames[len(frames)-1]
			return anywhere(rng, tail, 0, last.Offset+last.Size)
		}},
		{"tail, from a frame boundary on", func(rng *rand.Rand) harm {
			frames := o.frames[tail]
			from := frames[rng.IntN(len(frames))].Offset
			if rng.IntN(2) == 0 {
				return cut(tail, from)
			}
			return zero(tail, from, 1<<30)
		}},
		{"checkpoint", func(rng *rand.Rand) harm { return anywhere(rng, "checkpoint", 0, size("checkpoint")) }},
		{"checkpoint.prev", func(rng *rand.Rand) harm { return anywhere(rng, "checkpoint.prev", 0, size("checkpoint.prev")) }},
		{"identity", func(rng *rand.Rand) harm { return anywhere(rng, "identity", 0, size("identity")-1) }},
		{"flushed", func(rng *rand.Rand) harm { return flip("flushed", rng.Int64N(size("flushed")), rng.IntN(8)) }},
	}
	missing := []string{"checkpoint", "identity", indexOf(sealed[0]), tail}
	missing = append(missing, sealed...)
	shuffle(rng, missing)
	list = append(list, region{"missing file", func(rng *rand.Rand) harm {
		name := missing[0]
		missing = append(missing[1:], name) // each in turn
		return remove(name)
	}})
	far := "log/00000000000099999999.log"
	swaps := []harm{
		swap(sealed[0], sealed[1]), swap(indexOf(sealed[0]), indexOf(sealed[1])), foreign(sealed[1], other, other.segments(t)[1]),
		swap(sealed[0], tail), foreign("identity", other, "identity"), foreign("checkpoint", other, "checkpoint"), foreign("flushed", other, "flushed"),
		swap("checkpoint", "identity"), swap(sealed[0], indexOf(sealed[0])),
	}
	shuffle(rng, swaps)
	list = append(list, region{"swapped files", func(*rand.Rand) harm {
		h := swaps[0]
		swaps = append(swaps[1:], h)
		return h
	}})
	entries := []harm{
		rename(sealed[1], far), rename(tail, far), rename(sealed[0], strings.Replace(sealed[0], "0.log", "8.log", 1)),
		duplicate(sealed[0], far), duplicate(tail, strings.Replace(tail, ".log", ".log.1", 1)), rename(indexOf(sealed[0]), "log/00000000000099999999.idx"),
	}
	shuffle(rng, entries)
	return append(list, region{"directory entries", func(*rand.Rand) harm {
		h := entries[0]
		entries = append(entries[1:], h)
		return h
	}})
}

func shuffle[T any](rng *rand.Rand, list []T) {
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// named says whether a finding is about one of the files that were harmed.
func (h harm) named(files []string) bool {
	return slices.ContainsFunc(files, func(f string) bool {
		return slices.ContainsFunc(h.files, func(own string) bool { return strings.HasSuffix(f, own) })
	})
}
