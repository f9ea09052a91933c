package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

func (m *matrix) w5cell() error {
	o := m.only()
	for _, t := range o.targets {
		if t.sync == "nofl" {
			continue
		}
		for _, n := range m.w5 {
			cell := fmt.Sprintf("W5 %d queues", n)
			fail := func(err error) { m.add(figures{Target: t.name, Cell: cell, Run: 1, Err: err.Error()}) }
			if _, err := t.start("os", true, 0); err != nil {
				fail(err)
				t.stop(false)
				break
			}
			ctx, cancel := context.WithTimeout(context.Background(), m.w5limit)
			began := time.Now()
			err := t.p.Prepare(ctx, n)
			cancel()
			mk := time.Since(began).Seconds()
			if err != nil {
				fail(fmt.Errorf("making %d took over %.0f s or failed: %w", n, mk, err))
				t.stop(true)
				break
			}
			c := produceCfg{Parts: n, Conns: 16, Window: 16, Size: 1024, Duration: m.dur, Count: m.maxBytes / 1024}
			// Every queue gets its first message before the clock starts.
			first := c
			first.Duration, first.Count = m.w5limit, int64(max(2*n, 2000))
			if st, err := t.p.Produce(context.Background(), first); err != nil || st.Errors > 0 {
				e := int64(0)
				if st != nil {
					e = st.Errors
				}
				fail(fmt.Errorf("first messages: %v, %d refused", err, e))
				t.stop(true)
				break
			}
			at := len(m.all)
			for r := 1; r <= m.rounds; r++ {
				syscall.Sync()
				g := measured(t.name, cell, r, t.pid, t.data, func() (*loadStats, error) { return t.p.Produce(context.Background(), c) })
				g.Files, g.Maps, g.MakeSec = openFiles(t.pid), mapCount(t.pid), mk
				m.all = append(m.all, g)
			}
			disk := float64(diskUse(t.data)) / 1e6
			var starts []float64
			if t.can() {
				k := 3
				if n >= 10000 || m.mode == "quick" {
					k = 1
				}
				for i := 0; i < k; i++ {
					t.stop(false)
					s, err := t.start("os", false, n)
					if err != nil {
						fmt.Fprintln(os.Stderr, t.name, "restart:", err)
						break
					}
					starts = append(starts, s)
				}
			}
			runs := append([]figures(nil), m.all[at:]...)
			m.all = m.all[:at]
			for _, g := range runs {
				g.StartSec, g.DiskMB = median(starts), disk
				m.add(g)
			}
			t.stop(false)
			if t.base != "" {
				os.RemoveAll(t.data)
			}
		}
	}
	return nil
}
