package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
)

const (
	// stampSize is what e2e writes into the front of each body: 8 bytes that name the run, and the time since its start
	// that the message was due at.
	stampSize = 16
	// pollWait is how long a reader of e2e lets the broker hold its get.
	pollWait = time.Second
	// pollSize is what a reader of e2e asks for at first; it grows when a message is larger.
	pollSize = 1 << 20
)

func newBenchE2ECommand(a *app) *cobra.Command {
	o := benchOptions{sizeText: "1KiB", connections: 1, window: 64, rate: 1000, duration: 10 * time.Second}
	cmd := &cobra.Command{
		Use:   "e2e",
		Short: "Measure from sending to receiving",
		Long: `e2e stores messages and reads them back at the same time, with one waiting reader a partition. A latency runs from
the time a message was due to be sent until a reader has it. Messages that were acknowledged and do not come back are
counted as lost, and the exit code is then 1.`,
		Example: `  metaq bench e2e
  metaq bench e2e --rate 20000 --size 200 --duration 60s
  metaq bench e2e --count 10000 -o json`,
		Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(stampSize); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			return runE2E(ctx, a, &o)
		},
	}
	o.addFlags(cmd, "`BYTES` of each message", "`N` messages a second over all connections")
	cmd.Flags().IntVar(&o.window, "window", o.window, "up to `N` unanswered puts a connection")
	return cmd
}

func runE2E(ctx context.Context, a *app, o *benchOptions) error {
	if err := createTopic(ctx, a, o); err != nil {
		return err
	}
	partitions, err := o.partitions(ctx, a)
	if err != nil {
		return err
	}
	run := &e2eRun{options: o, start: time.Now()}
	binary.BigEndian.PutUint64(run.id[:], rand.Uint64())

	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	group, readCtx := errgroup.WithContext(readCtx)
	readers := make([]*e2eReader, len(partitions))
	for i, partition := range partitions {
		w, err := dialWire(ctx, a.broker)
		if err != nil {
			return err
		}
		defer w.close()
		end, err := endOffset(w, o.topic, partition)
		if err != nil {
			return fmt.Errorf("end of partition %d: %w", partition, err)
		}
		readers[i] = &e2eReader{wire: w, run: run, partition: partition, offset: end, size: pollSize, tally: newTally()}
	}
	run.start = time.Now()
	for _, r := range readers {
		group.Go(func() error { return r.read(readCtx) })
	}

	o.describe(a, "e2e")
	put, err := runPutters(readCtx, a.broker, o, run.start, run.stamp)
	if err != nil {
		stopReading()
		if readErr := group.Wait(); readErr != nil && ctx.Err() == nil {
			return readErr // a reader that failed is why the putters were stopped
		}
		return err
	}
	run.awaitAll(readCtx, put.messages)
	stopReading()
	if err := group.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	total := newTally()
	for _, r := range readers {
		total.add(r.tally)
	}
	total.errors, total.first = put.errors, put.first
	report := newReport("e2e", o, total)
	report.Lost = max(0, put.messages-total.messages)
	return report.print(a.out, o.output)
}

// createTopic makes sure that the topic is there, because a topic without a message has no partitions to wait at.
func createTopic(ctx context.Context, a *app, o *benchOptions) error {
	conn, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	routes, err := conn.Route(ctx, o.topic)
	if err == nil && len(routes) > 0 {
		return nil
	}
	_, err = conn.Put(ctx, client.Message{Topic: string(o.topic), Partition: client.At(o.partition), Body: make([]byte, stampSize)})
	return err
}

// e2eRun is what writers and readers of one run share.
type e2eRun struct {
	options  *benchOptions
	id       [8]byte // tells this run's messages from others
	start    time.Time
	received atomic.Int64 // messages that readers have
}

func (run *e2eRun) stamp(body []byte, due time.Duration) {
	copy(body, run.id[:])
	binary.BigEndian.PutUint64(body[8:], uint64(due))
}

// awaitAll waits until n messages have come, or for as long as some still come.
func (run *e2eRun) awaitAll(ctx context.Context, n int64) {
	const look = 20 * time.Millisecond
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	seen, idle := run.received.Load(), time.Duration(0)
	for seen < n && idle < drainTime {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := run.received.Load(); now != seen {
			seen, idle = now, 0
		} else {
			idle += look
		}
	}
}

// e2eReader waits at the end of one partition.
type e2eReader struct {
	*wire
	run       *e2eRun
	partition int32
	offset    int64
	size      int32
	tally     *tally
}

// read takes messages until ctx ends, which is not an error.
func (e *e2eReader) read(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { e.nc.SetDeadline(time.Unix(1, 0)) })()
	var (
		r       protocol.Response
		command []byte
	)
	for {
		command = protocol.AppendGet(command[:0], e.run.options.topic, benchGroup, e.partition, e.offset, e.size,
			int32(pollWait.Milliseconds()), 1)
		if err := e.ask(command, &r); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if err := e.take(&r, time.Since(e.run.start)); err != nil {
			return fmt.Errorf("partition %d at offset %d: %w", e.partition, e.offset, err)
		}
	}
}

func (e *e2eReader) take(r *protocol.Response, now time.Duration) error {
	if !r.Value {
		switch r.Status {
		case protocol.StatusNotFound:
			return nil
		case protocol.StatusMoved:
			offset, err := parseOffset(r.Body)
			e.offset = offset
			return err
		}
		return fmt.Errorf("%s", answerText(r))
	}
	used := 0
	for used < len(r.Body) {
		m, size, err := protocol.DecodeMessage(r.Body[used:])
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		used += size
		if len(m.Data) < stampSize || !bytes.Equal(m.Data[:8], e.run.id[:]) {
			continue // somebody else's
		}
		e.tally.latency(now - time.Duration(binary.BigEndian.Uint64(m.Data[8:])))
		e.tally.messages++
		e.tally.bytes += int64(len(m.Data))
		e.tally.last = now
		e.run.received.Add(1)
	}
	if used == 0 {
		if e.size >= maxAnswer {
			return fmt.Errorf("a message is larger than %d bytes", e.size)
		}
		e.size = int32(min(max(int64(e.size)*2, protocol.MessageSize(r.Body)), maxAnswer))
	}
	e.offset += int64(used)
	return nil
}
