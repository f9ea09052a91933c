package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/chaos"
)

// TestCrash_OneAfterTheOther is test 3 for what comes between two crashes: kills and power cuts follow each other on one disk, and fall into starts and
// orderly stops as well, so that the next one finds what an interrupted recovery has left. Kills may tear the last write, syncs fail, the disk fills up and has
// room again, and the rules change. What a start has served is safe from then on. `metaq check` finds nothing to repair in any of it.
func TestCrash_OneAfterTheOther(t *testing.T) {
	seed := chaos.Seed(t)
	programs := uint64(chaos.Pick(150, 10_000))
	during := newCrashPoints()
	var next, crashes atomic.Uint64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for n := next.Add(1) - 1; n < programs && !t.Failed(); n = next.Add(1) - 1 {
				newCrashing(t, seed+n).run(during, &crashes)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, phase := range []string{"open", "work", "close"} {
		for _, how := range []string{"power cut", "kill", "torn kill", "failed sync"} {
			if during.at[how+" in "+phase] == 0 {
				t.Errorf("there was no %s in %s: %v", how, phase, during.at)
			}
		}
	}
	chaos.Figure(t, 3, "crashes one after the other, also in starts and stops", "%d in %d programs; 0 lost, altered or invented", crashes.Load(), programs)
}

// crashing is one program and what it knows.
type crashing struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	rules Rules
	fsys  *vfs.Mem
	boot  int
	body  int

	safe    map[string]map[int64]string // must be there whatever happens, by queue
	written map[string]map[int64]string // must be there unless the power was cut
	maybe   map[string]map[int64]string // may be there
	served  map[string]map[int64]string // was read
	commits map[string]int64            // offsets of groups that must be there
	loose   map[string]int64            // those that must be there unless the power was cut
	crash   *crash
}

func newCrashing(t *testing.T, seed uint64) *crashing {
	rng := rand.New(rand.NewPCG(seed, 29))
	c := &crashing{t: t, seed: seed, rng: rng, fsys: vfs.NewMem(), rules: groupCommit}
	c.rules.SegmentSize = 4 << 10
	if rng.IntN(3) == 0 {
		c.rules.SegmentSize, c.rules.Retention = 512, Policy{MaxBytes: 2 << 10}
	}
	for _, m := range []*map[string]map[int64]string{&c.safe, &c.written, &c.maybe, &c.served} {
		*m = map[string]map[int64]string{}
	}
	c.commits, c.loose = map[string]int64{}, map[string]int64{}
	return c
}

// crash falls before a call to the disk; a torn kill falls into a write.
type crash struct {
	mu    sync.Mutex
	fsys  *vfs.Mem
	rng   *rand.Rand
	power bool
	torn  bool
	sync  bool // a sync fails, and the process is ended as people do it then
	left  int
	clone *vfs.Mem // nil: it has not happened yet
	dead  bool     // torn: no call works any more
	sick  bool     // a sync has failed
}

var errKilled = errors.New("the process was killed")

func (c *crash) call(op vfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		if c.clone == nil {
			c.clone = c.fsys.KillClone() // as the write has left it: nothing that comes later was done
		}
		return errKilled
	}
	c.left--
	switch {
	case c.clone != nil || c.left > 0:
	case c.sync:
		if op.Kind == vfs.OpSync && path.Dir(op.Name) == "data/log" && path.Ext(op.Name) != ".tmp" {
			c.sick = true
			return errors.New("the disk has failed")
		}
	case c.torn:
		if op.Kind == vfs.OpWriteAt {
			c.dead = true
			return &vfs.ShortWrite{N: c.rng.IntN(int(op.Length) + 1), Err: errKilled}
		}
	case c.power:
		c.clone = c.fsys.CrashClone(c.rng)
	default:
		c.clone = c.fsys.KillClone()
	}
	return nil
}

func (c *crash) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clone != nil || c.dead || c.sick
}

func (c *crash) how() string {
	switch {
	case c.power:
		return "power cut"
	case c.torn:
		return "torn kill"
	case c.sync:
		return "failed sync"
	}
	return "kill"
}

func (c *crashing) failf(format string, args ...any) {
	c.t.Errorf("seed %d, boot %d: "+format, append([]any{c.seed, c.boot}, args...)...)
}

