//go:build linux

package ship

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestShip_FollowsRenamedFilesThatThePatternMatchesToo(t *testing.T) {
	r := newRig(t, "a.log*", nil)
	r.write("a.log", "1\n2\n")
	r.begin()
	r.want("1", "2")
	r.write("a.log", "3\n")
	r.rename("a.log", "a.log.1")
	r.write("a.log.1", "4\n") // whoever writes has not opened the new one yet
	r.want("1", "2", "3", "4")
	r.write("a.log", "5\n")
	r.want("1", "2", "3", "4", "5")
	r.rename("a.log.1", "a.log.2")
	r.rename("a.log", "a.log.1")
	r.write("a.log", "6\n")
	r.want("1", "2", "3", "4", "5", "6")
	r.end()
	r.begin()
	r.write("a.log", "7\n")
	r.want("1", "2", "3", "4", "5", "6", "7")
}

func TestShip_FindsWhatWasRotatedWhileNobodyLooked(t *testing.T) {
	for _, names := range [][]string{
		{"a.log.3", "a.log.2", "a.log.1"},
		{"a.log-20261119", "a.log-20261120", "a.log-20261121"},
		{"a-2026-11-19.log", "a-2026-11-20.log", "a-2026-11-21.log"},
		{"a.log.2026-11-21-15", "a.log.2026-11-21-16", "a.log.2026-11-21-17"},
	} {
		t.Run(names[0], func(t *testing.T) {
			r := newRig(t, "a.log", nil)
			r.write("a.log.9", "before the first start\n")
			r.write("a.log", "1\n")
			r.begin()
			r.want("1")
			r.end()
			r.write("a.log", "2\n")
			r.rename("a.log", names[0])
			r.write(names[1], "3\n")
			r.write(names[2], "4\n")
			r.write("a.log", "5\n")
			r.begin()
			r.want("1", "2", "3", "4", "5")
		})
	}
}

func TestShip_ReadsARemovedFileToItsEnd(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.config.Rate = 64 << 10
	lines := numbered(1, 1500) // a while, at this rate
	r.write("a.log", text(lines)+"no newline")
	r.begin()
	r.file("a.log", func(f FileStatus) bool { return f.Lag > 0 })
	r.remove("a.log")
	r.write("a.log", "new\n")
	r.eventually("all lines", func() bool { return len(r.lines()) == len(lines)+2 })
	got := r.lines()
	// The end of the removed file is taken for a line only when it is certain that nothing comes.
	slices.Sort(got)
	want := append(lines, "new", "no newline")
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("stored %q", got)
	}
	r.eventually("the removed file to be let go", func() bool { return len(r.agent.Status().Inputs[0].Files) == 1 })
}

