package hostile

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A prober is a group of clients that behave: each puts and gets at fixed times, whatever the broker does, and notes how long after its
// time a command was answered.
type prober struct {
	topic   string
	clients []*client
	every   time.Duration
}

func newProber(t testing.TB, addr, topic string, clients int) *prober {
	t.Helper()
	p := &prober{topic: topic, every: 5 * time.Millisecond}
	for range clients {
		p.clients = append(p.clients, dial(t, addr))
	}
	return p
}

// measure works for a while and returns the latencies in ascending order. A command that is not answered with 200 fails the test.
func (p *prober) measure(t testing.TB, length time.Duration) []time.Duration {
	t.Helper()
	var (
		mu  sync.Mutex
		all []time.Duration
		wg  sync.WaitGroup
	)
	body := strings.Repeat("p", 100)
	begin := time.Now()
	for i, c := range p.clients {
		wg.Go(func() {
			var mine []time.Duration
			due := begin.Add(p.every * time.Duration(i) / time.Duration(len(p.clients)))
			for n := 0; due.Before(begin.Add(length)); n++ {
				pause(time.Until(due))
				command := fmt.Sprintf("put %s 0 %d 0 %d\r\n%s", p.topic, len(body), n, body)
				if n%2 == 1 {
					command = fmt.Sprintf("get %s g 0 0 4096 %d\r\n", p.topic, n)
				}
				err := c.send(command)
				a, rerr := c.read()
				if err != nil || rerr != nil || a.code != 200 || a.opaque != int64(n) {
					t.Errorf("a client that behaves: command %d: %d %.200q, %v, %v", n, a.code, a.body, err, rerr)
					return
				}
				mine = append(mine, time.Since(due))
				due = due.Add(p.every)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

// quantile is of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// median sorts the values.
func median(values []time.Duration) time.Duration {
	slices.Sort(values)
	return quantile(values, 0.5)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
