package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/chaos"
)

// acked is what a program knows to be safe, by queue: data by offset.
type history struct {
	acked  map[string]map[int64]string // must be there
	maybe  map[string]map[int64]string // may be there
	served map[string]map[int64]string // was read
	commit map[string]int64            // acknowledged offsets of groups
}

func newHistory() *history {
	return &history{map[string]map[int64]string{}, map[string]map[int64]string{}, map[string]map[int64]string{}, map[string]int64{}}
}

func note(m map[string]map[int64]string, q *Queue, offset int64, body string) {
	key := fmt.Sprintf("%s-%d", q.topic, q.partition)
	if m[key] == nil {
		m[key] = map[int64]string{}
	}
	m[key][offset] = body
}

// TestCrash is test 3: it runs random programs and cuts the power at random moments. With group commit nothing acknowledged may be lost; with
// any rule no record may be altered or invented, and an offset may never give two different records. Program n has the seed of the run
// plus n, so METAQ_SEED with the seed of a failure runs that program first.
func TestCrash(t *testing.T) {
	seed := chaos.Seed(t)
	programs := uint64(chaos.Pick(600, 100_000))
	points := newCrashPoints()
	began := time.Now()
	var next atomic.Uint64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for n := next.Add(1) - 1; n < programs && !t.Failed(); n = next.Add(1) - 1 {
				runCrash(t, seed+n, points)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if len(points.at) < 20 {
		t.Errorf("the power was cut at %d different points only: %v", len(points.at), points.at)
	}
	chaos.Figure(t, 3, "programs, each with 3 power cuts", "%d, %.0f a second; 0 lost, altered or invented", programs, float64(programs)/time.Since(began).Seconds())
	chaos.Figure(t, 3, "distinct crash points (call and kind of file)", "%d", len(points.at))
}

// crashPoints counts where the power was cut: in front of which call, for which kind of file.
type crashPoints struct {
	mu sync.Mutex
	at map[string]int
}

func newCrashPoints() *crashPoints { return &crashPoints{at: map[string]int{}} }

func (p *crashPoints) add(op vfs.Op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	file := filepath.Ext(op.Name)
	if file == "" {
		file = filepath.Base(op.Name)
	}
	if op.Kind == vfs.OpRename {
		file += " to " + filepath.Ext(op.To)
	}
	p.at[string(op.Kind)+" "+file]++
}

func runCrash(t *testing.T, seed uint64, points *crashPoints) {
	rng := rand.New(rand.NewPCG(seed, 17))
	rules := groupCommit
	if seed%3 == 0 {
		rules = Rules{FlushMessages: 1 + rng.IntN(200), FlushInterval: time.Hour, SegmentSize: 4 << 10}
	}
	if seed%4 == 0 {
		rules.SegmentSize, rules.Retention = 512, Policy{MaxBytes: 2 << 10}
	}
	fsys := vfs.NewMem()
	h := newHistory()
	boot := 0
	body := 0
	for range 3 {
		boot++
		o := testOptions(fsys, rules)
		o.BootID = fmt.Sprint("boot-", boot)
		o.LogSegmentSize = 8 << 10
		o.MaxUnflushed = 16 << 10
		o.HotBytes = 4 << 10
		s, err := Open(o)
		if err != nil {
			t.Errorf("seed %d, boot %d: open: %v", seed, boot, err)
			return
		}
		verify(t, seed, s, h, rules)
		if t.Failed() {
			s.Close()
			return
		}
		cut := cutPower(fsys, rng, points)
		for range 1 + rng.IntN(60) {
			if program(t, s, rng, h, &body, rules, cut); cut.done() {
				break
			}
		}
		clone := cut.disk()
		s.Close()
		fsys = clone
	}
}

// powerCut takes the clone of a disk in front of a random call, so that the cut falls between any two of them.
type powerCut struct {
	mu    sync.Mutex
	fsys  *vfs.Mem
	rng   *rand.Rand
	left  int
	clone *vfs.Mem
}

func cutPower(fsys *vfs.Mem, rng *rand.Rand, points *crashPoints) *powerCut {
	c := &powerCut{fsys: fsys, rng: rand.New(rand.NewPCG(rng.Uint64(), 1)), left: rng.IntN(150)}
	fsys.Inject(func(op vfs.Op) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.left--; c.left == 0 {
			c.clone = fsys.CrashClone(c.rng)
			points.add(op)
		}
		return nil
	})
	return c
}

// after has the cut fall before the nth call from now on.
func (c *powerCut) after(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = n
}

func (c *powerCut) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clone != nil
}

