package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

// A pipeliner puts numbered messages, with some of them always on their way, and knows which were acknowledged.
type pipeliner struct {
	topic  string
	name   int
	next   int
	acked  map[string]bool
	reset  int      // connections that ended with an error instead of an end
	wrong  []string // answers that should not be
	window int
}

// work goes on until the broker ends the connection, or over is closed.
func (p *pipeliner) work(c *client, over <-chan struct{}) {
	defer c.Close()
	sent := make(chan string, p.window)
	go func() {
		defer close(sent)
		for {
			body := fmt.Sprintf("%d-%d-", p.name, p.next)
			select {
			case <-over:
				return
			case sent <- body:
			}
			if c.send(fmt.Sprintf("put %s 0 %d 0 %d\r\n%s", p.topic, len(body), p.next, body)) != nil {
				return // the answers to what went before are still to be read
			}
			p.next++
		}
	}()
	dead := false
	for body := range sent {
		if dead {
			continue
		}
		a, err := c.read()
		switch {
		case errors.Is(err, io.EOF):
			dead = true
		case err != nil:
			p.reset++
			dead = true
		case a.code != 200:
			p.wrong = append(p.wrong, fmt.Sprintf("%s: %d %s", body, a.code, a.body))
		default:
			p.acked[body] = true
		}
		if dead {
			// What was sent after the end of the answers is in nobody's hands: the sender must not wait for it.
			c.Close()
		}
	}
}

// stored reads a partition from its beginning and returns the messages.
func stored(t *testing.T, addr, topic string) []string {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	var all []string
	for offset := 0; ; {
		if err := c.send(fmt.Sprintf("get %s g 0 %d 1048576 1\r\n", topic, offset)); err != nil {
			t.Fatal(err)
		}
		a, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if a.code == 404 {
			return all
		}
		if !a.value {
			t.Fatalf("get at %d: %d %s", offset, a.code, a.body)
		}
		for b := a.body; len(b) >= 20; {
			size := int(binary.BigEndian.Uint32(b))
			if len(b) < 20+size {
				break
			}
			all = append(all, string(b[20:20+size]))
			b = b[20+size:]
			offset += 20 + size
		}
	}
}

// Test 29, first half: SIGTERM in the middle of work. Every put that was executed is answered before the connection ends, connections end in
// order, and after a restart exactly the acknowledged messages are there.
func TestDrainUnderLoad(t *testing.T) {
	rng := rand.New(rand.NewPCG(chaos.Seed(t), 0))
	b := process.Start(t, process.Options{Args: []string{"--set", "logSegmentSize=8M"}, Config: "[system]\n[topic=flushed]\n[topic=written]\nunflushThreshold=1000\n"})
	fill(t, b.Addr, "written", 1, 10)
	var list []*pipeliner
	for i := range 6 {
		list = append(list, &pipeliner{topic: []string{"flushed", "written"}[i%2], name: i, acked: map[string]bool{}, window: 32})
	}
	rounds := chaos.Pick(5, 100)
	var drains []time.Duration
	polls := 0
	for range rounds {
		over := make(chan struct{})
		var all sync.WaitGroup
		for _, p := range list {
			c := dial(t, b.Addr)
			all.Go(func() { p.work(c, over) })
		}
		waiting := dial(t, b.Addr)
		if err := waiting.send("get flushed g 0 9000000000000000000 100 200000 7\r\nversion 8\r\n"); err != nil {
			t.Fatal(err)
		}
		if a, err := waiting.read(); err != nil || a.opaque != 8 {
			t.Fatalf("version: %+v, %v", a, err)
		}
		pause(50*time.Millisecond + time.Duration(rng.Int64N(int64(150*time.Millisecond))))
		begin := time.Now()
		b.Signal(t, syscall.SIGTERM)
		if a, err := waiting.read(); err == nil && a.opaque == 7 {
			polls++
		}
		waiting.Close()
		b.Await(t)
		drains = append(drains, time.Since(begin))
		all.Wait()
		close(over)
		b.Restart(t)
	}
	acked, resets, lost, unanswered := 0, 0, 0, 0
	for _, topic := range []string{"flushed", "written"} {
		there := map[string]int{}
		for _, body := range stored(t, b.Addr, topic) {
			there[body]++
		}
		delete(there, strings.Repeat("x", 10))
		for _, p := range list {
			if p.topic != topic {
				continue
			}
			acked += len(p.acked)
			resets += p.reset
			for _, w := range p.wrong[:min(3, len(p.wrong))] {
				t.Errorf("a put was refused: %s", w)
			}
			for body := range p.acked {
				if there[body] != 1 {
					lost++
				}
				delete(there, body)
			}
		}
		unanswered += len(there)
	}
	slices.Sort(drains)
	chaos.Figure(t, 29, "stops under load", "%d; %d puts acknowledged, %d lost, %d executed without an answer, %d connections reset", rounds, acked, lost, unanswered, resets)
	chaos.Figure(t, 29, "waiting gets answered at the stop", "%d of %d", polls, rounds)
	chaos.Figure(t, 29, "drain p50 / p99 / most", "%s / %s / %s", ms(quantile(drains, 0.5)), ms(quantile(drains, 0.99)), ms(quantile(drains, 1)))
	if lost+unanswered+resets > 0 || polls != rounds {
		t.Errorf("%d lost, %d executed without an answer, %d resets, %d of %d waiting gets answered", lost, unanswered, resets, polls, rounds)
	}
	if acked < 100*rounds {
		t.Errorf("only %d puts were acknowledged in %d rounds: the broker was not at work when it was stopped", acked, rounds)
	}
}

