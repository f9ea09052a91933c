package hostile

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// slowReader is a slow reader of the topic big.
func slowReader(addr string, over <-chan struct{}, begun *sync.WaitGroup) {
	slowReaderOf("big", addr, over, begun)
}

// slowReaderOf asks for a lot and reads a byte a second, and comes back when it is closed, until over is closed.
func slowReaderOf(topic, addr string, over <-chan struct{}, begun *sync.WaitGroup) {
	first := true
	gets := strings.Repeat("get "+topic+" g 0 0 1048576 1\r\n", 64)
	for {
		nc, err := net.DialTimeout("tcp", addr, patience)
		if err == nil {
			_ = nc.(*net.TCPConn).SetReadBuffer(4096)
			_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
			_, err = nc.Write([]byte(gets))
		}
		if first {
			begun.Done()
			first = false
		}
		for one := make([]byte, 1); err == nil; {
			select {
			case <-over:
				nc.Close()
				return
			case <-time.After(time.Second):
				_ = nc.SetReadDeadline(time.Now().Add(time.Second))
				_, err = nc.Read(one)
			}
		}
		if nc != nil {
			nc.Close()
		}
		select {
		case <-over:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Test 20: a hundred consumers ask for 64 MiB each and read a byte a second. What the broker holds for them is bounded, for all together, and
// the others do not feel them: the same clients are measured with and without them, in turns.
func TestSlowConsumers(t *testing.T) {
	const (
		readers = 100
		bound   = 64 << 20
		message = 60 << 10
	)
	b := process.Start(t, process.Options{Args: []string{"--set", fmt.Sprintf("maxBufferedBytes=%d", bound)}})
	fill(t, b.Addr, "big", 4<<20/message, message)
	fill(t, b.Addr, "small", 1, 100)
	p := newProber(t, b.Addr, "small", 4)
	p.measure(t, 300*time.Millisecond) // warm
	_, before := b.Memory(t)
	memory := watchMemory(t, b)
	var without, with, without99, with99 []time.Duration
	for range chaos.Pick(1, 6) {
		calm := p.measure(t, chaos.Pick(time.Second, 6*time.Second))
		over := make(chan struct{})
		var begun, all sync.WaitGroup
		begun.Add(readers)
		for range readers {
			all.Go(func() { slowReader(b.Addr, over, &begun) })
		}
		begun.Wait()
		loud := p.measure(t, chaos.Pick(3*time.Second, 9*time.Second))
		close(over)
		all.Wait()
		waitFor(t, "the slow consumers are gone", func() bool { return stat(t, b.Addr, "connections", "curr_connections") <= 5 })
		without, with = append(without, quantile(calm, 0.5)), append(with, quantile(loud, 0.5))
		without99, with99 = append(without99, quantile(calm, 0.99)), append(with99, quantile(loud, 0.99))
	}
	_, anonymous := memory.stop()
	held := stat(t, b.Addr, "connections", "buffered_peak_bytes")
	paused := stat(t, b.Addr, "connections", "pauses_total")
	closed := stat(t, b.Addr, "connections", "slow_closed_total")

	chaos.Figure(t, 20, "slow consumers", "%d, each asking for 64 MiB and reading 1 byte/s", readers)
	chaos.Figure(t, 20, "held for all of them at most", "%s, bound %s", mib(held), mib(bound))
	chaos.Figure(t, 20, "anonymous memory", "%s before, %s at most", mib(before), mib(anonymous))
	chaos.Figure(t, 20, "others' p50 without / with", "%s / %s", ms(median(without)), ms(median(with)))
	chaos.Figure(t, 20, "others' p99 without / with", "%s / %s (%.1fx)", ms(median(without99)), ms(median(with99)), float64(median(with99))/float64(median(without99)))
	chaos.Figure(t, 20, "closed for not reading", "%d", closed)
	if paused == 0 || held < bound/4 {
		t.Errorf("%d pauses, %d bytes held at most: the consumers were not slow", paused, held)
	}
	// One small piece may begin below the bound for each connection.
	if most := int64(bound + readers*(64<<10+message)); held > most {
		t.Errorf("%d bytes were held, want at most %d", held, most)
	}
	// The collector lets the heap double before it runs, and buffers that connections gave back are kept for the next ones for a while.
	if most := before + 4*bound; anonymous > most {
		t.Errorf("anonymous memory grew from %d to %d bytes, want at most %d", before, anonymous, most)
	}
	// A generous bound, below the 3 s after which clients give up: on a machine with other work the p99 alone moves by hundreds of milliseconds.
	if a, b := median(without99), median(with99); b > 5*a+2*time.Second {
		t.Errorf("the p99 of others is %s with the slow consumers and %s without them", b, a)
	}
}
