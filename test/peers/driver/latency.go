package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// e2e: open-loop producers and one consumer; the result is the consumer's latency from the scheduled send time.
func e2e(ctx context.Context, p peer, c produceCfg) (*loadStats, error) {
	tctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan struct{})
	type res struct {
		st  *loadStats
		err error
	}
	out := make(chan res, 1)
	go func() {
		st, err := p.Tail(tctx, c.Parts, ready)
		out <- res{st, err}
	}()
	select {
	case <-ready:
	case r := <-out:
		return nil, fmt.Errorf("consumer: %w", r.err)
	}
	c.AckTS = true
	ps, perr := p.Produce(ctx, c)
	time.Sleep(700 * time.Millisecond)
	cancel()
	r := <-out
	if perr != nil {
		return r.st, perr
	}
	if r.st != nil && ps != nil {
		r.st.Errors = ps.Msgs - r.st.Msgs // sent and acknowledged, not seen in time
		r.st.Elapsed = ps.Elapsed
		r.st.Bytes = r.st.Msgs * int64(c.Size)
	}
	return r.st, r.err
}

func (m *matrix) w4() error {
	d := 4 * m.dur
	syncs := []string{"os", "fsync"}
	if m.mode == "quick" {
		syncs = syncs[:1]
	}
	for _, sync := range syncs {
		o := m.only()
		var fit []*target
		for _, t := range o.targets {
			if t.sync == "" { // with nofl the original shows nothing to a reader for 10 s
				fit = append(fit, t)
			}
		}
		o.targets = fit
		up := o.group(sync, 4)
		for r := 0; r <= m.rounds; r++ {
			for _, t := range up {
				syscall.Sync()
				c := produceCfg{Parts: 4, Conns: 4, Window: 1, Size: 1024, Duration: d, Rate: 5000}
				g := measured(t.name, "W4 5k/s "+sync, r, t.pid, t.data, func() (*loadStats, error) { return e2e(context.Background(), t.p, c) })
				if r > 0 {
					m.add(g)
				}
			}
		}
		m.stopAll()
	}
	return nil
}
