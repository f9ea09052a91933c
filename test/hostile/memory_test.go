package hostile

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

// memoryGroup is a control group with a limit on memory, of either version.
type memoryGroup struct {
	dir string
	v2  bool
}

func newMemoryGroup(t *testing.T, bytes int64) *memoryGroup {
	t.Helper()
	g := &memoryGroup{dir: "/sys/fs/cgroup/memory"}
	file := "memory.limit_in_bytes"
	if _, err := os.Stat(filepath.Join(g.dir, file)); err != nil {
		g.dir, g.v2, file = "/sys/fs/cgroup", true, "memory.max"
	}
	g.dir = filepath.Join(g.dir, fmt.Sprintf("metaq-test-%d", os.Getpid()))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Fatalf("this test makes a control group, so run it as root on a machine with the memory controller: %v", err)
	}
	t.Cleanup(func() { os.Remove(g.dir) })
	if err := os.WriteFile(filepath.Join(g.dir, file), []byte(strconv.FormatInt(bytes, 10)), 0o644); err != nil {
		t.Fatalf("limit the memory of a control group: run this test as root, and with control groups of version 2 enable the memory controller: %v", err)
	}
	return g
}

// under is the command that runs a broker in the group.
func (g *memoryGroup) under() []string {
	return []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs")}
}

// kills is how often the kernel killed for want of memory.
func (g *memoryGroup) kills(t *testing.T) int64 {
	t.Helper()
	file := map[bool]string{false: "memory.oom_control", true: "memory.events"}[g.v2]
	for line := range strings.Lines(g.read(t, file)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			kills, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kills
		}
	}
	t.Fatalf("%s has no oom_kill", file)
	return 0
}

// most is the largest use that was seen, page cache included.
func (g *memoryGroup) most(t *testing.T) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(g.read(t, map[bool]string{false: "memory.max_usage_in_bytes", true: "memory.peak"}[g.v2])), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (g *memoryGroup) read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wholeMessages is how many bytes of an answer are messages that it holds to their end.
func wholeMessages(a answer) (n int) {
	for a.value && len(a.body)-n >= 20 {
		size := 20 + int(binary.BigEndian.Uint32(a.body[n:]))
		if len(a.body)-n < size {
			break
		}
		n += size
	}
	return n
}

// Test 25: 64 MiB for everything, on the default configuration: producers that keep the disk busy in both ways of acknowledging, consumers that
// read all of it, idle connections, and slow readers on top.
func TestLittleMemory(t *testing.T) {
	const limit = 64 << 20
	g := newMemoryGroup(t, limit)
	b := process.Start(t, process.Options{Under: g.under(), Config: "[system]\nnumPartitions=4\n[topic=flushed]\n[topic=written]\nunflushThreshold=1000\n"})
	fill(t, b.Addr, "flushed", 1, 10)
	fill(t, b.Addr, "written", 1, 10)
	for range 200 {
		dial(t, b.Addr).ask(t, 200, "version 1\r\n")
	}
	memory := watchMemory(t, b)
	over := make(chan struct{})
	var all sync.WaitGroup
	var puts, got atomic.Int64
	body := strings.Repeat("m", 1024)
	for i := range 8 {
		c := dial(t, b.Addr)
		topic := []string{"flushed", "written"}[i%2]
		all.Go(func() {
			batch := strings.Repeat(fmt.Sprintf("put %s 0 %d 0 1\r\n%s", topic, len(body), body), 64)
			for {
				select {
				case <-over:
					return
				default:
				}
				err := c.send(batch)
				for range 64 {
					a, rerr := c.read()
					if err != nil || rerr != nil || a.code != 200 {
						t.Errorf("put to %s: %d %.200q, %v, %v", topic, a.code, a.body, err, rerr)
						return
					}
				}
				puts.Add(64)
				pause(10 * time.Millisecond) // 50 MB/s in all, so that a long run does not fill the disk
			}
		})
	}
	for i := range 4 {
		c := dial(t, b.Addr)
		topic := []string{"flushed", "written"}[i%2]
		all.Go(func() {
			for offset := 0; ; {
				select {
				case <-over:
					return
				default:
				}
				err := c.send(fmt.Sprintf("get %s g 0 %d 1048576 500 1\r\n", topic, offset))
				a, rerr := c.read()
				if err != nil || rerr != nil || a.code != 200 && a.code != 404 {
					t.Errorf("get from %s: %d %.200q, %v, %v", topic, a.code, a.body, err, rerr)
					return
				}
				whole := wholeMessages(a)
				got.Add(int64(whole))
				offset += whole
			}
		})
	}
	length := chaos.Pick(4*time.Second, 50*time.Second)
	var begun sync.WaitGroup
	begun.Add(20)
	fill(t, b.Addr, "written", 1, 10)
	for range 20 {
		all.Go(func() { slowReaderOf("written", b.Addr, over, &begun) })
	}
	pause(length)
	close(over)
	all.Wait()
	resident, anonymous := memory.stop()
	kills := g.kills(t)
	chaos.Figure(t, 25, "load in 64 MiB", "%d puts of 1 KiB (%.0f/s) from 8 producers, %s read by 4 consumers, 200 idle connections, 20 slow readers", puts.Load(), float64(puts.Load())/length.Seconds(), mib(got.Load()))
	chaos.Figure(t, 25, "resident memory at most", "%s, %s of it anonymous; the group with the page cache %s; killed %d times", mib(resident), mib(anonymous), mib(g.most(t)), kills)
	if kills != 0 {
		t.Errorf("the kernel killed %d times for want of memory", kills)
	}
	if most := g.most(t); most < limit*9/10 {
		t.Errorf("the group used at most %d bytes: memory was not scarce", most)
	}
	if puts.Load() < 1000 || got.Load() < 1<<20 {
		t.Errorf("%d puts and %d bytes read: there was no load", puts.Load(), got.Load())
	}
	b.Stop(t)
}
