package crash

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/wire"
)

// Small segments and a slow rewrite, so that a kill falls into the middle of one. What is rewritten lies 256 MiB behind the end, so the log
// has to be larger than that.
const rewriteConfig = `[system]
brokerId=1
numPartitions=3
unflushThreshold=1000
logSegmentSize=4M
rewriteRate=%s
[topic=mixed]
`

const (
	rewriteBody     = 8 << 10
	rewriteMessages = (320 << 20) / rewriteBody
	rewriteParts    = 3
	storedSize      = 20 + rewriteBody
)

// TestKill9WhileRewriting kills the broker while it puts old segments into the order of their partitions: every message stays what it was.
func TestKill9WhileRewriting(t *testing.T) {
	rng := rand.New(rand.NewPCG(chaos.Seed(t), 1))
	rounds := chaos.Pick(4, 40)
	slow, fast := fmt.Sprintf(rewriteConfig, "8M"), fmt.Sprintf(rewriteConfig, "1G")
	broker := process.Start(t, process.Options{Config: slow})
	fillMixed(t, broker.Addr)
	want := digests(t, broker.Addr)
	hit, rewritten := 0, 0.0
	for range rounds {
		await(t, "a rewrite to begin", func() bool { return len(unfinished(t, broker.Data)) > 0 })
		<-time.After(time.Duration(rng.Int64N(int64(600 * time.Millisecond))))
		rewritten += broker.Metric(t, "metaq_rewritten_segments_total")
		broker.Kill(t)
		hit += min(1, len(unfinished(t, broker.Data)))
		broker.Restart(t)
	}
	if hit == 0 {
		t.Fatalf("none of %d kills fell into a rewrite", rounds)
	}
	if got := digests(t, broker.Addr); !bytes.Equal(got, want) {
		t.Fatal("the messages are not what they were before the kills")
	}
	broker.Stop(t)
	broker = process.Start(t, process.Options{Config: fast, Data: broker.Data})
	most := 0.0
	await(t, "all rewrites", func() bool {
		n := broker.Metric(t, "metaq_rewritten_segments_total")
		done := n == most && n > 0 && len(unfinished(t, broker.Data)) == 0
		most = n
		return done
	})
	if got := digests(t, broker.Addr); !bytes.Equal(got, want) {
		t.Fatal("the messages are not what they were before all was rewritten")
	}
	broker.Stop(t)
	if out := broker.Tool(t, "check", broker.Data); strings.Contains(out, "damage") {
		t.Fatalf("metaq check after it: %s", out)
	}
	chaos.Figure(t, 1, "kills while a segment is rewritten", "%d of %d; %.0f segments rewritten; 0 messages lost or altered", hit, rounds, rewritten+most)
}

// unfinished are the files that a rewrite is writing.
func unfinished(t *testing.T, data string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "log", "*.log.tmp"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// awaitBound is how long a condition may take.
const awaitBound = time.Minute

// await polls for a condition.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	wait.Until(t, 100*time.Millisecond, awaitBound, what, done)
}

// fillMixed puts messages into the partitions in turn.
func fillMixed(t *testing.T, addr string) {
	t.Helper()
	conn, err := wire.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := make(chan error, 1)
	go func() {
		body := bytes.Repeat([]byte("0123456789abcdef"), rewriteBody/16)
		var b []byte
		for i := range rewriteMessages {
			b = fmt.Appendf(b[:0], "put mixed %d %d 0 %d\r\n", i%rewriteParts, len(body), i)
			copy(body, fmt.Sprintf("%08d", i))
			if _, err := conn.Net.Write(append(b, body...)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range rewriteMessages {
		if a, err := conn.Read(); err != nil || a.Code != 200 {
			t.Fatalf("put %d: %d %s, %v", i, a.Code, a.Body, err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// digests are of all bytes of each partition.
func digests(t *testing.T, addr string) (sums []byte) {
	t.Helper()
	conn, err := wire.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for p := range rewriteParts {
		h, at := sha256.New(), int64(0)
		for {
			a, err := conn.Get(wire.Queue{Topic: "mixed", Partition: p}, at, 1<<20)
			if err != nil || a.Code != 200 && a.Code != 404 {
				t.Fatalf("get mixed-%d at %d: %d %s, %v", p, at, a.Code, a.Body, err)
			}
			if a.Code == 404 {
				break
			}
			whole := len(a.Body) / storedSize * storedSize // the end of an answer may lie within a message
			h.Write(a.Body[:whole])
			at += int64(whole)
		}
		if least := int64(rewriteMessages / rewriteParts * rewriteBody); at < least {
			t.Fatalf("mixed-%d ends at %d, it has %d bytes at least", p, at, least)
		}
		sums = h.Sum(sums)
	}
	return sums
}