func TestShip_CopiedAndTruncated(t *testing.T) {
	first, second := numbered(1, 50), numbered(51, 60)
	truncate := func(r *rig, copyTo string) {
		content, err := os.ReadFile(r.path("a.log"))
		if err == nil && copyTo != "" {
			err = os.WriteFile(r.path(copyTo), content, 0o644)
		}
		if err == nil {
			err = os.Truncate(r.path("a.log"), 0)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	t.Run("while it is followed", func(t *testing.T) {
		r := newRig(t, "a.log", nil)
		r.write("a.log", text(first))
		r.begin()
		r.want(first...)
		r.write("a.log", text(second))
		truncate(r, "a.log.1")
		r.write("a.log", "new\n")
		r.want(append(append(slices.Clone(first), second...), "new")...)
		if s := r.agent.Status().Inputs[0]; s.Truncated != 1 || s.LostBytes != 0 {
			t.Errorf("counted %+v", s)
		}
	})
	t.Run("while nobody looks", func(t *testing.T) {
		r := newRig(t, "a.log*", nil)
		r.write("a.log", text(first))
		r.begin()
		r.want(first...)
		r.end()
		r.write("a.log", text(second))
		truncate(r, "a.log.1")
		r.write("a.log", text(numbered(61, 200))) // longer than what was read
		r.begin()
		r.want(slices.Concat(first, second, numbered(61, 200))...)
	})
	t.Run("without a copy", func(t *testing.T) {
		r := newRig(t, "a.log", nil)
		r.write("a.log", text(first))
		r.begin()
		r.want(first...)
		r.end()
		r.write("a.log", text(second))
		r.begin()
		r.want(slices.Concat(first, second)...)
		r.end()
		truncate(r, "")
		r.write("a.log", "new\n")
		r.begin()
		r.want(append(slices.Concat(first, second), "new")...)
	})
	t.Run("by who writes on at the old place", func(t *testing.T) {
		r := newRig(t, "a.log", nil)
		f, err := os.Create(r.path("a.log"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprint(f, text(first))
		r.begin()
		r.want(first...)
		truncate(r, "")
		fmt.Fprint(f, "behind a hole\n")
		r.want(append(slices.Clone(first), "behind a hole")...)
		if s := r.agent.Status().Inputs[0]; s.HoleBytes != int64(len(text(first))) {
			t.Errorf("%d bytes of holes, the file has %d", s.HoleBytes, len(text(first)))
		}
	})
}

// A file that was removed, whose inode may be given to the next one, or was overwritten in place while nobody looked.
func TestShip_OtherContentUnderTheSameName(t *testing.T) {
	for _, replace := range []func(*rig){
		func(r *rig) { r.remove("a.log") },
		func(r *rig) {
			if err := os.Truncate(r.path("a.log"), 0); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		r := newRig(t, "a.log", nil)
		r.write("a.log", text(numbered(1, 20)))
		r.begin()
		r.want(numbered(1, 20)...)
		r.end()
		replace(r)
		r.write("a.log", text(numbered(100, 150)))
		r.begin()
		r.want(append(numbered(1, 20), numbered(100, 150)...)...)
		r.end()
	}
}

// As by a job that writes its report anew each time, and takes as many bytes for it.
func TestShip_OverwrittenWithAsManyBytes(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.write("a.log", text(numbered(100, 120)))
	r.begin()
	r.want(numbered(100, 120)...)
	r.agent.followers[0].ask(func() { // nobody looks meanwhile
		if err := os.WriteFile(r.path("a.log"), []byte(strings.ReplaceAll(text(numbered(100, 120)), "line", "next")), 0o644); err != nil {
			t.Error(err)
		}
	})
	r.want(strings.Split(strings.TrimSpace(text(numbered(100, 120))+strings.ReplaceAll(text(numbered(100, 120)), "line", "next")), "\n")...)
}

// The first start was before the clock was set. What is rotated unseen is shipped all the same.
func TestShip_TheClockWasAheadAtTheFirstStart(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.write("a.log.7", "before the first start\n")
	r.write("a.log", "1\n")
	r.begin()
	r.want("1")
	r.end()
	c, err := readCheckpoint(r.config.Dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.Inputs[0].Since = time.Now().AddDate(10, 0, 0)
	if err := writeCheckpoint(r.config.Dir, c); err != nil {
		t.Fatal(err)
	}
	r.write("a.log", "2\n")
	r.rename("a.log", "a.log.2")
	r.write("a.log.1", "3\n")
	r.write("a.log", "4\n")
	r.begin()
	r.want("1", "2", "3", "4")
}

func TestShip_LostContentIsCounted(t *testing.T) {
	r := newRig(t, "*.log", nil)
	r.config.Rate = 3 << 20
	all := text(numbered(1, 100_000))
	r.write("a.log", all)
	r.begin()
	r.file("a.log", func(f FileStatus) bool { return f.Sent > 0 })
	if err := os.Truncate(r.path("a.log"), 0); err != nil {
		t.Fatal(err)
	}
	r.eventually("the loss", func() bool { return r.agent.Status().Inputs[0].LostFiles == 1 })
	// What was read before is stored.
	s := r.agent.Status().Inputs[0]
	if kept := int64(len(text(r.lines()))); s.Truncated != 1 || s.LostBytes == 0 || kept+s.LostBytes != int64(len(all)) {
		t.Errorf("%d bytes are stored of %d, and counted is %+v", kept, len(all), s)
	}
}

func pack(t *testing.T, path string, lines []string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, text(lines))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestShip_CompressedFiles(t *testing.T) {
	gzipped := func(in *Input) { in.Gzip = true }
	t.Run("of what was shipped", func(t *testing.T) {
		r := newRig(t, "a.log*", gzipped)
		r.write("a.log", text(numbered(1, 100)))
		r.begin()
		r.want(numbered(1, 100)...)
		r.rename("a.log", "a.log.1")
		r.write("a.log", text(numbered(101, 110)))
		r.want(numbered(1, 110)...)
		r.file("a.log.1", func(f FileStatus) bool { return f.State == stateRotated && f.Lag == 0 })
		pack(t, r.path("a.log.1.gz"), numbered(1, 100))
		r.write("a.log", text(numbered(111, 111)))
		r.want(numbered(1, 111)...)
		r.remove("a.log.1")
		r.write("a.log", text(numbered(112, 112)))
		r.want(numbered(1, 112)...)
		r.end()
		r.begin()
		r.write("a.log", text(numbered(113, 113)))
		r.want(numbered(1, 113)...)
	})
	t.Run("of what was shipped in part", func(t *testing.T) {
		r := newRig(t, "a.log", gzipped)
		r.write("a.log", text(numbered(1, 100)))
		r.begin()
		r.want(numbered(1, 100)...)
		r.end()
		r.remove("a.log")
		pack(t, r.path("a.log.1.gz"), numbered(1, 5000))
		r.write("a.log", text(numbered(5001, 5002)))
		r.begin()
		r.want(numbered(1, 5002)...)
	})
	t.Run("of what nobody has seen", func(t *testing.T) {
		r := newRig(t, "a.log", gzipped)
		r.write("a.log", text(numbered(1, 1)))
		r.begin()
		r.want(numbered(1, 1)...)
		pack(t, r.path("a.log.1.gz"), numbered(2, 3000))
		r.want(numbered(1, 3000)...)
	})
	t.Run("while it is written", func(t *testing.T) {
		r := newRig(t, "a.log", gzipped)
		r.write("a.log", text(numbered(1, 1)))
		r.begin()
		r.want(numbered(1, 1)...)
		pack(t, r.path("packed"), numbered(3, 30_000))
		whole, err := os.ReadFile(r.path("packed"))
		if err != nil {
			t.Fatal(err)
		}
		r.write("a.log.1.gz", string(whole[:len(whole)/2]))
		r.write("a.log", text(numbered(2, 2)))
		r.want(numbered(1, 2)...)
		r.write("a.log.1.gz", string(whole[len(whole)/2:]))
		r.want(numbered(1, 30_000)...)
	})
	t.Run("are left alone", func(t *testing.T) {
		r := newRig(t, "a.log*", nil)
		pack(t, r.path("a.log.1.gz"), numbered(2, 30))
		r.write("a.log", "1\n")
		r.once()
		r.want("1")
	})
}

func TestShip_ALinkThatMovesOn(t *testing.T) {
	r := newRig(t, "a.log", nil)
	link := func(to string) {
		if err := os.Symlink(to, r.path("new")); err != nil {
			t.Fatal(err)
		}
		r.rename("new", "a.log")
	}
	r.write("day1", "1\n")
	link("day1")
	r.begin()
	r.want("1")
	r.write("day1", "2\n")
	link("day2") // which is not there yet
	r.write("day2", "3\n")
	r.want("1", "2", "3")
}

func TestWrittenAs(t *testing.T) {
	cases := []struct {
		path string
		want []string
	}{
		{"/l/a.log", nil},
		{"/l/a.log.1", []string{"/l/a.log"}},
		{"/l/a.log.1.gz", []string{"/l/a.log", "/l/a.log.1"}},
		{"/l/a.log-20261121", []string{"/l/a.log"}},
		{"/l/a.log-20261121-1795253399", []string{"/l/a.log"}},
		{"/l/a.log.2026-11-21_15-00", []string{"/l/a.log"}},
		{"/l/a-2026-11-21.log", []string{"/l/a.log"}},
		{"/l/a.2026-11-21.0.log", []string{"/l/a.log"}},
		{"/l/a-2026-11-21T15-04-05.000.log", []string{"/l/a.log"}},
		{"/l/a.log.old", []string{"/l/a.log"}},
		{"/l/error.log", nil},
		{"/l/a-error.log", nil},
		{"/l/20261121", nil},
		{"/l/.1", nil},
	}
	for _, c := range cases {
		if got := writtenAs(c.path); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
}

// Of more removed files than are remembered, the last ones are: the next compressed file is one of them.
func TestRemember_TheLastRemovedFiles(t *testing.T) {
	f := &follower{input: &Input{Gzip: true}, passed: map[identity]passed{}}
	looked := &file{path: "bytes of it are looked for", gone: true, size: 2}
	f.orphans = append(f.orphans, looked)
	for i := range mostRemember + 10 {
		f.remember(&file{path: strconv.Itoa(i), gone: true, size: leastCopied, next: leastCopied, acked: leastCopied})
	}
	first, last := f.orphans[0], f.orphans[len(f.orphans)-1]
	if len(f.orphans) != mostRemember || first != looked || last.path != strconv.Itoa(mostRemember+9) {
		t.Errorf("%d are remembered, from %q to %q", len(f.orphans), first.path, last.path)
	}
}
