package hostile

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

// pour sends count commands and reads nothing, until all are sent, the broker closes the connection, or it takes nothing for two seconds.
func pour(t *testing.T, addr string, count int, command func(i int) string) (sent int64, end string) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	var batch strings.Builder
	for i := 0; i < count; {
		batch.Reset()
		for n := 0; n < 500 && i < count; n++ {
			batch.WriteString(command(i))
			i++
		}
		_ = nc.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if _, err := nc.Write([]byte(batch.String())); err != nil {
			var timeout net.Error
			if asTimeout(err, &timeout) {
				return int64(i), "not read any more"
			}
			return int64(i), "closed by the broker"
		}
	}
	return int64(count), "all sent"
}

func asTimeout(err error, target *net.Error) bool {
	e, ok := err.(net.Error)
	*target = e
	return ok && e.Timeout()
}

// Test 23: a million commands are sent and no answer is read. The broker stops working for such a connection at its bound, and for many of
// them at the bound for all together.
func TestUnreadPipelines(t *testing.T) {
	const (
		each  = 4 << 20
		bound = 24 << 20
		total = 1_000_000
	)
	b := process.Start(t, process.Options{Args: []string{
		"--set", fmt.Sprintf("maxOutboundBytes=%d", each), "--set", fmt.Sprintf("maxBufferedBytes=%d", bound),
	}})
	fill(t, b.Addr, "small", 20, 1000)
	p := newProber(t, b.Addr, "small", 2)
	p.measure(t, 500*time.Millisecond)
	get := func(i int) string { return fmt.Sprintf("get small g 0 0 1048576 %d\r\n", i) }
	put := func(i int) string { return fmt.Sprintf("put small 0 10 0 %d\r\n0123456789", i) }
	for _, kind := range []struct {
		name        string
		command     func(int) string
		connections int
	}{
		{"gets on one connection", get, 1}, {"puts on one connection", put, 1},
		{"gets on 40 connections", get, 40}, {"puts on 40 connections", put, 40},
	} {
		ran, begin := b.Metric(t, `metaq_requests_total{cmd="get"}`)+b.Metric(t, `metaq_requests_total{cmd="put"}`), time.Now()
		memory := watchMemory(t, b)
		var (
			all  sync.WaitGroup
			sent atomic.Int64
			ends sync.Map
		)
		for range kind.connections {
			all.Go(func() {
				n, end := pour(t, b.Addr, total/kind.connections, kind.command)
				sent.Add(n)
				ends.Store(end, true)
			})
		}
		lat := p.measure(t, chaos.Pick(2*time.Second, 10*time.Second))
		all.Wait()
		ran = b.Metric(t, `metaq_requests_total{cmd="get"}`) + b.Metric(t, `metaq_requests_total{cmd="put"}`) - ran
		_, anonymous := memory.stop()
		var how []string
		ends.Range(func(k, _ any) bool { how = append(how, k.(string)); return true })
		chaos.Figure(t, 23, kind.name, "%d commands sent, %.0f run, in %.1f s; %s; anonymous memory at most %s; others' p99 %s",
			sent.Load(), ran-float64(len(lat)), time.Since(begin).Seconds(), strings.Join(how, ", "), mib(anonymous), ms(quantile(lat, 0.99)))
		if ran >= total+float64(len(lat)) && strings.HasPrefix(kind.name, "gets") {
			t.Errorf("%s: all %.0f commands were run although nobody reads", kind.name, ran)
		}
		if most := int64(4*bound + 64<<20); anonymous > most {
			t.Errorf("%s: anonymous memory reached %d bytes, want at most %d", kind.name, anonymous, most)
		}
	}
	held := stat(t, b.Addr, "connections", "buffered_peak_bytes")
	chaos.Figure(t, 23, "held at most", "%s; bounds %s for one connection and %s for all", mib(held), mib(each), mib(bound))
	if held > bound*3/2 {
		t.Errorf("%d bytes were held at most, want at most %d", held, bound*3/2)
	}
	if stat(t, b.Addr, "connections", "pauses_total") == 0 || held < each {
		t.Error("no connection was made to wait: the test has not done what it should")
	}
}
