package crash

import (
	"fmt"
	"sync"
	"testing"

	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/process"
)

const writersPerQueue = 2

// load is everybody who works on a broker.
type load struct {
	run    *history.Run
	queues []queue
	procs  []interface{ work(addr string) }
}

func newLoad(run *history.Run, queues []queue) *load {
	l := &load{run: run, queues: queues}
	writers := 0
	for i, q := range queues {
		l.procs = append(l.procs, &reader{run: run, f: history.Get, number: i, queue: q}, &committer{run: run, queue: q}, &onlooker{run: run, queue: q})
		for range writersPerQueue {
			l.procs = append(l.procs, &writer{run: run, number: writers, queue: q})
			writers++
		}
	}
	return l
}

// live lets everybody work until fault has ended the broker, and waits until all have noticed.
func (l *load) live(addr string, fault func()) {
	var all sync.WaitGroup
	for _, p := range l.procs {
		all.Go(func() { p.work(addr) })
	}
	fault()
	all.Wait()
}

// fault notes that a fault begins.
func (l *load) fault(what string) {
	l.run.Add(history.Event{Proc: "nemesis", Type: history.Invoke, F: history.Nemesis, ID: what})
}

// healed notes that the broker is back.
func (l *load) healed(what string) {
	l.run.Add(history.Event{Proc: "nemesis", Type: history.OK, F: history.Nemesis, ID: what})
}

// judge lets everybody work once more, stops the broker in order, starts it again, reads everything and judges the history.
func (l *load) judge(t testing.TB, broker *process.Broker, between func()) *history.Verdict {
	t.Helper()
	l.live(broker.Addr, func() {
		between()
		broker.Stop(t)
	})
	broker.Restart(t)
	for _, q := range l.queues {
		if err := readFinal(l.run, broker.Addr, q); err != nil {
			t.Errorf("final read: %v", err)
		}
	}
	broker.Stop(t)
	v := l.run.Finish(t)
	fmt.Println(v)
	return v
}
