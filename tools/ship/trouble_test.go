//go:build linux

package ship

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unlink makes that a path cannot be looked at, whoever runs the test: it leads to itself. What was there is put back by the function that it returns.
func unlink(r *rig, name string) (back func()) {
	r.t.Helper()
	r.rename(name, name+".aside")
	if err := os.Symlink(name, r.path(name)); err != nil {
		r.t.Fatal(err)
	}
	return func() {
		r.t.Helper()
		r.remove(name)
		r.rename(name+".aside", name)
	}
}

func mkdir(r *rig, name string) {
	r.t.Helper()
	if err := os.MkdirAll(r.path(name), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// What cannot be looked at for a while is not gone: how far it was read stays known.
func TestShip_ADirectoryThatCannotBeReadForAWhile(t *testing.T) {
	for _, running := range []bool{true, false} {
		r := newRig(t, "logs/*.log", nil)
		mkdir(r, "logs")
		r.write("logs/a.log", text(numbered(1, 100)))
		r.write("logs/a.log.1", "before the first start\n")
		r.begin()
		r.want(numbered(1, 100)...)
		if !running {
			r.end()
		}
		back := unlink(r, "logs")
		if !running {
			r.begin()
		}
		r.file("logs", func(f FileStatus) bool {
			return f.State == stateWaiting && strings.Contains(f.Problem, "symbolic links")
		})
		r.agent.followers[0].ask(func() { // it is given up as nothing that is gone would be
			for _, s := range r.agent.followers[0].streams {
				for _, fl := range s.files {
					fl.changed = fl.changed.Add(-rememberFor)
				}
			}
		})
		looks := 0
		r.eventually("some looks", func() bool {
			r.agent.followers[0].ask(func() { r.agent.followers[0].scanAt = r.agent.began; looks++ })
			r.agent.followers[0].signal()
			return looks > 5
		})
		back()
		r.write("logs/a.log", "new\n")
		r.want(append(numbered(1, 100), "new")...)
		r.end()
	}
}

// A file that is there and cannot be followed is told of, and followed when it can be.
func TestShip_AFileThatCannotBeRead(t *testing.T) {
	r := newRig(t, "*.log", nil)
	r.write("a.log", "1\n")
	back := unlink(r, "a.log")
	r.write("b.log", "2\n")
	r.begin()
	r.want("2")
	r.file("a.log", func(f FileStatus) bool { return f.State == stateWaiting && f.Problem != "" })
	back()
	r.want("2", "1")
	r.file("a.log", func(f FileStatus) bool { return f.State == stateFollowed && f.Problem == "" })
}

func TestShip_OnceTellsWhatItCouldNotRead(t *testing.T) {
	r := newRig(t, "*.log", nil)
	r.write("a.log", "1\n")
	r.write("b.log", "2\n")
	unlink(r, "a.log")
	mkdir(r, "dir")
	if err := syscall.Mkfifo(r.path("pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.config.Inputs[0].Paths = append(r.config.Inputs[0].Paths, r.path("dir"), r.path("pipe"))
	r.config.Once = true
	agent, err := Open(r.config, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	err = agent.Run(context.Background())
	for _, want := range []string{"not everything was shipped", r.path("a.log") + ": too many levels", r.path("dir") + ": it is not a regular file", r.path("pipe") + ": it is not"} {
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "statx "+r.path("a.log")+": ", ""), want) {
			t.Errorf("it ended with %v, without %q", err, want)
		}
	}
	r.want("2")
}

// With fewer open files than there are, all are shipped before the end.
func TestShip_OnceWithManyFiles(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 200
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }) // it was so before
	r := newRig(t, "*.log", nil)
	var want []string
	for _, line := range numbered(1, 600) {
		r.write(strings.Fields(line)[1]+".log", line+"\n")
		want = append(want, line)
	}
	r.once()
	got := r.lines()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d of %d lines are stored", len(got), len(want))
	}
}

// Rotation that counts up renames files while they are looked for.
func TestShip_RenamedWhileTheyAreLookedFor(t *testing.T) {
	const files = 40
	r := newRig(t, "a.log*", nil)
	r.write("a.log", "live\n")
	for n, line := range numbered(1, files) {
		r.write("a.log."+strconv.Itoa(n+1), line+"\n")
	}
	r.begin()
	f := r.agent.followers[0]
	r.eventually("all to be shipped and closed", func() (closed bool) {
		f.ask(func() { closed = f.open == 1 && len(f.known) == files+1 })
		return closed
	})
	for range 200 {
		f.ask(func() { f.scanAt = r.agent.began })
		f.signal()
		for n := files; n > 0; n-- {
			r.rename("a.log."+strconv.Itoa(n), "a.log."+strconv.Itoa(n+1))
		}
		f.ask(func() {}) // it has looked
		for n := 1; n <= files; n++ {
			r.rename("a.log."+strconv.Itoa(n+1), "a.log."+strconv.Itoa(n))
		}
	}
	r.end()
	if got := r.lines(); len(got) != files+1 {
		t.Errorf("%d lines are stored, %d were written", len(got), files+1)
	}
}

