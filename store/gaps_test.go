package store

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// After a power cut with more queues than a segment has room for their gaps, snapshots of full segments are taken while other queues still
// jump; the race detector sees whether both have the lock. The checkpoints that come of it are those of all queues.
func TestOpen_GapsOverManySegments(t *testing.T) {
	const queues = 5000
	fsys := vfs.NewMem()
	o := testOptions(fsys, Rules{FlushMessages: 1000, FlushInterval: time.Hour})
	s := mustOpen(t, o)
	for p := range int32(queues) {
		mustQueue(t, s, "t", p)
	}
	if err := s.wait(Position(s.end())); err != nil {
		t.Fatal(err)
	}
	o.FS, o.BootID = fsys.CrashClone(rand.New(rand.NewPCG(1, 1))), "boot-2"
	s = mustOpen(t, o)
	waitFor(t, "the segments full of gaps to be sealed", s.sealedUpTo)
	for range 2 {
		for p := range int32(queues) {
			if q := s.Queue([]byte("t"), p); q == nil || q.Stat().End != o.MaxUnflushed {
				t.Fatalf("partition %d: %v", p, q)
			}
		}
		o.FS = o.FS.(*vfs.Mem).KillClone()
		s = mustOpen(t, o)
	}
}

// Whoever has lost messages in a power cut may well ask for group commit before the next start. What was acknowledged, and served, before it was
// flushed was so by the rule of that time: the partition must go on beyond it whatever the rule is now.
func TestOpen_GapsWhateverTheRuleIsNow(t *testing.T) {
	loose := Rules{FlushMessages: 1000, FlushInterval: time.Hour}
	for _, c := range []struct {
		name          string
		first, second Rules // at the start, and from a reload on
	}{
		{"from the start on", loose, loose},
		{"since a reload", groupCommit, loose},
		{"until a reload", loose, groupCommit},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := vfs.NewMem()
			o := testOptions(fsys, c.first)
			s := mustOpen(t, o)
			q := mustQueue(t, s, "t", 0)
			put(t, s, q, "flushed")
			unflushed := func() {
				for range 20 {
					appendOne(t, s, q, "not flushed")
				}
			}
			if c.second.groupCommit() {
				unflushed()
			}
			s.SetRules(rulesOf(c.second))
			if !c.second.groupCommit() {
				put(t, s, q, "the reload is flushed with it")
				unflushed()
			}
			served := q.Stat().End
			if st := s.Stats(); st.Flushed == st.Appended || len(bodies(t, q, 0)) < 21 {
				t.Fatalf("served up to %d, and %d of %d bytes of the log are flushed", served, st.Flushed, st.Appended)
			}
			for seed := range uint64(20) {
				after := o
				after.FS, after.BootID, after.Rules = fsys.CrashClone(rand.New(rand.NewPCG(seed, 0))), "boot-2", rulesOf(groupCommit)
				s := mustOpen(t, after)
				if offset := put(t, s, s.Queue([]byte("t"), 0), "next")[0]; offset < served {
					t.Fatalf("seed %d: offset %d is given again, up to %d were served", seed, offset, served)
				}
			}
		})
	}
}
