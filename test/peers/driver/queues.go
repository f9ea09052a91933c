package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// peerQueues is the largest number of queues that the peers are asked for; beyond it ours is alone.
const peerQueues = 10000

// w5 spreads messages over many queues, and restarts the broker with them, in order and after kill -9.
func (m *matrix) w5() error {
	for _, n := range m.queues {
		cell := fmt.Sprintf("W5 %d queues", n)
		o := m.only(func(t *target) bool { return noVariant(t) && (t.kind == "ours" || n <= peerQueues) })
		c := produceCfg{Parts: n, Conns: 16, Window: 16, Size: 1024, Duration: m.dur, Count: m.maxBytes / 1024}
		var up []*target
		made := make(map[*target]float64)
		for _, t := range o.targets {
			sec, err := m.makeQueues(t, c)
			if err != nil {
				m.failed(t, cell, err)
				t.stop(true)
				continue
			}
			made[t] = sec
			up = append(up, t)
		}
		runs := make(map[*target][]figures)
		for r := 1; r <= m.rounds; r++ {
			for _, t := range up {
				syscall.Sync()
				g := measured(t.name, cell, r, t.pid, t.data, func() (*loadStats, error) { return t.p.Produce(context.Background(), c) })
				g.Files, g.Maps, g.MakeSec = openFiles(t.pid), mapCount(t.pid), made[t]
				runs[t] = append(runs[t], g)
			}
		}
		for _, t := range up {
			disk := float64(diskUse(t.data)) / 1e6
			clean, err := m.restart(t, n, false)
			var killed float64
			if err == nil {
				killed, err = m.restart(t, n, true)
			}
			for _, g := range runs[t] {
				g.StartSec, g.KillSec, g.DiskMB = clean, killed, disk
				if err != nil && g.Err == "" {
					g.Err = "restart: " + err.Error()
				}
				m.add(g)
			}
			t.stop(false)
			os.RemoveAll(t.data)
		}
	}
	return nil
}

// makeQueues starts a target and writes every queue once. It returns the seconds that making the queues took.
func (m *matrix) makeQueues(t *target, c produceCfg) (float64, error) {
	if _, err := t.start("os", true, 0); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.queueLimit)
	defer cancel()
	began := time.Now()
	if err := t.p.Prepare(ctx, c.Parts); err != nil {
		return 0, fmt.Errorf("making them failed after %.0f s: %w", time.Since(began).Seconds(), err)
	}
	sec := time.Since(began).Seconds()
	first := c
	first.Duration, first.Count = m.queueLimit, int64(max(2*c.Parts, 2000))
	st, err := t.p.Produce(context.Background(), first)
	if err != nil {
		return 0, fmt.Errorf("first messages: %w", err)
	}
	if st.Errors > 0 {
		return 0, fmt.Errorf("first messages: %d refused", st.Errors)
	}
	if st.Msgs < int64(c.Parts) {
		return 0, fmt.Errorf("only %d first messages within %s", st.Msgs, m.queueLimit)
	}
	return sec, nil
}

// restart ends a target and returns the seconds from its start to the first accepted put.
func (m *matrix) restart(t *target, parts int, kill bool) (float64, error) {
	runs := m.rounds
	if m.mode != "full" {
		runs = 1
	}
	var secs []float64
	for range runs {
		t.stop(kill)
		s, err := t.start("os", false, parts)
		if err != nil {
			return 0, err
		}
		secs = append(secs, s)
	}
	return median(secs), nil
}