func (c *crashing) run(during *crashPoints, crashes *atomic.Uint64) {
	for range 6 {
		// The disk may be crashed before the store is open, while it works, while it is closed, or not at all.
		kind := c.rng.IntN(5)
		c.crash = &crash{fsys: c.fsys, rng: rand.New(rand.NewPCG(c.rng.Uint64(), 1)), power: kind < 2, torn: kind == 2, sync: kind == 3, left: 1 + c.rng.IntN(1+c.rng.IntN(200))}
		phase := c.life()
		c.fsys.Inject(nil)
		if c.t.Failed() {
			return
		}
		if !c.crash.done() {
			continue
		}
		crashes.Add(1)
		during.mu.Lock()
		during.at[c.crash.how()+" in "+phase]++
		during.mu.Unlock()
		if c.fsys = c.crash.clone; c.fsys == nil {
			c.fsys = c.crash.fsys.KillClone()
		}
		if c.crash.power {
			c.boot++
			c.written, c.loose = map[string]map[int64]string{}, map[string]int64{}
		}
		c.check()
		if c.t.Failed() {
			return
		}
	}
}

// newRules draws when messages are flushed: that may change at a start and by a reload.
func (c *crashing) newRules() {
	c.rules.FlushMessages, c.rules.FlushInterval = 0, 0
	if c.rng.IntN(2) == 0 {
		c.rules.FlushMessages, c.rules.FlushInterval = 1+c.rng.IntN(200), time.Hour
	}
}

func (c *crashing) options() Options {
	if c.rng.IntN(3) == 0 {
		c.newRules()
	}
	o := testOptions(c.fsys, c.rules)
	o.BootID = fmt.Sprint("boot-", c.boot)
	o.LogSegmentSize, o.MaxUnflushed, o.HotBytes = 8<<10, 16<<10, 4<<10
	return o
}

// check looks at the directory as a crash has left it.
func (c *crashing) check() {
	fsys := c.fsys.KillClone()
	if _, err := fsys.List("data/log"); err != nil {
		return // it was never made
	}
	r, err := Check(CheckOptions{FS: fsys, Dir: "data", BootID: fmt.Sprint("boot-", c.boot)})
	// Two crashes may leave the one checkpoint renamed and nothing of its successor.
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return f.Area == AreaCheckpoint && f.Reason == reasonMissing })
	if err != nil {
		c.failf("check: %v", err)
	} else if !r.Sound() {
		c.failf("after a %s: %s", c.crash.how(), describe(r))
	}
}

// life opens the store, works with it, and closes it. It returns where the crash fell.
func (c *crashing) life() (phase string) {
	c.fsys.Inject(c.crash.call)
	s, err := Open(c.options())
	if c.crash.done() {
		if err == nil {
			s.Close()
		}
		return "open"
	}
	if err != nil {
		c.failed("open", err) // a full disk, whose reserve was not there yet or is used up
		c.fsys.SetCapacity(plenty)
		return "open"
	}
	phase = "work"
	c.verify(s)
	for range 1 + c.rng.IntN(40) {
		if c.t.Failed() || c.crash.done() {
			break
		}
		c.step(s)
	}
	if !c.crash.done() {
		phase = "close"
	}
	if err := s.Close(); err != nil {
		c.failed("close", err)
	}
	return phase
}

func (c *crashing) step(s *Store) {
	q, err := s.CreateQueue(protocol.Topic(fmt.Sprint("t", c.rng.IntN(2))), int32(c.rng.IntN(2)))
	if err != nil {
		c.failed("create", err)
		return
	}
	key := fmt.Sprintf("%s-%d", q.topic, q.partition)
	switch c.rng.IntN(13) {
	case 11:
		if g := s.nextRewrite(); g != nil {
			err := s.rewriteSegment(g, func(int64) bool { return true })
			g.judged.Store(err == nil || errors.Is(err, errNotWorth))
			if !g.judged.Load() {
				c.failed("rewrite", err)
			}
		}
	case 10:
		if c.rules.Retention.MaxBytes > 0 {
			if err := s.Expire(s.now()); err != nil {
				c.failed("expire", err)
			}
		}
	case 9:
		if c.rules.Retention.MaxBytes > 0 {
			if _, err := s.freeOldest(); err != nil {
				c.failed("free the oldest", err)
			}
		}
	case 7:
		c.squeeze(s)
	case 8:
		c.newRules()
		s.SetRules(rulesOf(c.rules))
	case 0:
		offset := int64(c.rng.IntN(1000))
		delete(c.commits, key)
		delete(c.loose, key)
		pos, err := s.CommitOffset(q.topic, "g", q.partition, offset)
		if err != nil {
			c.failed("commit", err)
			return
		}
		if !c.crash.done() {
			c.loose[key] = offset
		}
		if pos > 0 && c.rng.IntN(3) > 0 && s.wait(pos) == nil && !c.crash.done() {
			c.commits[key] = offset
		}
	case 1:
		read, err := readAll(q)
		if err != nil {
			c.failed("read", err)
		} else if !c.crash.done() {
			for offset, m := range read {
				note(c.served, q, offset, m)
			}
		}
	default:
		var b Batch
		var list []string
		for range 1 + c.rng.IntN(20) {
			c.body++
			m := fmt.Sprintf("%d%*s", c.body, c.rng.IntN(200), "")
			list = append(list, m)
			b.Add(q, 0, []byte(m))
		}
		ack, err := s.Append(&b)
		for i, m := range list {
			if id, offset := b.Receipt(i); err == nil || errors.Is(err, ErrUncertain) && id != 0 {
				note(c.maybe, q, offset, m)
			}
		}
		if err != nil {
			c.failed("append", err)
			return
		}
		written := !c.crash.done()
		safe := ack > 0 && c.rng.IntN(3) > 0 && s.wait(ack) == nil && !c.crash.done()
		for i, m := range list {
			_, offset := b.Receipt(i)
			if written {
				note(c.written, q, offset, m)
			}
			if safe {
				note(c.safe, q, offset, m)
			}
		}
	}
}

