//go:build linux

package ship

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Whoever copies a large file takes its time, and logrotate flushes the copy, before the file is truncated. What was written meanwhile is not in the copy; it may have been
// shipped before the truncation.
func TestShip_WrittenBetweenTheCopyAndTheTruncation(t *testing.T) {
	first, second := numbered(1, 5000), numbered(5001, 5100)
	for _, copyName := range []string{"a.log.1", "a.log.1.gz"} {
		t.Run(copyName, func(t *testing.T) {
			r := newRig(t, "a.log", func(in *Input) { in.Gzip = true })
			for at := 0; at < len(first); at += 500 {
				r.write("a.log", text(first[at:at+500]))
				if at == 0 {
					r.begin()
				}
				r.eventually("the lines so far", func() bool { return r.agent.Counted().Messages == int64(at+500) })
			}
			if copyName == "a.log.1" {
				r.write(copyName, text(first))
			} else {
				pack(t, r.path(copyName), first)
			}
			r.write("a.log", text(second))
			r.want(slices.Concat(first, second)...)
			if err := os.Truncate(r.path("a.log"), 0); err != nil {
				t.Fatal(err)
			}
			r.write("a.log", "new\n")
			r.file(copyName, func(f FileStatus) bool { return f.Lag == 0 })
			r.want(append(slices.Concat(first, second), "new")...)
			r.end()
			r.begin()
			r.write("a.log", "newer\n")
			r.want(append(slices.Concat(first, second), "new", "newer")...)
		})
	}
}

// What was seen of a file, and is neither read nor in its copy, is lost and counted.
func TestShip_WhatTheCopyHasNotIsCounted(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.config.Rate = 64 << 10
	first, second := numbered(1, 40_000), numbered(40_001, 40_100)
	r.write("a.log", text(first))
	r.begin()
	r.file("a.log", func(f FileStatus) bool { return f.Sent > 0 })
	r.write("a.log.1", text(first))
	r.write("a.log", text(second))
	r.file("a.log", func(f FileStatus) bool { return f.Size == int64(len(text(first)+text(second))) })
	if err := os.Truncate(r.path("a.log"), 0); err != nil {
		t.Fatal(err)
	}
	r.eventually("the copy", func() bool { return r.agent.Status().Inputs[0].Copies == 1 })
	if s, want := r.agent.Status().Inputs[0], int64(len(text(second))); s.LostBytes != want || s.LostFiles != 1 {
		t.Errorf("%d bytes of %d files count as lost, %d are", s.LostBytes, s.LostFiles, want)
	}
}

// A compressed file is known for what it is, for as long as it is there and not only for as long as the file is remembered that it was made of.
func TestShip_CompressedFilesStayKnown(t *testing.T) {
	r := newRig(t, "a.log", func(in *Input) { in.Gzip = true })
	r.write("a.log", text(numbered(1, 100)))
	r.begin()
	r.want(numbered(1, 100)...)
	r.rename("a.log", "a.log.1")
	pack(t, r.path("a.log.1.gz"), numbered(1, 100))
	r.remove("a.log.1")
	r.write("a.log", "new\n")
	r.want(append(numbered(1, 100), "new")...)
	r.file("a.log.1.gz", func(f FileStatus) bool { return f.Lag == 0 && f.Position == int64(len(text(numbered(1, 100)))) })
	r.agent.followers[0].ask(func() { r.agent.followers[0].orphans = nil }) // it was long ago
	r.end()
	r.begin()
	r.write("a.log", "newer\n")
	r.want(append(numbered(1, 100), "new", "newer")...)
}

// As above, while the lines are on their way: the copy is left alone when they have arrived.
func TestShip_OnItsWayWhenItIsTruncated(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.config.Rate = 512 << 10
	lines := numbered(1, 40_000)
	all := text(lines)
	r.write("a.log", all)
	r.begin()
	f := r.agent.followers[0]
	sent := 0
	r.eventually("enough to be on its way", func() bool {
		f.ask(func() {
			fl := f.streams[r.path("a.log")].files[0]
			if fl.next < 512<<10 || len(fl.blocks) == 0 {
				return
			}
			sent = int(fl.next)
			copied := strings.LastIndex(all[:sent-50_000], "\n") + 1
			r.write("a.log.1", all[:copied])
			if err := os.Truncate(r.path("a.log"), 0); err != nil {
				t.Error(err)
			}
		})
		return sent > 0
	})
	r.file("a.log.1", func(fs FileStatus) bool { return fs.Lag == 0 })
	r.write("a.log", "new\n")
	r.eventually("what comes next", func() bool { got := r.lines(); return got[len(got)-1] == "new" })
	if got, want := len(r.lines()), strings.Count(all[:sent], "\n")+1; got != want {
		t.Errorf("%d lines are stored, %d were read", got, want)
	}
	r.eventually("the loss of the rest", func() bool { return r.agent.Status().Inputs[0].LostBytes == int64(len(all)-sent) })
}
