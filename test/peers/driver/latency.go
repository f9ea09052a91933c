package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
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
	time.Sleep(unseen)
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

// unseen is how long the consumer waits for the last messages.
const unseen = 700 * time.Millisecond

func (m *matrix) fixedRate(d time.Duration) produceCfg {
	return produceCfg{Parts: 4, Conns: 4, Window: 1, Size: 1024, Duration: d, Rate: 5000}
}

// w4 measures the way from the scheduled time of a message to its consumer at a rate that every broker can do.
func (m *matrix) w4() error {
	for _, sync := range m.syncs {
		// With nofl the original shows nothing to a reader for 10 s.
		up := m.only(noVariant).group(sync, 4)
		for r := m.warmUp; r <= m.rounds; r++ {
			for _, t := range up {
				syscall.Sync()
				g := measured(t.name, "W4 5k/s "+sync, r, t.pid, t.data, func() (*loadStats, error) { return e2e(context.Background(), t.p, m.fixedRate(4*m.dur)) })
				if r > 0 {
					m.add(g)
				}
			}
		}
		m.stopAll()
	}
	return nil
}

// w8 is w4 alone, and with a consumer beside it that drains a large backlog of other partitions as fast as it can.
func (m *matrix) w8() error {
	o := m.only(func(t *target) bool { return noVariant(t) && (t.kind == "ours" || t.kind == "nats") })
	up := o.backlogged("W8 alone", 16, m.catchUp, true)
	for _, t := range up {
		if err := t.p.Prepare(context.Background(), 4); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	for r := m.warmUp; r <= m.rounds; r++ {
		for _, t := range up {
			for _, beside := range []bool{false, true} {
				cell := "W8 alone"
				if beside {
					cell = "W8 beside catch-up"
				}
				syscall.Sync()
				var read int64
				g := measured(t.name, cell, r, t.pid, t.data, func() (*loadStats, error) {
					stop := func() (int64, error) { return 0, nil }
					if beside {
						stop = m.catchUpReader(t)
					}
					st, err := e2e(context.Background(), t.p, m.fixedRate(4*m.dur))
					n, readErr := stop()
					read = n
					return st, errors.Join(err, readErr)
				})
				if beside && read == 0 && g.Err == "" {
					g.Err = "the catch-up reader read nothing"
				}
				g.ReadMB = float64(read) / 1e6
				if r > 0 {
					m.add(g)
				}
			}
		}
	}
	return nil
}

// catchUpReader drains the backlog of 16 partitions again and again in a process of its own, so that its garbage and
// its checksums are not part of the latencies, until stop is called; stop returns the bytes it has read.
func (m *matrix) catchUpReader(t *target) (stop func() (int64, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	type result struct {
		bytes int64
		err   error
	}
	done := make(chan result, 1)
	go func() {
		var sum result
		for ctx.Err() == nil && sum.err == nil {
			var n int64
			n, sum.err = m.drainOnce(ctx, t)
			sum.bytes += n
		}
		if ctx.Err() != nil {
			sum.err = nil
		}
		done <- sum
	}()
	return func() (int64, error) {
		cancel()
		r := <-done
		return r.bytes, r.err
	}
}

// drainOnce runs this program as the reader. Told to end, it still prints how much it has read.
func (m *matrix) drainOnce(ctx context.Context, t *target) (int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, "run", "--peer", t.kind, "--addr", t.addr, "--do", "consume", "--parts", "16",
		"--conns", "1", "--count", strconv.FormatInt(m.catchUp/1024, 10), "--prepare=false")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("catch-up reader: %w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	var g figures
	if jsonErr := json.Unmarshal(out, &g); jsonErr != nil {
		return 0, errors.Join(err, jsonErr)
	}
	if g.Err != "" {
		err = fmt.Errorf("catch-up reader: %s", g.Err)
	}
	return g.Msgs * 1024, err
}
