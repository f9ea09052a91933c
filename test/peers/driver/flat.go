package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// flatSettings make everything that a broker does beside the puts happen often: small segments, each sealed with a
// checkpoint, and retention every ten seconds.
func (m *matrix) flatSettings() string {
	s := []string{"logSegmentSize=64M", "maxSegmentSize=32M", "deletePolicy=delete,168,128M", "deleteWhen=*/10 * * * * ?"}
	if m.mode == "smoke" {
		s = []string{"logSegmentSize=1M", "maxSegmentSize=64K", "deletePolicy=delete,168,128K", "deleteWhen=* * * * * ?"}
	}
	return strings.Join(s, "\n")
}

// w9 puts at half of the maximum rate, open loop, and looks at each second: segments roll, are sealed and removed and
// checkpoints are written meanwhile, and none of it may show.
func (m *matrix) w9() error {
	for _, sync := range m.flatSyncs {
		for _, t := range m.only(func(t *target) bool { return t.kind == "ours" }).targets {
			t.settings = m.flatSettings()
			err := m.flatRun(t, sync)
			t.stop(false)
			t.settings = ""
			os.RemoveAll(t.data)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *matrix) flatRun(t *target, sync string) error {
	if _, err := t.start(sync, true, 0); err != nil {
		return err
	}
	load := produceCfg{Parts: 16, Conns: 16, Window: 64, Size: 1024}
	// The maximum of a time long enough for the disk to have its say, not of the first second.
	most := load
	most.Duration = max(m.flat/6, 500*time.Millisecond)
	g := measured(t.name, "W9 maximum "+sync, 1, t.pid, "", func() (*loadStats, error) { return t.p.Produce(context.Background(), most) })
	m.add(g)
	if g.Err != "" || g.MsgsSec == 0 {
		return fmt.Errorf("maximum rate: %s", g.Err)
	}
	seconds, spans := &windows{every: time.Second}, &windows{every: spanLength}
	load.Rate, load.Duration, load.Windows = g.MsgsSec/2, m.flat, []*windows{seconds, spans}
	w := watchEvents(t.data, t.pid)
	g = measured(t.name, "W9 half of it "+sync, 1, t.pid, "", func() (*loadStats, error) { return t.p.Produce(context.Background(), load) })
	events := w.end()
	g.Windows = seconds.done
	for i := range g.Windows {
		g.Windows[i].Events, g.Windows[i].Other = events.within(time.Duration(i)*time.Second, time.Second), events.other(i)
	}
	g.Effects = events.effects(spans.done)
	for _, kind := range eventKinds {
		if g.Effects[kind].Count == 0 && g.Err == "" {
			g.Err = fmt.Sprintf("no %s happened", kind)
		}
	}
	m.add(g)
	return nil
}
