package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

func (m *matrix) crashes() int {
	if m.mode == "quick" {
		return 1
	}
	return min(m.rounds, 3)
}

func (m *matrix) w6() error {
	o := m.only()
	for _, t := range o.targets {
		if t.sync == "nofl" || !t.can() {
			continue
		}
		if _, err := t.start("os", true, 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		if err := t.p.Prepare(context.Background(), 4); err != nil {
			fmt.Fprintln(os.Stderr, t.name, err)
			continue
		}
		if err := t.fill(4, m.crash); err != nil {
			fmt.Fprintln(os.Stderr, t.name, "fill:", err)
		}
		for r := 1; r <= m.crashes(); r++ {
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				t.p.Produce(ctx, produceCfg{Parts: 4, Conns: 4, Window: 16, Size: 1024, Duration: 20 * time.Second})
				close(done)
			}()
			time.Sleep(1 * time.Second)
			t.stop(true)
			cancel()
			disk := float64(diskUse(t.data)) / 1e6
			s, err := t.start("os", false, 4)
			g := figures{Target: t.name, Cell: "W6 recovery", Run: r, StartSec: s, DiskMB: disk}
			if err != nil {
				g.Err = err.Error()
			}
			m.add(g)
			select {
			case <-done:
			case <-time.After(35 * time.Second):
			}
			t.p, _ = newPeer(t.kind, t.addr)
		}
		t.stop(false)
		if t.base != "" {
			os.RemoveAll(t.data)
		}
	}
	return nil
}
