package main

import (
	"context"
	"os"
	"syscall"
	"time"
)

// w10 stores and drains a tenth of a log and the whole, each in a fresh broker: what a message costs must not depend on
// how many there are.
func (m *matrix) w10() error {
	o := m.only(func(t *target) bool { return t.kind == "ours" })
	for r := 1; r <= min(m.rounds, 3); r++ {
		for _, t := range o.targets {
			for _, s := range []struct {
				cell  string
				bytes int64
			}{{"W10 tenth", m.growth / 10}, {"W10 full", m.growth}} {
				if _, err := t.start("os", true, 0); err != nil {
					return err
				}
				m.warm(t, 16)
				syscall.Sync()
				count := s.bytes / 1024
				m.add(measured(t.name, s.cell+" put", r, t.pid, t.data, func() (*loadStats, error) {
					return t.p.Produce(context.Background(), produceCfg{Parts: 16, Conns: 16, Window: 64, Size: 1024, Count: count})
				}))
				m.add(measured(t.name, s.cell+" drain", r, t.pid, "", func() (*loadStats, error) {
					return t.p.Consume(context.Background(), consumeCfg{Parts: 16, Consumers: 4, Count: count, Deadline: 2 * time.Minute})
				}))
				t.stop(false)
				os.RemoveAll(t.data)
			}
		}
	}
	return nil
}
