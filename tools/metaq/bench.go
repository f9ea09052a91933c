package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/metaq/metaq/protocol"
)

// benchOptions are the flags that the benchmarks share.
type benchOptions struct {
	topicName   string
	sizeText    string
	partition   int32
	connections int
	window      int
	rate        float64 // operations a second over all connections; 0 = as fast as the window allows
	duration    time.Duration
	count       int64 // operations over all connections; 0 = until duration
	output      string

	topic protocol.Topic
	size  int
}

const benchLong = `bench measures a broker over the network.

Without --rate every connection keeps --window operations under way and sends the next one as soon as an answer
comes (closed loop); a latency runs from the moment of sending. With --rate operations are due at fixed times
whatever the broker does (open loop), and a latency runs from the time the operation was due: a broker that
stalls for a second shows in all the operations that should have been sent in that second. That is the correction
for coordinated omission; figures for users come from runs with --rate.`

func newBenchCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure rates and latencies",
		Long:  benchLong,
		Example: `  metaq bench put --size 1KiB --window 64 --duration 30s
  metaq bench get --connections 2
  metaq bench e2e --rate 5000 -o json`,
		Args: cobra.ArbitraryArgs,
		RunE: needSubcommand,
	}
	cmd.AddCommand(newBenchPutCommand(a), newBenchGetCommand(a), newBenchE2ECommand(a))
	return cmd
}

// addFlags registers the shared flags; the caller has put the command's own defaults into o.
func (o *benchOptions) addFlags(cmd *cobra.Command, sizeMeaning, rateMeaning string) {
	flags := cmd.Flags()
	flags.StringVar(&o.topicName, "topic", "metaq-bench", "`TOPIC` to use")
	flags.StringVar(&o.sizeText, "size", o.sizeText, sizeMeaning+", such as 100, 1KiB, 64kB")
	flags.Int32Var(&o.partition, "partition", -1, "use partition `N` only; -1 = all, the broker chooses")
	flags.IntVar(&o.connections, "connections", o.connections, "use `N` connections")
	flags.Float64Var(&o.rate, "rate", o.rate, rateMeaning+"; 0 = as fast as possible")
	flags.DurationVar(&o.duration, "duration", o.duration, "send for this `DURATION`")
	flags.Int64Var(&o.count, "count", 0, "stop after `N` operations; 0 = at the end of --duration")
	addOutputFlag(cmd, &o.output, "text", "json")
}

// check completes the options, or tells what is wrong with them.
func (o *benchOptions) check(smallest int) error {
	var err error
	if o.topic, err = protocol.ParseTopic(o.topicName); err != nil {
		return usagef("--topic: %w", err)
	}
	size, err := humanize.ParseBytes(o.sizeText)
	if err != nil || size > math.MaxInt32 {
		return usagef("--size %q is not a number of bytes", o.sizeText)
	}
	o.size = int(size)
	switch {
	case o.size < smallest:
		return usagef("--size %d: at least %d bytes are needed here", o.size, smallest)
	case o.partition < -1:
		return usagef("--partition %d: use -1 or a partition", o.partition)
	case o.connections < 1 || o.connections > 10000:
		return usagef("--connections %d: 1 to 10000", o.connections)
	case o.window < 1 || o.window > 1<<20:
		return usagef("--window %d: 1 to %d", o.window, 1<<20)
	case o.rate < 0 || math.IsInf(o.rate, 0) || math.IsNaN(o.rate):
		return usagef("--rate %g is not a rate", o.rate)
	case o.duration <= 0 && o.count <= 0:
		return usagef("--duration or --count must say when to stop")
	case o.count < 0:
		return usagef("--count %d is negative", o.count)
	}
	return checkOutput(o.output, "text", "json")
}

// share is the part of count operations that connection i does.
func (o *benchOptions) share(i int) int64 {
	if o.count == 0 {
		return math.MaxInt64
	}
	n := o.count / int64(o.connections)
	if int64(i) < o.count%int64(o.connections) {
		n++
	}
	return n
}

// pacer returns the schedule of connection i. The connections' schedules are shifted against each other, so that
// together they are as even as one would be.
func (o *benchOptions) pacer(start time.Time, i int) *pacer {
	p := &pacer{start: start, end: math.MaxInt64, left: o.share(i)}
	if o.duration > 0 && o.count == 0 {
		p.end = o.duration
	}
	if o.rate > 0 {
		p.interval = float64(time.Second) * float64(o.connections) / o.rate
		p.phase = p.interval * float64(i) / float64(o.connections)
	}
	return p
}

// A pacer says when the next operation of one connection is due.
type pacer struct {
	start    time.Time
	end      time.Duration // nothing is due from here on
	left     int64
	interval float64 // nanoseconds between two operations; 0 = closed loop
	phase    float64
	issued   int64
}

// next returns the time, since start, that the next operation is due at. In a closed loop that is now.
// ok is false when the run is over.
func (p *pacer) next() (due time.Duration, ok bool) {
	if p.left == 0 {
		return 0, false
	}
	if p.interval > 0 {
		// Multiplied, not added up: an error of rounding must not grow with the run.
		due = time.Duration(p.phase + float64(p.issued)*p.interval)
	} else {
		due = time.Since(p.start)
	}
	if due >= p.end {
		return 0, false
	}
	p.issued++
	p.left--
	return due, true
}

// wait blocks until due. It returns at once when due has passed already, however long ago.
func (p *pacer) wait(ctx context.Context, due time.Duration) error {
	ahead := due - time.Since(p.start)
	if ahead <= 0 {
		return nil
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// describe says in a line what is going to be measured.
func (o *benchOptions) describe(a *app, what string) {
	until := o.duration.String()
	if o.count > 0 {
		until = fmt.Sprintf("%d operations", o.count)
	}
	how := fmt.Sprintf("window %d", o.window)
	if o.rate > 0 {
		how = fmt.Sprintf("%g/s, window %d", o.rate, o.window)
	}
	a.say("%s on %s: topic %s, size %d, %d connections, %s, for %s", what, a.broker, o.topic, o.size, o.connections, how, until)
}
