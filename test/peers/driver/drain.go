package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

func (m *matrix) w3() error {
	o := m.only()
	var up []*target
	for _, t := range o.targets {
		if t.sync == "nofl" {
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
		if err := t.fill(4, m.backlog); err != nil {
			fmt.Fprintln(os.Stderr, t.name, "fill:", err)
			continue
		}
		if t.kind == "metaq-java" {
			time.Sleep(11 * time.Second) // the original shows messages to readers only once they are flushed: each 10 s
		}
		up = append(up, t)
	}
	syscall.Sync()
	for _, n := range []int{1, 4} {
		cell := fmt.Sprintf("W3 %dcons", n)
		for r := 0; r <= m.rounds; r++ {
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
