package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

type putOptions struct {
	topic         protocol.Topic
	file          string
	whole         bool
	partitionText string
	partition     *zkcoord.Partition // nil: spread over all
	key           string
	attribute     string
	output        string
}

func newPutCommand(a *app) *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use:   "put TOPIC [MESSAGE...]",
		Short: "Store messages",
		Long: `put stores each MESSAGE, or without one each line of standard input or of --file. A line is stored without its newline;
empty lines are messages too.

With --zk the messages are spread over all brokers of the cluster, and a broker that is away is gone around; --partition is
BROKER-NUMBER there.

It ends with 0 when the broker has acknowledged every message. Messages that go to one partition are stored in their
order. The number of messages and the rate are told on standard error; -o json prints a receipt for each message:
topic, broker (in a cluster), partition, offset and id.`,
		Example: `  metaq put greetings hello "how are you"
  tail -F /var/log/syslog | metaq put logs
  metaq put logs --file /var/log/dpkg.log
  metaq put orders --key customer-17 '{"total": 3}'   # a key's messages all go to one partition
  metaq put images --file cat.png --whole             # the file is one message
  metaq put greetings hello -o json
  metaq put greetings hello --zk 127.0.0.1:2181
  metaq put greetings hello --zk 127.0.0.1:2181 --partition 1-0   # partition 0 of broker 1`,
		Args:              wantArgs(1, -1),
		ValidArgsFunction: a.completeTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(a, args, cmd.Flags().Changed("key")); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			return put(ctx, a, &o, args[1:])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.file, "file", "", "read from `FILE`; - is standard input")
	flags.BoolVar(&o.whole, "whole", false, "store the whole input as one message")
	flags.StringVar(&o.partitionText, "partition", "-1", "store in partition `P`, in a cluster BROKER-NUMBER; -1 = spread over all")
	flags.StringVar(&o.key, "key", "", "choose the partition by this `KEY`")
	flags.StringVar(&o.attribute, "attribute", "", "give each message this attribute `TEXT`")
	addOutputFlag(cmd, &o.output, "text", "json")
	return worksOnCluster(cmd)
}

func (o *putOptions) check(a *app, args []string, hasKey bool) (err error) {
	if o.topic, err = parseTopicArg(args[0]); err != nil {
		return err
	}
	if o.partition, err = a.parsePartitionFlag(o.partitionText); err != nil {
		return err
	}
	switch {
	case hasKey && o.partition != nil:
		return usagef("--key and --partition both choose the partition: give one of them")
	case len(args) > 1 && (o.file != "" || o.whole):
		return usagef("messages come from the command line or from a file, not both")
	}
	return checkOutput(o.output, "text", "json")
}

// open returns the messages to store and the progress bar that goes with them, nil unless a person watches.
func (o *putOptions) open(a *app, messages []string) (source, *progressbar.ProgressBar, io.Closer, error) {
	if len(messages) > 0 {
		return &argSource{messages}, nil, io.NopCloser(nil), nil
	}
	var (
		in     = a.in
		name   = "standard input"
		size   = int64(-1)
		closer = io.NopCloser(nil)
	)
	if o.file != "" && o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return nil, nil, nil, err
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in, name, closer = f, o.file, f
	} else if isTerminal(a.in) {
		a.say("Every line is a message; Ctrl-D ends.")
	}
	var bar *progressbar.ProgressBar
	if isTerminal(a.err) && !isTerminal(in) && !a.quiet {
		bar = progressbar.NewOptions64(size,
			progressbar.OptionSetWriter(a.err),
			progressbar.OptionSetDescription(string(o.topic)),
			progressbar.OptionShowBytes(true),
			progressbar.OptionEnableColorCodes(!a.noColor),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
		in = io.TeeReader(in, bar)
	}
	if o.whole {
		return &wholeSource{in: in, name: name}, bar, closer, nil
	}
	return newLineSource(in, name), bar, closer, nil
}

func put(ctx context.Context, a *app, o *putOptions, messages []string) error {
	from, bar, closer, err := o.open(a, messages)
	if err != nil {
		return err
	}
	defer closer.Close()

	producer, err := a.openProducer(ctx, o.topic, o.partition)
	if err != nil {
		return err
	}
	// When ctx ends, closing makes the producer give up, and SendAsync return that waits for room.
	defer context.AfterFunc(ctx, func() { _ = producer.Close(ctx) })()
	reading, stopReading := context.WithCancelCause(ctx)
	defer stopReading(nil)
	r := newReceipts(a, o, stopReading)

	start := time.Now()
	err = r.send(reading, producer, from)
	// Everything that was accepted is answered before Close returns, or has failed.
	if closeErr := producer.Close(ctx); err == nil {
		err = closeErr
	}
	if bar != nil {
		// The bar is for the eye only: an error of the terminal must not hide the result.
		_ = bar.Finish()
	}
	return r.finish(ctx, a, err, time.Since(start))
}

