package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// mixed is a log in which many queues take turns, with offsets, trims and states of queues between their messages.
type mixed struct {
	options Options
	fsys    *vfs.Mem
	store   *Store
	want    map[string][]string // by queue, from the minimum on
}

func mixedOptions(fsys *vfs.Mem) Options {
	o := testOptions(fsys, Rules{FlushMessages: 1000, SegmentSize: 16 << 10})
	o.LogSegmentSize, o.HotBytes = 16<<10, 1
	return o
}

func newMixed(t testing.TB, seed uint64, segments int) *mixed {
	t.Helper()
	m := &mixed{fsys: vfs.NewMem(), want: map[string][]string{}}
	m.options = mixedOptions(m.fsys)
	m.store = mustOpen(t, m.options)
	m.fill(t, rand.New(rand.NewPCG(seed, 21)), segments)
	return m
}

// fill appends until there are so many segments, all sealed but the last one.
func (m *mixed) fill(t testing.TB, rng *rand.Rand, segments int) {
	t.Helper()
	s := m.store
	queues := 2 + rng.IntN(9)
	for i := 0; s.Stats().Segments < segments; i++ {
		var b Batch
		for range 1 + rng.IntN(8) {
			q := mustQueue(t, s, "t", int32(rng.IntN(queues)))
			body := fmt.Sprintf("%d %s", i, strings.Repeat("x", rng.IntN(400)))
			b.Add(q, 0, []byte(body))
			m.want[queueKey(q)] = append(m.want[queueKey(q)], body)
		}
		if _, err := s.Append(&b); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(5) == 0 {
			if _, err := s.CommitOffset("t", protocol.Group(fmt.Sprint("g", rng.IntN(3))), 0, int64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	waitFor(t, "the sealing of all segments", s.sealedUpTo)
}

// rewriteAll rewrites what may be rewritten, and returns how many segments that were.
func rewriteAll(t testing.TB, s *Store) (n int) {
	t.Helper()
	for g := s.nextRewrite(); g != nil; g = s.nextRewrite() {
		g.judged.Store(true)
		switch err := s.rewriteSegment(g, func(int64) bool { return true }); {
		case err == nil:
			n++
		case !errors.Is(err, errNotWorth):
			t.Fatalf("rewrite %s: %v", g.name, err)
		}
	}
	return n
}

func (m *mixed) compare(t testing.TB, what string, s *Store) {
	t.Helper()
	for _, q := range s.Queues() {
		equal(t, what+": "+queueKey(q), bodies(t, q, 0), m.want[queueKey(q)])
	}
}

// reopen closes the store and opens another on its directory.
func (m *mixed) reopen(t testing.TB) {
	t.Helper()
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
	m.store = mustOpen(t, m.options)
}

func (m *mixed) check(t testing.TB, repair bool) CheckReport {
	t.Helper()
	r, err := Check(CheckOptions{FS: m.fsys, Dir: m.options.Dir, BootID: m.options.BootID, Repair: repair})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// clustered counts the segments in the order of their queues.
func clustered(t testing.TB, fsys vfs.FS, s *Store) (n int) {
	t.Helper()
	bases, _, err := segmentBases(fsys, s.options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range bases {
		g, err := openSegment(fsys, s.options.Dir, base, s.salt)
		if err != nil {
			t.Fatal(err)
		}
		if g.findOrder(g.limit); g.clustered {
			n++
		}
		g.close()
	}
	return n
}

func TestRewrite_KeepsEverythingAndPutsQueuesTogether(t *testing.T) {
	for seed := range uint64(20) {
		m := newMixed(t, seed, 8)
		before := dumped(t, killed(m.fsys))
		n := rewriteAll(t, m.store)
		if n < 5 || clustered(t, m.fsys, m.store) != n {
			t.Fatalf("seed %d: %d segments rewritten, %d are in another order", seed, n, clustered(t, m.fsys, m.store))
		}
		if st := m.store.Stats(); st.Rewritten != int64(n) || st.RewrittenBytes < int64(n)*8<<10 {
			t.Fatalf("seed %d: stats say %d segments, %d bytes", seed, st.Rewritten, st.RewrittenBytes)
		}
		m.compare(t, "after the rewrite", m.store)
		for _, g := range m.store.segmentList() {
			if err := m.store.pin(g, false); err != nil {
				t.Fatal(err)
			}
			if g.clustered {
				for i := range g.index.queues {
					if r := g.index.runsAt(i); pieces(r) != 1 {
						t.Fatalf("seed %d: a queue lies in %d parts of %s", seed, pieces(r), g.name)
					}
				}
			}
			g.unpin()
		}
		if after := dumped(t, killed(m.fsys)); !slices.Equal(after, before) {
			t.Fatalf("seed %d: %d frames before, %d after, or others", seed, len(before), len(after))
		}
		m.reopen(t)
		if rewriteAll(t, m.store) > 2 { // those that the last run could not, as a start may have replayed them
			t.Fatalf("seed %d: segments are rewritten again", seed)
		}
		m.compare(t, "after a restart", m.store)
		if err := m.store.Close(); err != nil {
			t.Fatal(err)
		}
		if r := m.check(t, false); len(r.Findings) > 0 {
			t.Fatalf("seed %d: %s", seed, describe(r))
		}
	}
}

// pieces counts the places in which the runs of a queue lie together.
func pieces(r runs) (n int) {
	for i, end := 0, int64(-1); i < r.len(); i++ {
		e := r.at(i)
		if e.pos-frameHeader != end {
			n++
		}
		end = align(e.pos + int64(e.bytes))
	}
	return n
}

// dumped lists the frames of a log by their positions.
func dumped(t testing.TB, fsys vfs.FS) []string {
	t.Helper()
	frames := map[int64]string{}
	err := Dump(DumpOptions{FS: fsys, Dir: "data", Data: true}, func(f DumpedFrame) error {
		f.Offset = 0
		frames[f.Position] = fmt.Sprintf("%+v", f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, pos := range slices.Sorted(maps.Keys(frames)) {
		list = append(list, frames[pos])
	}
	return list
}

// TestRewrite_CrashesAtEveryCall cuts the power in front of each call to the disk while segments are rewritten, kills the process there, and
// fails the call: each time everything is there.
func TestRewrite_CrashesAtEveryCall(t *testing.T) {
	base := newMixed(t, 3, 6)
	if err := base.store.Close(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	calls, stale := 0, 0
	// Call 0 is the one between the two renames. Which number it has is not the same in all runs: others make calls at the same time.
	for n := 0; ; n++ {
		m := &mixed{fsys: base.fsys.KillClone(), want: base.want, options: base.options}
		m.options.FS = m.fsys
		m.store = mustOpen(t, m.options)
		var left atomic.Int64
		left.Store(int64(n))
		var clones []*vfs.Mem
		var mu sync.Mutex // other calls go on meanwhile
		m.fsys.Inject(func(op vfs.Op) error {
			between := n == 0 && op.Kind == vfs.OpRename && strings.HasSuffix(op.Name, ".idx.tmp")
			if left.Add(-1) != 0 && !between {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			for range 3 {
				clones = append(clones, m.fsys.CrashClone(rng))
			}
			clones = append(clones, m.fsys.KillClone())
			return errors.New("injected")
		})
		for range 2 {
			if g := m.store.nextRewrite(); g != nil {
				g.judged.Store(m.store.rewriteSegment(g, func(int64) bool { return true }) == nil)
			}
		}
		m.fsys.Inject(nil)
		mu.Lock()
		found := clones
		mu.Unlock()
		if len(found) == 0 {
			break
		}
		calls++
		m.compare(t, fmt.Sprint("call ", n, " failed"), m.store)
		for i, clone := range append(found, m.fsys.KillClone()) {
			again := &mixed{fsys: clone, want: m.want, options: m.options}
			again.options.FS = clone
			r := again.check(t, false)
			if !r.Sound() {
				t.Fatalf("call %d, crash %d: %s", n, i, describe(r))
			}
			if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Area == AreaIndex }) {
				stale++
			}
			again.store = mustOpen(t, again.options)
			again.compare(t, fmt.Sprintf("call %d, crash %d", n, i), again.store)
			rewriteAll(t, again.store)
			again.compare(t, fmt.Sprintf("call %d, crash %d, rewritten again", n, i), again.store)
			if err := again.store.Close(); err != nil {
				t.Fatal(err)
			}
			if r := again.check(t, false); len(r.Findings) > 0 {
				t.Fatalf("call %d, crash %d, afterwards: %s", n, i, describe(r))
			}
		}
		m.store.Close()
	}
	if calls < 20 || stale == 0 {
		t.Fatalf("%d calls failed, %d crashes left an index of the order before", calls, stale)
	}
}

func TestRewrite_ReadersGoOn(t *testing.T) {
	m := newMixed(t, 9, 40)
	s := m.store
	var readers sync.WaitGroup
	var stop atomic.Bool
	for range 4 {
		readers.Go(func() {
			for round := 0; round < 2 || !stop.Load(); round++ {
				for _, q := range s.Queues() {
					if got := bodies(t, q, 0); !slices.Equal(got, m.want[queueKey(q)]) {
						t.Errorf("%s: %d messages, want %d, or others", queueKey(q), len(got), len(m.want[queueKey(q)]))
						return
					}
				}
			}
		})
	}
	n := rewriteAll(t, s)
	stop.Store(true)
	readers.Wait()
	if n < 30 {
		t.Fatalf("%d segments rewritten", n)
	}
}

// TestRewrite_AReaderFromMemoryComesAgain: a place that was looked up before a segment was sealed means nothing once that is rewritten.
func TestRewrite_AReaderFromMemoryComesAgain(t *testing.T) {
	m := newMixed(t, 11, 2)
	s := m.store
	q := s.Queues()[0]
	for _, st := range []string{"sealed", "rewritten"} {
		offset := put(t, s, q, st)[0]
		m.want[queueKey(q)] = append(m.want[queueKey(q)], st)
		var f found
		err := q.find(&f, offset, false)
		if err != nil || f.inMemory == nil {
			t.Fatalf("%s: %v, from memory: %v", st, err, f.inMemory != nil)
		}
		m.fill(t, rand.New(rand.NewPCG(2, 2)), s.Stats().Segments+4)
		want := error(nil)
		if st == "rewritten" {
			rewriteAll(t, s)
			want = errRewritten
		}
		if err := f.pinSegment(s, f.runs.at(f.n).pos, false); !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", st, err, want)
		}
		f.unpin()
	}
	m.compare(t, "at the end", s)
}

func TestRewrite_LeavesDamageAlone(t *testing.T) {
	m := newMixed(t, 13, 6)
	s := m.store
	g := s.segmentList()[1]
	rot(t, m.fsys, g.name, 4000)
	err := s.rewriteSegment(g, func(int64) bool { return true })
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.File != g.name {
		t.Fatalf("rewriting a damaged segment: %v", err)
	}
	g.judged.Store(true)
	rewriteAll(t, s)
	names, _ := m.fsys.List("data/log")
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".tmp") }) {
		t.Fatalf("left behind: %v", names)
	}
	if err := s.pin(g, false); err != nil || g.clustered {
		t.Fatalf("%v, clustered: %v", err, g.clustered)
	}
	g.unpin()
}

// rot flips a bit of a file on the disk.
func rot(t testing.TB, fsys *vfs.Mem, name string, at int64) {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// TestRewrite_DamageAfterwards: one bad frame in a rewritten segment costs the messages in it, wherever it is, and with a good index or none.
func TestRewrite_DamageAfterwards(t *testing.T) {
	base := newMixed(t, 17, 4)
	rewriteAll(t, base.store)
	if err := base.store.Close(); err != nil {
		t.Fatal(err)
	}
	name := segmentName("data", 0)
	size, err := base.fsys.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < size; at += 997 {
		for _, indexed := range []bool{true, false} {
			m := &mixed{fsys: base.fsys.KillClone(), options: base.options}
			m.options.FS = m.fsys
			rot(t, m.fsys, name, at)
			if !indexed {
				if err := m.fsys.Remove(indexName(name)); err != nil {
					t.Fatal(err)
				}
			}
			lost := 0
			for _, f := range m.check(t, true).Findings {
				if f.Area != AreaFrame && (indexed || f.Area != AreaIndex) {
					t.Fatalf("at %d, with index %v: %+v", at, indexed, f)
				}
				for _, l := range f.Lost {
					lost += int(max(l.Messages, 1))
				}
			}
			m.store = mustOpen(t, m.options)
			missing := 0
			for _, q := range m.store.Queues() {
				missing += len(base.want[queueKey(q)]) - len(readable(q))
			}
			if missing > 8 || missing > 0 && lost == 0 {
				t.Fatalf("at %d, with index %v: %d messages cannot be read, the check says %d", at, indexed, missing, lost)
			}
			m.store.Close()
		}
	}
}

// readable are the messages of a queue that can be read, one by one.
func readable(q *Queue) (list []string) {
	st := q.Stat()
	for offset := st.Min; offset < st.End; {
		b, err := q.Read(nil, offset, 1<<20, 1, false)
		var moved *MovedError
		switch {
		case err == nil:
			list = append(list, string(b[protocol.RecordHeader:]))
			offset += int64(len(b))
		case errors.As(err, &moved) && moved.Offset > offset:
			offset = moved.Offset
		default:
			offset++
		}
	}
	return list
}

// TestRewrite_WithoutAnyCheckpoint: the log is then read from its beginning, in its own order.
func TestRewrite_WithoutAnyCheckpoint(t *testing.T) {
	m := newMixed(t, 19, 6)
	rewriteAll(t, m.store)
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{checkpointName, checkpointPrev} {
		if err := m.fsys.Remove(m.store.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	whole := m.fsys.KillClone()
	if r := m.check(t, false); !r.Sound() || len(r.Findings) == 0 {
		t.Fatalf("without checkpoints: %s", describe(r))
	}
	m.store = mustOpen(t, m.options)
	m.compare(t, "without checkpoints", m.store)
	if n := clustered(t, m.fsys, m.store); n > 0 {
		t.Fatalf("%d segments are still in another order", n)
	}
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}

	m.fsys = whole
	m.options.FS = whole
	rot(t, whole, segmentName("data", 0), 5000)
	if s, err := Open(m.options); err == nil {
		s.Close()
		t.Fatal("opened a damaged log")
	}
	for range 2 { // back into the order of the log, then the damage
		m.check(t, true)
	}
	m.store = mustOpen(t, m.options)
	got := 0
	for _, q := range m.store.Queues() {
		got += len(readable(q))
	}
	want := 0
	for _, list := range m.want {
		want += len(list)
	}
	if got < want-8 || got >= want {
		t.Fatalf("%d of %d messages after the repair", got, want)
	}
}

func TestRewrite_HiddenRunsStay(t *testing.T) {
	m := newMixed(t, 23, 2)
	s := m.store
	q := s.Queues()[0]
	hide(t, s, 7, q, "hidden")
	m.fill(t, rand.New(rand.NewPCG(3, 3)), 5)
	rewriteAll(t, s)
	if _, err := s.Publish(7); err != nil {
		t.Fatal(err)
	}
	m.want[queueKey(q)] = append(m.want[queueKey(q)], "hidden")
	m.fill(t, rand.New(rand.NewPCG(4, 4)), 10)
	if n := rewriteAll(t, s); n == 0 || clustered(t, m.fsys, s) >= s.Stats().Segments-2 {
		t.Fatalf("%d rewritten now, %d of %d in all", n, clustered(t, m.fsys, s), s.Stats().Segments)
	}
	m.compare(t, "with a hidden group", s)
	m.reopen(t)
	m.compare(t, "with a hidden group, after a restart", m.store)
}

// TestRewrite_BeforeAHole: after a start, how long a segment is follows from where the next one begins, unless that was removed. Its file may be longer
// too, when a power cut has come before it was cut.
func TestRewrite_BeforeAHole(t *testing.T) {
	for _, zeros := range []int64{0, 4 << 10} {
		m := &mixed{fsys: vfs.NewMem(), want: map[string][]string{}}
		m.options = mixedOptions(m.fsys)
		lasting := m.options.Rules
		m.options.Rules = func(topic protocol.Topic) Rules {
			r := lasting(topic)
			if topic == "gone" {
				r.Retention = Policy{MaxBytes: 1}
			}
			return r
		}
		m.store = mustOpen(t, m.options)
		m.fill(t, rand.New(rand.NewPCG(1, 21)), 4)
		for i := range 60 { // most of the segment in which the others begin
			q, body := mustQueue(t, m.store, "t", int32(i%2)), fmt.Sprintf("mixed %d %s", i, strings.Repeat("x", 100))
			put(t, m.store, q, body)
			m.want[queueKey(q)] = append(m.want[queueKey(q)], body)
		}
		gone := mustQueue(t, m.store, "gone", 0)
		for range 100 {
			put(t, m.store, gone, strings.Repeat("z", 1000))
		}
		m.fill(t, rand.New(rand.NewPCG(2, 21)), 20)
		delete(m.want, queueKey(gone))
		if err := m.store.Expire(m.store.now()); err != nil {
			t.Fatal(err)
		}
		m.want[queueKey(gone)] = bodies(t, gone, gone.Stat().Min)
		list := m.store.segmentList()
		before := slices.IndexFunc(list[1:], func(g *segment) bool { return g.base != list[slices.Index(list, g)-1].end })
		if before < 0 {
			t.Fatal("retention has made no hole in the log")
		}
		name, size := list[before].name, list[before].end-list[before].base
		if err := m.store.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := m.fsys.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(size+zeros), f.Close()); err != nil {
			t.Fatal(err)
		}
		m.store = mustOpen(t, m.options)
		if n := rewriteAll(t, m.store); n < 5 {
			t.Errorf("%d segments were rewritten", n)
		}
		g := m.store.segmentList()[before]
		if err := m.store.pin(g, false); err != nil {
			t.Fatal(err)
		}
		if !g.clustered {
			t.Errorf("%s, before the hole, was not rewritten", g.name)
		}
		g.unpin()
		for _, q := range m.store.Queues() {
			equal(t, queueKey(q), bodies(t, q, q.Stat().Min), m.want[queueKey(q)])
		}
		if err := m.store.Close(); err != nil {
			t.Fatal(err)
		}
		if r := m.check(t, false); !r.Sound() {
			t.Errorf("check: %s", describe(r))
		}
	}
}
