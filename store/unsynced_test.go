package store

import (
	"errors"
	"math/rand/v2"
	"path"
	"slices"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

// failSyncs fails the next sync of a segment.
func failSyncs(fsys *vfs.Mem) {
	fsys.Inject(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && path.Dir(op.Name) == "data/log" {
			return errors.New("the disk has failed")
		}
		return nil
	})
}

// After a failed sync the kernel has pages that it takes for clean and the disk does not have. What a start finds in them, and serves, must
// not be lost in a power cut later, be it that the sync of the running broker has failed or the one of a start.
func TestUnsynced_WhatAStartServesIsSafe(t *testing.T) {
	for _, inStart := range []bool{false, true} {
		fsys := vfs.NewMem()
		o := testOptions(fsys, Rules{FlushMessages: 1000})
		s := mustOpen(t, o)
		q := mustQueue(t, s, "t", 0)
		if !inStart {
			failSyncs(fsys)
		}
		var b Batch
		for _, body := range numbered(0, 100) {
			b.Add(q, 0, []byte(body))
		}
		if _, err := s.Append(&b); err != nil {
			t.Fatal(err)
		}
		if inStart {
			fsys = fsys.KillClone()
			failSyncs(fsys)
			o.FS = fsys
			if _, err := Open(o); err == nil {
				t.Fatal("a start whose sync failed")
			}
		} else if err := s.wait(Position(s.end())); !errors.Is(err, ErrPoisoned) {
			t.Fatalf("the flush: %v", err)
		}
		killed := fsys.KillClone()
		r, err := Check(CheckOptions{FS: killed.KillClone(), Dir: "data", BootID: o.BootID})
		if err != nil || !r.Sound() || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.File == "data/unsynced" }) {
			t.Errorf("the check: %v, %s", err, describe(r))
		}
		o.FS = killed
		s = mustOpen(t, o)
		equal(t, "after a restart", bodies(t, s.Queue([]byte("t"), 0), 0), numbered(0, 100))
		if exists(killed, "data/unsynced") {
			t.Error("what was written again is still doubted")
		}
		for seed := range uint64(20) {
			after := o
			after.FS, after.BootID = killed.CrashClone(rand.New(rand.NewPCG(seed, 0))), "boot-2"
			s := mustOpen(t, after)
			equal(t, "after a power cut", bodies(t, s.Queue([]byte("t"), 0), 0), numbered(0, 100))
		}
	}
}
