package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/metaq/metaq/protocol"
)

// drainTime is how long a run waits for the answers that are still due when nothing more is sent.
const drainTime = 30 * time.Second

func newBenchPutCommand(a *app) *cobra.Command {
	o := benchOptions{sizeText: "1KiB", connections: 1, window: 64, duration: 10 * time.Second}
	cmd := &cobra.Command{
		Use:   "put",
		Short: "Measure storing messages",
		Long:  "put stores messages and measures how long each one takes to be acknowledged.",
		Example: `  metaq bench put
  metaq bench put --size 100 --window 1 --count 10000       # one at a time
  metaq bench put --rate 20000 --connections 4 -o json`,
		Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(0); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			o.describe(a, "put")
			total, err := runPutters(ctx, a.broker, &o, time.Now(), nil)
			if err != nil {
				return err
			}
			return newReport("put", &o, total).print(a.out, o.output)
		},
	}
	o.addFlags(cmd, "`BYTES` of each message", "`N` messages a second over all connections")
	cmd.Flags().IntVar(&o.window, "window", o.window, "up to `N` unanswered puts a connection")
	return cmd
}

// runPutters stores messages over all connections until the run is over. stamp, if not nil, may change each body just
// before it is sent; due is the time since start that the message was meant to be sent at.
func runPutters(ctx context.Context, addr string, o *benchOptions, start time.Time, stamp func(body []byte, due time.Duration)) (*tally, error) {
	putters := make([]*putter, o.connections)
	for i := range putters {
		w, err := dialWire(ctx, addr)
		if err != nil {
			return nil, err
		}
		defer w.close()
		putters[i] = newPutter(w, o, stamp)
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range putters {
		pace := o.pacer(start, i)
		group.Go(func() error { return p.run(ctx, pace) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	total := newTally()
	for _, p := range putters {
		total.add(p.tally)
	}
	return total, nil
}

// putter is one connection: run sends, and a goroutine of its own takes the answers.
type putter struct {
	*wire
	options *benchOptions
	stamp   func([]byte, time.Duration)
	tally   *tally // of the goroutine that takes the answers

	// due[s] is when the put with opaque s was meant to be sent. A slot is written by the sender while it is free, and
	// read by the receiver before it is given back.
	due   []time.Duration
	slots slots
}

func newPutter(w *wire, o *benchOptions, stamp func([]byte, time.Duration)) *putter {
	p := &putter{wire: w, options: o, stamp: stamp, tally: newTally(), due: make([]time.Duration, o.window)}
	p.slots.changed.L = &p.slots.mu
	for s := range o.window {
		p.slots.free = append(p.slots.free, int32(s))
	}
	return p
}

func (p *putter) run(ctx context.Context, pace *pacer) error {
	// The deadline in the past wakes whoever reads or writes.
	defer context.AfterFunc(ctx, func() { p.nc.SetDeadline(time.Unix(1, 0)) })()

	received := make(chan struct{})
	go func() {
		defer close(received)
		p.slots.close(p.receive(pace.start))
	}()
	err := p.send(ctx, pace)
	if err == nil {
		p.nc.SetReadDeadline(time.Now().Add(drainTime))
		err = p.slots.wait(p.options.window)
	}
	p.close()
	<-received
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer within %s after the last put", drainTime)
	}
	return err
}

func (p *putter) send(ctx context.Context, pace *pacer) error {
	var (
		free    []int32
		command []byte
		body    = randomBody(p.options.size)
		err     error
	)
	for {
		due, ok := pace.next()
		if !ok {
			p.slots.give(free)
			return p.out.Flush()
		}
		if pace.interval > 0 && time.Since(pace.start) < due {
			if err := p.out.Flush(); err != nil {
				return err
			}
			if err := pace.wait(ctx, due); err != nil {
				return err
			}
		}
		if len(free) == 0 {
			if err := p.out.Flush(); err != nil {
				return err
			}
			if free, err = p.slots.take(free); err != nil {
				return err
			}
			if pace.interval == 0 {
				due = time.Since(pace.start)
			}
		}
		slot := free[len(free)-1]
		free = free[:len(free)-1]
		p.due[slot] = due
		if p.stamp != nil {
			p.stamp(body, due)
		}
		command = protocol.AppendPut(command[:0], p.options.topic, p.options.partition, 0, body, slot)
		if _, err := p.out.Write(command); err != nil {
			return err
		}
	}
}

// receive takes answers until the connection ends, and returns why it ended.
func (p *putter) receive(start time.Time) error {
	var (
		r    protocol.Response
		done []int32
	)
	for {
		if err := p.read(&r); err != nil {
			return err
		}
		now := time.Since(start)
		if r.Opaque < 0 || int(r.Opaque) >= len(p.due) {
			return fmt.Errorf("answer to no put of ours: %s", answerText(&r))
		}
		if r.Status == protocol.StatusOK {
			p.tally.latency(now - p.due[r.Opaque])
			p.tally.messages++
			p.tally.bytes += int64(p.options.size)
		} else {
			p.tally.failed(answerText(&r))
		}
		p.tally.last = now
		// Slots go back in one piece when everything that has come is looked at: one lock for many answers.
		done = append(done, r.Opaque)
		if !p.buffered() || len(done) == len(p.due) {
			p.slots.give(done)
			done = done[:0]
		}
	}
}

// slots are the places of a window. take and give pass many at a time.
type slots struct {
	mu      sync.Mutex
	changed sync.Cond
	free    []int32
	err     error // set once nothing will be given any more
}

// take blocks until at least one slot is free, and returns all that are, in place of the empty slice own.
func (s *slots) take(own []int32) ([]int32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.free) == 0 && s.err == nil {
		s.changed.Wait()
	}
	if s.err != nil {
		return nil, s.err
	}
	taken := s.free
	s.free = own[:0]
	return taken, nil
}

func (s *slots) give(ids []int32) {
	s.mu.Lock()
	s.free = append(s.free, ids...)
	s.mu.Unlock()
	s.changed.Signal()
}

// wait blocks until n slots are free.
func (s *slots) wait(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.free) < n && s.err == nil {
		s.changed.Wait()
	}
	if len(s.free) == n {
		return nil
	}
	return s.err
}

func (s *slots) close(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	s.changed.Signal()
}

// randomBody is data that no layer can compress. The same size gives the same bytes, so that runs compare.
func randomBody(size int) []byte {
	body := make([]byte, size)
	source := rand.NewChaCha8([32]byte{'m', 'e', 't', 'a', 'q'})
	// Read of a ChaCha8 cannot fail.
	_, _ = source.Read(body)
	return body
}