// squeeze leaves hardly any room on the disk, or plenty.
func (c *crashing) squeeze(s *Store) {
	free, total, err := c.fsys.Free("data")
	if err != nil {
		c.failed("ask for room", err)
		return
	}
	if c.rng.IntN(3) == 0 {
		c.fsys.SetCapacity(plenty)
	} else {
		c.fsys.SetCapacity(total - free + int64(c.rng.IntN(20<<10)))
	}
	if c.rng.IntN(2) == 0 { // as every second
		s.keepReserve()
		s.checkDisk()
	}
}

const plenty = 1 << 30

// isFull says that an error is that of a disk without room.
func isFull(err error) bool { return errors.Is(err, ErrFull) || isNoRoom(err) }

// failed is an error that only a crash or a full disk excuses.
func (c *crashing) failed(what string, err error) {
	if !c.crash.done() && !isFull(err) {
		c.failf("%s: %v", what, err)
	}
}

// readAll gives what is in a queue, by offset.
func readAll(q *Queue) (map[int64]string, error) {
	read := map[int64]string{}
	offset := q.Stat().Min
	for {
		b, err := q.Read(nil, offset, 1<<20, 1<<20, false)
		var moved *MovedError
		switch {
		case errors.As(err, &moved) && moved.Offset > offset:
			offset = moved.Offset
			continue
		case errors.Is(err, ErrEnd):
			return read, nil
		case err != nil:
			return nil, fmt.Errorf("%s-%d at %d: %w", q.topic, q.partition, offset, err)
		}
		for len(b) > 0 {
			n := recordSize(b)
			read[offset] = string(b[protocol.RecordHeader:n])
			b, offset = b[n:], offset+n
		}
	}
}

// verify reads everything after a start. What is there now is safe: a start syncs what it has read.
func (c *crashing) verify(s *Store) {
	for _, q := range s.Queues() {
		key := fmt.Sprintf("%s-%d", q.topic, q.partition)
		read, err := readAll(q)
		if err != nil {
			c.failed("read after a start", err)
			return
		}
		for offset, m := range read {
			if c.maybe[key][offset] != m {
				c.failf("%s at %d: %q was never put there", key, offset, m)
			}
			if old, ok := c.served[key][offset]; ok && old != m {
				c.failf("%s at %d gave %q before and %q now", key, offset, old, m)
			}
		}
		st := q.Stat()
		if st.Min > 0 && c.rules.Retention.MaxBytes == 0 && len(read) > 0 {
			c.failf("%s begins at %d, and nothing expires", key, st.Min)
		}
		for _, must := range []map[int64]string{c.safe[key], c.written[key]} {
			for offset, m := range must {
				if read[offset] != m && offset >= st.Min {
					c.failf("%s at %d: acknowledged %q, now %q", key, offset, m, read[offset])
				}
			}
		}
		if st.Messages != int64(len(read)) {
			c.failf("%s says that it has %d messages, it has %d", key, st.Messages, len(read))
		}
	}
	for _, must := range []map[string]map[int64]string{c.safe, c.written} {
		for key := range must {
			if s.Queue([]byte(key[:2]), int32(key[3]-'0')) == nil {
				c.failf("%s is gone", key)
			}
		}
	}
	for _, must := range []map[string]int64{c.commits, c.loose} {
		for key, offset := range must {
			if got, _, ok := s.CommittedOffset([]byte(key[:2]), []byte("g"), int32(key[3]-'0')); !ok || got != offset {
				c.failf("offset of the group in %s: %d, %v, want %d", key, got, ok, offset)
			}
		}
	}
	if c.crash.done() {
		return
	}
	for key, list := range c.written {
		if c.safe[key] == nil {
			c.safe[key] = map[int64]string{}
		}
		maps.Copy(c.safe[key], list)
	}
	maps.Copy(c.commits, c.loose)
}
