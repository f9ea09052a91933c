package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wire"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const config = `[system]
brokerId=1
numPartitions=1
logSegmentSize=1M
unflushThreshold=0
[topic=flushed]
[topic=written]
unflushThreshold=100000
unflushInterval=60000
`

// How many sealed segments the log has, and what part of the letters one of them can hold at most.
const (
	sealedSegments = 6
	mostOfOne      = 0.4
)

// Test 35: somebody else cuts a file of the running broker. What is gone is an error, what is there is served, and the process stays alive.
// Segments and indexes are read through mappings: beyond the end of a file the kernel answers with SIGBUS.
func TestCut(t *testing.T) {
	seed := chaos.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	cuts, refused := 0, 0.0
	for _, cold := range []bool{false, true} {
		for range chaos.Pick(1, 8) {
			name := map[bool]string{false: "hot", true: "cold"}[cold]
			t.Run(name+" segment", func(t *testing.T) {
				refused += cutSegments(t, rng, cold)
				cuts++
			})
			t.Run(name+" index", func(t *testing.T) {
				cutIndexes(t, rng, cold)
				cuts++
			})
		}
	}
	chaos.Figure(t, 35, "logs with files cut under the broker", "%d; it never ended, and %.1f %% of the letters of a log with a cut segment were refused, none was wrong", cuts, 200*refused/float64(cuts))
}

// cutSegments cuts a sealed segment: in its middle, then to nothing.
func cutSegments(t *testing.T, rng *rand.Rand, cold bool) (refused float64) {
	s := newShelf(t, config, sealedSegments)
	if cold {
		s.broker.Stop(t)
		s.broker.Restart(t)
	}
	if part := s.readEverything(t); part != 0 {
		t.Fatalf("%.3f of the letters are refused before anything is cut", part)
	}
	segments := s.files(t, "log/*.log")
	victim := segments[1+rng.IntN(sealedSegments-2)]
	for _, to := range []int64{rng.Int64N(sizeOf(t, victim)), 0} {
		cut(t, victim, to)
		if refused = s.readEverything(t); refused == 0 || refused > mostOfOne {
			t.Errorf("after a cut of %s to %d, %.3f of the letters are refused", victim, to, refused)
		}
		s.asks(t)
		s.stands(t)
	}
	s.goesOn(t)
	return refused
}

// cutIndexes cuts all index files, each anywhere. Nothing is lost by that: they are made again.
func cutIndexes(t *testing.T, rng *rand.Rand, cold bool) {
	s := newShelf(t, config, sealedSegments)
	if cold {
		s.broker.Stop(t)
		s.broker.Restart(t)
	}
	s.readEverything(t) // maps them
	for _, name := range s.files(t, "log/*.idx") {
		cut(t, name, rng.Int64N(sizeOf(t, name)))
	}
	s.asks(t)
	if refused := s.readEverything(t); refused != 0 {
		t.Errorf("after a cut of the indexes, %.3f of the letters are refused", refused)
	}
	for _, name := range s.files(t, "log/*.idx") {
		cut(t, name, 0)
	}
	if refused := s.readEverything(t); refused != 0 {
		t.Errorf("after a cut of the indexes to nothing, %.3f of the letters are refused", refused)
	}
	s.asks(t)
	s.stands(t)
	s.goesOn(t)
}

// asks has the broker look for places in the queues: they are answered, or said to be damaged.
func (s *shelf) asks(t *testing.T) {
	t.Helper()
	c, err := wire.Dial(s.broker.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, b := range s.boxes {
		for _, line := range []string{"seek %s 0 0 7", "seek %s 0 1 7", "seek %s 0 9000000000000 7", "offset %s g 0 0 7", "offset %s g 0 100000 7"} {
			if _, err := fmt.Fprintf(c.Net, line+"\r\n", b.queue.Topic); err != nil {
				t.Fatal(err)
			}
			if a, err := c.Read(); err != nil || a.Code != 200 && a.Code != 500 {
				t.Errorf("%s is answered %s, %v", line, a.Text(), err)
			}
		}
	}
}

// goesOn sees that puts are still taken, segments sealed, and that the broker stops in order.
func (s *shelf) goesOn(t *testing.T) {
	t.Helper()
	end := slices.Max(s.files(t, "log/*.log"))
	for slices.Max(s.files(t, "log/*.idx")) <= end { // until what is open now is sealed, and one more
		for _, b := range s.boxes {
			if refused := b.put(t, s.broker.Addr); refused != "" {
				t.Fatalf("put to %s: %s", b.queue, refused)
			}
		}
	}
	s.stands(t)
	s.broker.Stop(t)
}

// Test 35: the segment that is written to is cut. Whatever is written to it afterwards has a hole before it, so the log is poisoned.
func TestCut_OpenSegment(t *testing.T) {
	seed := chaos.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range chaos.Pick(2, 12) {
		s := newShelf(t, config, 2)
		segments := s.files(t, "log/*.log")
		victim := segments[len(segments)-1]
		cut(t, victim, rng.Int64N(64<<10))
		refused := ""
		await(t, "puts are refused", func() bool {
			refused = s.boxes[0].put(t, s.broker.Addr)
			return refused != ""
		})
		if !strings.Contains(refused, "write to the disk has failed") {
			t.Errorf("puts are refused without the cause: %s", refused)
		}
		await(t, "health is red", func() bool {
			ready, why := s.broker.Health(t)
			return !ready && strings.Contains(why, "was cut by somebody else")
		})
		s.readEverything(t)
		s.asks(t)
		s.stands(t)
		s.broker.Kill(t)
		if err := s.broker.TryRestart(t); err == nil {
			if part := s.readEverything(t); part == 0 {
				t.Errorf("after a cut of %s the broker starts and has everything", victim)
			}
		}
	}
}

// Test 35: the files that the broker only writes while it runs.
func TestCut_CheckpointAndFlushed(t *testing.T) {
	s := newShelf(t, config, sealedSegments)
	for _, name := range []string{"checkpoint", "checkpoint.prev", "flushed"} {
		for _, file := range s.files(t, name) {
			cut(t, file, sizeOf(t, file)/2)
		}
	}
	s.goesOn(t) // ends in order, so the files are whole again
	s.broker.Restart(t)
	if part := s.readEverything(t); part != 0 {
		t.Errorf("%.3f of the letters are refused", part)
	}
	s.stands(t)
}

// Test 35: what is cut expires. Retention goes over it, and removes the files like others.
func TestCut_Retention(t *testing.T) {
	config := strings.Replace(config, "[topic=flushed]", "maxSegmentSize=64K\n[topic=flushed]", 1)
	s := newShelf(t, config, sealedSegments)
	old := s.files(t, "log/*.log")[:sealedSegments]
	s.readEverything(t)
	for i, name := range old {
		if i%2 == 0 {
			cut(t, name, sizeOf(t, name)/3)
		} else {
			index := strings.TrimSuffix(name, ".log") + ".idx"
			cut(t, index, sizeOf(t, index)/2)
		}
	}
	s.broker.Reload(t, strings.Replace(config, "[topic=flushed]", "deletePolicy=delete,1M\ndeleteWhen=* * * * * ?\n[topic=flushed]", 1))
	await(t, "what was cut is removed", func() bool {
		for _, b := range s.boxes {
			if refused := b.put(t, s.broker.Addr); refused != "" {
				t.Fatalf("put to %s: %s", b.queue, refused)
			}
		}
		return s.files(t, "log/*.log")[0] > old[len(old)-1]
	})
	s.stands(t)
	s.goesOn(t)
}