// disk is what the cut has left; it cuts now if that did not happen yet.
func (c *powerCut) disk() *vfs.Mem {
	c.fsys.Inject(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clone == nil {
		c.clone = c.fsys.CrashClone(c.rng)
	}
	return c.clone
}

// program does one random thing. What is acknowledged before the power is cut must survive.
func program(t *testing.T, s *Store, rng *rand.Rand, h *history, body *int, rules Rules, cut *powerCut) {
	q, err := s.CreateQueue(protocol.Topic(fmt.Sprint("t", rng.IntN(2))), int32(rng.IntN(2)))
	if err != nil {
		t.Errorf("create: %v", err)
		return
	}
	key := fmt.Sprintf("%s-%d", q.topic, q.partition)
	switch rng.IntN(13) {
	case 11:
		if g := s.nextRewrite(); g != nil {
			err := s.rewriteSegment(g, func(int64) bool { return true })
			g.judged.Store(err == nil || errors.Is(err, errNotWorth))
			if !g.judged.Load() {
				t.Errorf("rewrite %s: %v", g.name, err)
			}
		}
	case 10:
		if rules.Retention.MaxBytes == 0 {
			return
		}
		if err := s.Expire(s.now()); err != nil {
			t.Errorf("expire: %v", err)
		}
	case 0:
		offset := int64(rng.IntN(1000))
		delete(h.commit, key)
		pos, err := s.CommitOffset(q.topic, "g", q.partition, offset)
		if err != nil {
			t.Errorf("commit: %v", err)
		} else if s.wait(pos) == nil && rules.groupCommit() && !cut.done() {
			h.commit[key] = offset
		}
	case 1:
		offset := q.Stat().Min
		b, err := q.Read(nil, offset, 1<<20, 1<<20, rng.IntN(2) == 0)
		if err == nil && !cut.done() {
			for len(b) > 0 {
				n := recordSize(b)
				note(h.served, q, offset, string(b[protocol.RecordHeader:n]))
				b, offset = b[n:], offset+n
			}
		}
	default:
		var b Batch
		var list []string
		for range 1 + rng.IntN(20) {
			*body++
			m := fmt.Sprintf("%d%*s", *body, rng.IntN(200), "")
			list = append(list, m)
			b.Add(q, 0, []byte(m))
		}
		ack, err := s.Append(&b)
		if err != nil {
			t.Errorf("append: %v", err)
			return
		}
		acked := rng.IntN(3) > 0 && s.wait(ack) == nil && rules.groupCommit() && !cut.done()
		for i, m := range list {
			_, offset := b.Receipt(i)
			note(h.maybe, q, offset, m)
			if acked {
				note(h.acked, q, offset, m)
			}
		}
	}
}

// verify reads everything back after a power cut.
func verify(t *testing.T, seed uint64, s *Store, h *history, rules Rules) {
	for _, q := range s.Queues() {
		key := fmt.Sprintf("%s-%d", q.topic, q.partition)
		read := map[int64]string{}
		offset := q.Stat().Min
		for {
			b, err := q.Read(nil, offset, 1<<20, 1<<20, false)
			var moved *MovedError
			if errors.As(err, &moved) && moved.Offset > offset {
				offset = moved.Offset
				continue
			}
			if errors.Is(err, ErrEnd) {
				break
			}
			if err != nil {
				t.Errorf("seed %d: read %s at %d: %v", seed, key, offset, err)
				return
			}
			for len(b) > 0 {
				n := recordSize(b)
				read[offset] = string(b[protocol.RecordHeader:n])
				b, offset = b[n:], offset+n
			}
		}
		for offset, m := range read {
			known := h.acked[key][offset] == m || h.maybe[key][offset] == m
			if !known {
				t.Errorf("seed %d: %s at %d: %q was never put there", seed, key, offset, m)
			}
			if old, ok := h.served[key][offset]; ok && old != m {
				t.Errorf("seed %d: %s at %d gave %q before and %q now", seed, key, offset, old, m)
			}
		}
		first := q.Stat().Min
		if first > 0 && rules.Retention.MaxBytes == 0 {
			t.Errorf("seed %d: %s begins at %d, and nothing expires", seed, key, first)
		}
		for offset, m := range h.acked[key] {
			if read[offset] != m && offset >= first {
				t.Errorf("seed %d: %s at %d: acknowledged %q, now %q", seed, key, offset, m, read[offset])
			}
		}
	}
	for key, offset := range h.commit {
		topic, partition := key[:2], int32(key[3]-'0')
		if got, _, ok := s.CommittedOffset([]byte(topic), []byte("g"), partition); !ok || got != offset {
			t.Errorf("seed %d: offset of the group in %s: %d, %v, want %d", seed, key, got, ok, offset)
		}
	}
}

// TestAppend_FailsCleanlyWhenTheNthCallFails fails each call of the write path in turn: what was acknowledged before is there after a
// restart, what failed was not acknowledged, and nothing hangs.
func TestAppend_FailsCleanlyWhenTheNthCallFails(t *testing.T) {
	covered := 0
	for n := 0; ; n++ {
		fsys := vfs.NewMem()
		o := testOptions(fsys, groupCommit)
		o.LogSegmentSize = 8 << 10
		s := mustOpen(t, o)
		q := mustQueue(t, s, "t", 0)
		put(t, s, q, numbered(0, 5)...)
		var mu sync.Mutex
		calls, failed := 0, false
		fsys.Inject(func(op vfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls == n+1 {
				failed = true
				return errors.New("injected")
			}
			return nil
		})
		acked := 5
		for i := 5; i < 400; i++ {
			var b Batch
			b.Add(q, 0, []byte(fmt.Sprintf("message number %d", i)))
			ack, err := s.Append(&b)
			if err == nil {
				err = s.wait(ack)
			}
			if err != nil {
				break
			}
			acked++
		}
		fsys.Inject(nil)
		s.Close()
		clone := fsys.KillClone()
		o.FS = clone
		again, err := Open(o)
		if err != nil {
			t.Fatalf("call %d failing: open again: %v", n, err)
		}
		got := bodies(t, again.Queue([]byte("t"), 0), 0)
		if len(got) < acked {
			t.Fatalf("call %d failing: %d messages acknowledged, %d there", n, acked, len(got))
		}
		equal(t, fmt.Sprint("call ", n), got[:acked], numbered(0, acked))
		again.Close()
		if !failed {
			break
		}
		covered++
	}
	chaos.Figure(t, 5, "calls that failed in turn", "%d; 0 acknowledged messages lost", covered)
}
