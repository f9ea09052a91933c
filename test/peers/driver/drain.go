package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// flushedAfter is how long the original takes until it shows what it has acknowledged: it flushes each 10 s.
const flushedAfter = 11 * time.Second

// backlogged starts the targets, fills them and returns those that are ready to be drained.
func (m *matrix) backlogged(cell string, parts int, bytes int64, spread bool) []*target {
	var up []*target
	for _, t := range m.targets {
		err := func() error {
			if _, err := t.start("os", true, 0); err != nil {
				return err
			}
			if err := t.p.Prepare(context.Background(), parts); err != nil {
				return err
			}
			return t.fill(parts, bytes, spread)
		}()
		if err != nil {
			m.failed(t, cell, fmt.Errorf("backlog: %w", err))
			t.stop(true)
			continue
		}
		if t.kind == "metaq-java" {
			time.Sleep(flushedAfter)
		}
		up = append(up, t)
	}
	return up
}

// w3 drains a backlog that is in the page cache, with one and with four consumers.
func (m *matrix) w3() error {
	up := m.only(noVariant).backlogged("W3 1cons", 4, m.backlog, false)
	syscall.Sync()
	for _, n := range []int{1, 4} {
		cell := fmt.Sprintf("W3 %dcons", n)
		for r := m.warmUp; r <= m.rounds; r++ {
			for _, t := range up {
				g := measured(t.name, cell, r, t.pid, "", func() (*loadStats, error) {
					return t.p.Consume(context.Background(), consumeCfg{Parts: 4, Consumers: n, Count: m.backlog / 1024, Deadline: 120 * time.Second})
				})
				if r > 0 { // the first is warm-up
					m.add(g)
				}
			}
		}
	}
	return nil
}