// Test 29, second half: SIGHUP in the middle of work, every tenth time with a file that has a mistake. Nobody notices.
func TestReloadUnderLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.ini")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("[system]\nnumPartitions=1\n[topic=flushed]\n[topic=written]\nunflushThreshold=1000\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	b := process.Start(t, process.Options{Args: []string{"--config", file}})
	var list []*pipeliner
	over := make(chan struct{})
	var all sync.WaitGroup
	for i := range 4 {
		p := &pipeliner{topic: []string{"flushed", "written"}[i%2], name: i, acked: map[string]bool{}, window: 32}
		list = append(list, p)
		c := dial(t, b.Addr)
		all.Go(func() { p.work(c, over) })
	}
	const success, when = "metaq_config_reload_success", "metaq_config_reload_success_timestamp_seconds"
	rounds := chaos.Pick(20, 100)
	var took []time.Duration
	for i := range rounds {
		last := b.Metric(t, when)
		begin := time.Now()
		if mistake := i%10 == 9; mistake {
			write("[topic=t]\nnumPartition=4\n")
			b.Signal(t, syscall.SIGHUP)
			waitFor(t, "the mistake is seen", func() bool { return b.Metric(t, success) == 0 })
			continue
		}
		write(fmt.Sprintf("[topic=t%d]\nnumPartitions=%d\n", i, 1+i%4))
		b.Signal(t, syscall.SIGHUP)
		waitFor(t, "the file is taken", func() bool { return b.Metric(t, when) > last && b.Metric(t, success) == 1 })
		took = append(took, time.Since(begin))
		c := dial(t, b.Addr)
		c.ask(t, 200, fmt.Sprintf("put t%d 0 1 0 1\r\nx", i))
		c.Close()
	}
	close(over)
	all.Wait()
	acked := 0
	there := map[string]int{}
	for _, topic := range []string{"flushed", "written"} {
		for _, body := range stored(t, b.Addr, topic) {
			there[body]++
		}
	}
	for _, p := range list {
		acked += len(p.acked)
		if len(p.wrong) > 0 || p.reset > 0 || len(p.acked) != p.next {
			t.Errorf("client %d: %d of %d puts acknowledged, %d resets, %v", p.name, len(p.acked), p.next, p.reset, p.wrong)
		}
		for body := range p.acked {
			if there[body] != 1 {
				t.Errorf("%s is there %d times", body, there[body])
			}
		}
	}
	slices.Sort(took)
	chaos.Figure(t, 29, "reloads under load", "%d, %d of them of a file with a mistake; %d puts acknowledged, 0 failed", rounds, rounds/10, acked)
	chaos.Figure(t, 29, "reload seen in the metrics after, p50 / most", "%s / %s", ms(quantile(took, 0.5)), ms(quantile(took, 1)))
	if acked < 10*rounds {
		t.Errorf("only %d puts were acknowledged", acked)
	}
}