// openProducer makes the producer. That waits for brokers that are away; a person who mistyped an address or a topic wants to know now.
func (a *app) openProducer(ctx context.Context, topic protocol.Topic, partition *zkcoord.Partition) (*client.Producer, error) {
	if a.cluster == nil {
		conn, err := a.dial(ctx)
		if err != nil {
			return nil, err
		}
		conn.Close()
		return client.NewProducer(a.broker)
	}
	c, err := a.openCluster(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := c.needMasters(); err != nil {
		return nil, err
	}
	offers, err := c.directory.Lookup(ctx, zkcoord.UsePublish, topic)
	if err != nil {
		return nil, err
	}
	if len(offers) == 0 {
		return nil, notFoundf("no broker of %s takes messages of %s now; 'metaq put %s --broker HOST:PORT' makes a topic on one", c, topic, topic)
	}
	offered := func(o zkcoord.Offer) bool {
		return o.Replica.Broker == partition.Broker && partition.Number < o.Partitions
	}
	if partition != nil && !slices.ContainsFunc(offers, offered) {
		return nil, notFoundf("partition %s of %s is not in %s now; 'metaq route %s --zk ...' lists those that are", partition, topic, c, topic)
	}
	return client.NewProducer(a.cluster.String())
}

// receipts counts, and prints if asked to, what the broker acknowledged.
type receipts struct {
	app     *app
	options *putOptions
	stop    context.CancelCauseFunc // ends reading more input after a failure

	mu     sync.Mutex
	out    *bufio.Writer
	json   *json.Encoder
	sent   int64
	stored int64
	bytes  int64
	first  error
}

func newReceipts(a *app, o *putOptions, stop context.CancelCauseFunc) *receipts {
	out := bufio.NewWriter(a.out)
	return &receipts{app: a, options: o, stop: stop, out: out, json: json.NewEncoder(out)}
}

// receipt is a line of -o json.
type receipt struct {
	Topic     string `json:"topic"`
	Broker    *int   `json:"broker,omitempty"` // of a cluster
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	ID        int64  `json:"id"`
}

// send hands all messages to the producer. It stops at the first one that fails: with the rest stored, a gap would be
// left that nobody asked for.
func (r *receipts) send(ctx context.Context, producer *client.Producer, from source) error {
	// A read of standard input cannot be cancelled, so that an interrupt must not have to wait for the next line.
	type item struct {
		body []byte
		err  error
	}
	items := make(chan item, 256)
	go func() {
		defer close(items)
		for {
			body, err := from.next()
			select {
			case items <- item{body, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case it := <-items:
			if it.err == io.EOF {
				return nil
			}
			if it.err != nil {
				return it.err
			}
			r.sent++
			m := client.Message{Topic: string(r.options.topic), Key: r.options.key, Attribute: r.options.attribute, Body: it.body}
			if p := r.options.partition; p != nil {
				m.Partition = client.AtBroker(p.Broker, p.Number)
			}
			size := len(it.body)
			producer.SendAsync(m, func(got client.Receipt, err error) { r.take(got, size, err) })
		}
	}
}

func (r *receipts) take(got client.Receipt, size int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if r.first == nil {
			r.first = err
			r.stop(err)
		}
		return
	}
	r.stored++
	r.bytes += int64(size)
	if r.options.output == "json" {
		// The buffered writer keeps an error until it is flushed.
		_ = r.json.Encode(receipt{string(r.options.topic), r.app.jsonBroker(got.Broker), got.Partition, got.Offset, got.ID})
	}
}

// finish tells the result and returns the error of the whole command.
func (r *receipts) finish(ctx context.Context, a *app, err error, took time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if flushErr := r.out.Flush(); err == nil {
		err = flushErr
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case r.first != nil:
		err = r.first
	}
	seconds := max(took.Seconds(), 1e-6)
	a.say("%d %s, %d %s stored in %s: %.0f msgs/s, %.2f MB/s", r.stored, english.PluralWord(int(r.stored), "message", ""), r.bytes, english.PluralWord(int(r.bytes), "byte", ""),
		took.Round(time.Millisecond), float64(r.stored)/seconds, float64(r.bytes)/seconds/1e6)
	if err != nil && r.sent > r.stored {
		return nextStep(r.options.topic, fmt.Errorf("%d of %d messages not acknowledged: %w", r.sent-r.stored, r.sent, err))
	}
	return err
}
