package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/metaq/metaq/protocol"
)

// benchGroup is the group that the benchmarks name in their gets. Nothing is committed for it.
const benchGroup = "metaq-bench"

func newBenchGetCommand(a *app) *cobra.Command {
	o := benchOptions{sizeText: "1MiB", connections: 1, window: 1, duration: 10 * time.Second}
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Measure reading what is stored",
		Long: `get reads a topic from its beginning to its end, again and again, and measures how long each request takes.
Fill the topic with 'metaq bench put' first. An operation is one request; it may bring many messages. The partitions
are shared out among the connections; each connection has one request under way, because the next one's offset is
known only from the answer.`,
		Example: `  metaq bench put --count 1000000 && metaq bench get
  metaq bench get --size 64KiB --connections 2 --duration 30s
  metaq bench get --topic logs --partition 0 --rate 500 -o json`,
		Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(1); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			partitions, err := o.partitions(ctx, a)
			if err != nil {
				return err
			}
			o.describe(a, "get")
			total, err := runGetters(ctx, a.broker, &o, partitions)
			if err != nil {
				return err
			}
			return newReport("get", &o, total).print(a.out, o.output)
		},
	}
	o.addFlags(cmd, "`BYTES` asked for at a time", "`N` requests a second over all connections")
	return cmd
}

// partitions are those the run is about.
func (o *benchOptions) partitions(ctx context.Context, a *app) ([]int32, error) {
	if o.partition >= 0 {
		return []int32{o.partition}, nil
	}
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return a.partitions(ctx, conn, o.topic)
}

func runGetters(ctx context.Context, addr string, o *benchOptions, partitions []int32) (*tally, error) {
	start := time.Now()
	tallies := make([]*tally, o.connections)
	group, ctx := errgroup.WithContext(ctx)
	for i := range tallies {
		w, err := dialWire(ctx, addr)
		if err != nil {
			return nil, err
		}
		defer w.close()
		g := &getter{wire: w, options: o, tally: newTally(), partition: partitions[i%len(partitions)]}
		tallies[i] = g.tally
		group.Go(func() error { return g.run(ctx, o.pacer(start, i)) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	total := newTally()
	for _, t := range tallies {
		total.add(t)
	}
	if total.messages == 0 && total.errors == 0 {
		return nil, notFoundf("nothing stored in topic %s: fill it with 'metaq bench put --topic %s' first", o.topic, o.topic)
	}
	return total, nil
}

// getter is one connection that reads one partition round and round.
type getter struct {
	*wire
	options   *benchOptions
	tally     *tally
	partition int32
	first     int64 // offset of the first message of the partition, as far as known
	offset    int64
}

func (g *getter) run(ctx context.Context, pace *pacer) error {
	defer context.AfterFunc(ctx, func() { g.nc.SetDeadline(time.Unix(1, 0)) })()
	var (
		r       protocol.Response
		command []byte
		empty   int
	)
	for {
		due, ok := pace.next()
		if !ok {
			return nil
		}
		if err := pace.wait(ctx, due); err != nil {
			return err
		}
		command = protocol.AppendGet(command[:0], g.options.topic, benchGroup, g.partition, g.offset, int32(g.options.size), -1, 1)
		if err := g.ask(command, &r); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		now := time.Since(pace.start)
		g.tally.last = now
		g.tally.latency(now - due)
		got, err := g.take(&r)
		if err != nil {
			return err
		}
		if got > 0 {
			empty = 0
		} else if empty++; empty > 2 {
			// The end, the moved beginning, and nothing still: there is nothing to measure.
			return nil
		}
	}
}

// take goes through one answer and returns the number of messages in it.
func (g *getter) take(r *protocol.Response) (messages int, err error) {
	switch {
	case r.Value:
		n, bytes, used, err := countMessages(r.Body)
		if err != nil {
			return 0, fmt.Errorf("partition %d at offset %d: %w", g.partition, g.offset, err)
		}
		if n == 0 {
			return 0, usagef("a message at offset %d of partition %d is larger than --size %d", g.offset, g.partition, g.options.size)
		}
		g.offset += int64(used)
		g.tally.messages += int64(n)
		g.tally.bytes += int64(bytes)
		return n, nil
	case r.Status == protocol.StatusNotFound:
		g.offset = g.first
		return 0, nil
	case r.Status == protocol.StatusMoved:
		if g.offset, err = parseOffset(r.Body); err != nil {
			return 0, err
		}
		g.first = g.offset
		return 0, nil
	default:
		g.tally.failed(answerText(r))
		return 0, nil
	}
}

// countMessages counts the whole messages at the beginning of an answer: how many, the bytes of their data, and the
// bytes of the answer that they take. Their checksums are verified on the way.
func countMessages(body []byte) (n, data, used int, err error) {
	for used < len(body) {
		m, size, err := protocol.DecodeMessage(body[used:])
		if err != nil {
			return n, data, used, err
		}
		if size == 0 {
			break
		}
		n++
		data += len(m.Data)
		used += size
	}
	return n, data, used, nil
}

// endOffset asks for the end of a partition; a partition that was never written ends at 0.
func endOffset(w *wire, topic protocol.Topic, partition int32) (int64, error) {
	var r protocol.Response
	command := protocol.AppendGet(nil, topic, benchGroup, partition, math.MaxInt64, 1, -1, 1)
	if err := w.ask(command, &r); err != nil {
		return 0, err
	}
	switch {
	case !r.Value && r.Status == protocol.StatusMoved:
		return parseOffset(r.Body)
	case !r.Value && r.Status == protocol.StatusNotFound:
		return 0, nil
	}
	return 0, errors.New(answerText(&r))
}
