package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// interleave runs the targets round by round; every target is warmed up once.
func (m *matrix) interleave(up []*target, cell string, c produceCfg, warm time.Duration) {
	for _, t := range up {
		w := c
		w.Duration, w.Linger = warm, t.linger()
		w.Count = m.maxBytes / int64(max(c.Size, 64))
		if warm > 0 {
			t.p.Produce(context.Background(), w)
		}
	}
	for r := 1; r <= m.rounds; r++ {
		for _, t := range up {
			c := c
			c.Duration, c.Linger = m.dur, t.linger()
			c.Count = m.maxBytes / int64(c.Size)
			syscall.Sync()
			m.add(measured(t.name, cell, r, t.pid, t.data, func() (*loadStats, error) { return t.p.Produce(context.Background(), c) }))
		}
	}
}

func (m *matrix) w1() error {
	var up []*target
	for _, size := range []int{100, 1024, 16384} {
		if up == nil || m.mode == "full" {
			up = m.group("os", 16)
		}
		for _, w := range []int{1, 64} {
			warm := m.dur
			if w == 1 {
				warm = 3 * m.dur / 2
			}
			m.interleave(up, fmt.Sprintf("W1 %dB w%d", size, w), produceCfg{Parts: 16, Conns: 16, Window: w, Size: size}, warm)
		}
		if m.mode == "full" {
			m.stopAll()
		}
	}
	return nil
}

func (m *matrix) w2cell() error {
	o := m.only()
	o.targets = nil
	for _, t := range m.targets {
		if t.sync == "" && t.opts["linger"] == "" {
			o.targets = append(o.targets, t)
		}
	}
	up := o.group("fsync", 1, 16)
	for _, parts := range []int{1, 16} {
		for _, n := range []int{16, 64} {
			m.interleave(up, fmt.Sprintf("W2 %dpart %dprod", parts, n), produceCfg{Parts: parts, Conns: n, Window: 1, Size: 1024}, m.dur)
		}
	}
	return nil
}