func TestGlob(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"a.log", "one/b.log", "one/two/c.log", "one/two/c.txt", "three/d.log", "x[1].log"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("..", filepath.Join(dir, "one", "up")); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string][]string{
		"*.log":            {"a.log", "x[1].log"},
		"*/*.log":          {"one/b.log", "three/d.log"},
		"**/*.log":         {"a.log", "one/b.log", "one/two/c.log", "three/d.log", "x[1].log"},
		"one/**/*.log":     {"one/b.log", "one/two/c.log"},
		"**/two/**/c.*":    {"one/two/c.log", "one/two/c.txt"},
		"**/**/d.log":      {"three/d.log"},
		`x\[1].log`:        {"x[1].log"},
		"nowhere/**/*.log": nil,
		"a.log/*.log":      nil,
		"*/b.log":          {"one/b.log"},
	} {
		var got []string
		for _, p := range glob(filepath.Join(dir, pattern), func(dir string, err error) { t.Errorf("%s: %v", dir, err) }) {
			got = append(got, strings.TrimPrefix(p, dir+"/"))
			if !matches(filepath.Join(dir, pattern), p) {
				t.Errorf("%s: %s does not match", pattern, p)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
}

type noSource struct{ source }

func (noSource) Close() error { return nil }

// More files than may be open, each looked at in its turn, take no time that grows with the square of their number.
func TestMakeRoom_OfManyFiles(t *testing.T) {
	const files, open = 40_000, 1000
	for _, busy := range []bool{true, false} {
		in := DefaultInput()
		f := newFollower(&Agent{log: slog.New(slog.DiscardHandler), mostFiles: open}, &in)
		for n := range files {
			path := filepath.Join("/nowhere", strconv.Itoa(n))
			fl := &file{id: identity{Inode: uint64(n)}, path: path}
			if n < open {
				fl.src = noSource{}
			}
			if n >= open || busy {
				fl.size = 1 // not read
			}
			f.follow(path, fl)
		}
		began := time.Now()
		for _, s := range f.streams {
			if fl := s.files[0]; fl.src == nil {
				f.openFile(fl)
			}
		}
		f.openCrowded()
		if took := time.Since(began); took > patience/2 {
			t.Errorf("busy %t: %s for %d files", busy, took, files)
		}
	}
}

func TestShip_DamagedAndConcatenatedCompressedFiles(t *testing.T) {
	r := newRig(t, "a.log", func(in *Input) { in.Gzip = true })
	r.write("a.log", "1\n")
	r.begin()
	r.want("1")
	pack(t, r.path("part"), numbered(1, 1000))
	part, err := os.ReadFile(r.path("part"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(part)
	damaged[len(damaged)/2] ^= 0xff
	r.write("a.log.2.gz", string(damaged))
	r.write("a.log.3.gz", string(part[:len(part)/2]))
	for _, name := range []string{"a.log.2.gz", "a.log.3.gz"} {
		r.file(name, func(f FileStatus) bool {
			return f.State == stateWaiting && strings.Contains(f.Problem, "incomplete or damaged")
		})
	}
	r.write("a.log.1.gz", string(part)+string(part)) // as `cat` makes one of two
	r.want(slices.Concat([]string{"1"}, numbered(1, 1000), numbered(1, 1000))...)
	r.file("a.log.2.gz", func(f FileStatus) bool { return f.State == stateWaiting }) // it is told of for as long as it is there
	r.remove("a.log.2.gz")
	r.eventually("the damaged file to be gone", func() bool {
		return !slices.ContainsFunc(r.agent.Status().Inputs[0].Files, func(f FileStatus) bool { return f.Path == r.path("a.log.2.gz") })
	})
}

func TestShip_TheRateIsKept(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.config.Rate = 1 << 20
	r.write("a.log", strings.Repeat(strings.Repeat("x", 1023)+"\n", 1600))
	began := time.Now()
	r.once()
	// A tenth of a second is sent at once.
	if took, least := time.Since(began), 1450*time.Millisecond; took < least {
		t.Errorf("1600 KiB took %s at 1 MiB a second, less than %s", took, least)
	}
}
