package hostile

import (
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/test/process"
)

// peak watches the memory of a broker until it is stopped.
type peak struct {
	over chan struct{}
	wait sync.WaitGroup

	resident, anonymous int64
}

// watchMemory must be stopped before the broker ends.
func watchMemory(t testing.TB, b *process.Broker) *peak {
	p := &peak{over: make(chan struct{})}
	p.wait.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			resident, anonymous := b.Memory(t)
			p.resident, p.anonymous = max(p.resident, resident), max(p.anonymous, anonymous)
			select {
			case <-p.over:
				return
			case <-tick.C:
			}
		}
	})
	return p
}

// stop returns the most that was seen, in bytes.
func (p *peak) stop() (resident, anonymous int64) {
	close(p.over)
	p.wait.Wait()
	return p.resident, p.anonymous
}
