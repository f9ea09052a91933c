package many

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

// TestQueues_CostIndexEntries writes to very many queues and looks at what the broker takes meanwhile, what it takes to show them, and how
// long a start takes.
func TestQueues_CostIndexEntries(t *testing.T) {
	queues := chaos.Pick(10_000, 50_000)
	megabytes := chaos.Pick(300, 4500)
	name := func(what string) string { return fmt.Sprintf("queues %d, %s", queues, what) }
	b := process.Start(t, process.Options{Config: fmt.Sprintf("[system]\nunflushThreshold=1000\n[topic=t]\nnumPartitions=%d\n", queues)})

	done := make(chan struct{})
	var peak usage
	var watch sync.WaitGroup
	pid := b.PID()
	watch.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				u := usageOf(t, pid)
				peak.anonymous, peak.files, peak.mappings = max(peak.anonymous, u.anonymous), max(peak.files, u.files), max(peak.mappings, u.mappings)
			}
		}
	})
	// A slow connection measures what the others wait for; it puts one message at a time.
	probe := dial(t, b.Addr, "t", queues, 1000)
	stop := make(chan struct{})
	watch.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if err := probe.put(1); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	l := dial(t, b.Addr, "t", queues, 1000)
	began := time.Now()
	for n := 0; n < megabytes<<20/1000; n += 256 {
		if err := l.put(256); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	close(stop)
	for _, path := range []string{"/metrics"} {
		answer, err := http.Get("http://" + b.HTTPAddr + path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err != nil || n == 0 || n > 8<<20 {
			t.Errorf("%s has %d bytes, %v", path, n, err)
		}
	}
	close(done)
	watch.Wait()
	chaos.Figure(t, 10, name(fmt.Sprintf("%d MB of 1000 B messages", megabytes)), "%d msgs/s", int(float64(l.next)/took.Seconds()))
	chaos.Figure(t, 10, name("a put of one message beside it"), "p50 %s, p99.9 %s, max %s", probe.quantile(0.5), probe.quantile(0.999), probe.quantile(1))
	chaos.Figure(t, 10, name("peak"), "%d MB anonymous, %d open files, %d mappings", peak.anonymous>>20, peak.files, peak.mappings)
	if peak.anonymous > 100<<20 || peak.files > 64 {
		t.Errorf("at %d queues the broker takes %+v; want at most 100 MB and 64 files", queues, peak)
	}

	for _, how := range []struct {
		name  string
		end   func(testing.TB)
		bound time.Duration
	}{{"SIGTERM", b.Stop, 300 * time.Millisecond}, {"kill -9", b.Kill, 2 * time.Second}} {
		if how.name == "kill -9" {
			l = dial(t, b.Addr, "t", queues, 1000)
			for range 200 {
				if err := l.put(256); err != nil {
					t.Fatal(err)
				}
			}
		}
		how.end(t)
		began := time.Now()
		b.Restart(t)
		if err := dial(t, b.Addr, "t", queues, 10).put(1); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		chaos.Figure(t, 10, name("start after "+how.name+" to the next accepted put"), "%d ms, target %d ms at 10,000", took.Milliseconds(), how.bound.Milliseconds())
		if took > 5*how.bound { // the machine may be busy with other tests
			t.Errorf("after %s a start takes %s", how.name, took)
		}
	}
}
