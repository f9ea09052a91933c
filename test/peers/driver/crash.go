package main

import (
	"context"
	"os"
	"time"
)

// w6 kills the broker under load with a log of some GiB and counts the seconds to the next accepted put, the start of
// the process included.
func (m *matrix) w6() error {
	const cell = "W6 recovery"
	for _, t := range m.only(noVariant).targets {
		one := *m
		one.targets = []*target{t}
		if len(one.backlogged(cell, 4, m.crash, false)) == 0 {
			continue
		}
		for r := 1; r <= min(m.rounds, 3); r++ {
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			p := t.p
			go func() {
				defer close(done)
				p.Produce(ctx, produceCfg{Parts: 4, Conns: 4, Window: 16, Size: 1024, Duration: 20 * time.Second})
			}()
			time.Sleep(time.Second) // load before the kill
			t.stop(true)
			cancel()
			disk := float64(diskUse(t.data)) / 1e6
			s, err := t.start("os", false, 4)
			g := figures{Target: t.name, Cell: cell, Run: r, StartSec: s, DiskMB: disk}
			if err != nil {
				g.Err = err.Error()
			}
			m.add(g)
			<-done
		}
		t.stop(false)
		os.RemoveAll(t.data)
	}
	return nil
}
