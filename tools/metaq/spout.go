package main

import (
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/tools/spout"
)

func newSpoutCommand(a *app) *cobra.Command {
	var (
		o    spout.Options
		from string
	)
	cmd := &cobra.Command{
		Use:   "spout TOPIC...",
		Short: "Feed a topology of Apache Storm",
		Long: `spout is a spout for Apache Storm, in its multilang protocol: a ShellSpout of the topology starts it and talks to it over standard
input and output. It is nothing to type into.

It reads the topics as one of the consumers of a group. Tuples are acknowledged in any order; the offset that is kept is that
of the first message that is not dealt with, so that each one is dealt with at least once. One that fails is emitted again
after a pause, and after --tries times goes to the dead-letter topic, as do messages that the scheme does not read.

Schemes: string takes the message as text, json as the value that it is in JSON, raw as its bytes in base64.
Fields, in the order in which the topology declares them: message, topic, partition, offset, id, attribute, and with the scheme
json .NAME for what a message has under that name.

docs/storm.md shows a topology.`,
		Example: `  # In a topology, for example of Flux: the command of an org.apache.storm.flux.wrappers.spouts.FluxShellSpout
  metaq spout orders --group billing --zk 10.0.0.1:2181
  metaq spout orders --group billing --zk 10.0.0.1:2181 --scheme json --fields .customer,.total,offset
  metaq spout orders --group billing --broker 10.0.0.1:8123 --in-flight 1   # strictly in order`,
		Args:              wantArgs(1, -1),
		ValidArgsFunction: a.completeTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Group == "" {
				return usagef("--group is missing: the offsets are kept under its name")
			}
			if _, err := parseGroupArg(o.Group); err != nil {
				return err
			}
			for _, topic := range args {
				if _, err := parseTopicArg(topic); err != nil {
					return err
				}
			}
			start, err := parsePlace(from, time.Now())
			if err != nil {
				return usagef("--from: %w", err)
			}
			o.Addr, o.Topics, o.Start = a.clientAddress(), args, start.start()
			if err := o.Check(); err != nil {
				return usageError{err}
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			// Storm ends a spout with SIGTERM. That it reads no more must not end this process before it has given up its partitions.
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
			defer stop()
			signal.Ignore(syscall.SIGPIPE)
			return spout.Run(ctx, a.in, a.out, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Group, "group", "", "read as a consumer of this `GROUP`")
	flags.StringVar(&o.Tuples.Scheme, "scheme", "string", "`SCHEME` by which a message becomes a value: string, json, raw")
	flags.StringSliceVar(&o.Tuples.Fields, "fields", []string{"message"}, "the `FIELDS` of a tuple, with commas between them")
	flags.IntVar(&o.InFlight, "in-flight", 1000, "at most `N` messages of a partition are under way at the same time")
	flags.IntVar(&o.Tries, "tries", 5, "send a message to the dead-letter topic when it has failed `N` times; 0 = never")
	flags.DurationVar(&o.RetryFrom, "retry-from", time.Second, "pause for this `DURATION` after the first failure; it doubles with each one")
	flags.DurationVar(&o.RetryTo, "retry-to", time.Minute, "longest `DURATION` of a pause")
	flags.StringVar(&o.Dead, "dead", "", "the dead-letter `TOPIC`; by default that of orders is orders.dead")
	flags.DurationVar(&o.AnswerIn, "answer-in", 0, "take a tuple for failed when Storm has not answered for this `DURATION`; by default twice topology.message.timeout.secs")
	flags.StringVar(&from, "from", "earliest", "start at `PLACE` if the group has no offset: earliest, latest, an offset, a time, an age")
	flags.StringVar(&o.Metric, "metric", "", "tell the counts to this `METRIC`, which the topology has to have registered")
	return worksOnCluster(cmd)
}

// clientAddress is what the flags name, as the client takes it.
func (a *app) clientAddress() string {
	if a.cluster == nil {
		return a.broker
	}
	return a.cluster.String()
}
