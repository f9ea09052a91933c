package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

type getOptions struct {
	topic         protocol.Topic
	group         string
	fromText      string
	from          place
	hasFrom       bool
	count         int64
	follow        bool
	noCommit      bool
	partitionText string
	partition     *zkcoord.Partition // nil: all
	output        string
}

func newGetCommand(a *app) *cobra.Command {
	var o getOptions
	cmd := &cobra.Command{
		Use:   "get TOPIC",
		Short: "Print messages",
		Long: `get prints the messages of a topic that are stored now, partition after partition, each on a line. With -f it goes on
with those that come, from all partitions as they come, until -n messages or Ctrl-C. With --zk these are the partitions of all
brokers of the cluster; -f takes in brokers and partitions that come later, also a broker that is registered and does not answer
at the start, and --partition is BROKER-NUMBER.

With --group the broker remembers how far the group has read: the next get of the group goes on there. A position is
kept after its messages were written to standard output, so that a get that is killed may print some again, but never
leaves one out. --from then moves the group.

With --group get is in a cluster one of the group's consumers, as programs are: -f is needed, it gets its share of
the partitions of all brokers, and the position is kept in ZooKeeper. --from is for a group that has none yet.

--from is earliest, latest, an offset in bytes (of one partition), a time (2026-11-21T14:30:00Z, '2026-11-21 14:30'), or
an age (15m). Default: where the group stopped, else earliest.

Formats: raw is the message and a newline; json an object a line with topic, broker (in a cluster), partition, offset, id, time,
attribute and data (data_base64 when it is no UTF-8 text); hex the bytes of the message.

The exit code is 3 when there was nothing to print.`,
		Example: `  metaq get greetings
  metaq get logs --group backup              # what is new since the last time
  metaq get logs -f --from latest            # like tail -f
  metaq get logs -f --group backup --zk 127.0.0.1:2181 # start it twice to share the work
  metaq get logs --from 15m -o json
  metaq get logs --partition 0 --from 1048576 -n 10
  metaq get images --partition 0 -n 1 -o hex | xxd -r -p > cat.png
  metaq get logs -f --zk 127.0.0.1:2181      # of all brokers of a cluster`,
		Args:              wantArgs(1, 1),
		ValidArgsFunction: a.completeTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.hasFrom = cmd.Flags().Changed("from")
			if err := o.check(a, args[0]); err != nil {
				return err
			}
			consuming := a.cluster != nil && o.group != ""
			if consuming {
				if err := o.checkConsumer(); err != nil {
					return err
				}
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			if consuming {
				return consume(ctx, a, &o)
			}
			r := newReader(a, &o)
			defer r.close()
			return r.run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.group, "group", "", "read as this `GROUP`, from where it stopped")
	flags.StringVar(&o.fromText, "from", "earliest", "start at `PLACE`: earliest, latest, an offset, a time, an age")
	flags.Int64VarP(&o.count, "count", "n", 0, "stop after `N` messages; 0 = no limit")
	flags.BoolVarP(&o.follow, "follow", "f", false, "wait for more messages")
	flags.BoolVar(&o.noCommit, "no-commit", false, "do not remember the group's position")
	flags.StringVar(&o.partitionText, "partition", "-1", "read only partition `P`, in a cluster BROKER-NUMBER; -1 = all")
	addOutputFlag(cmd, &o.output, "raw", "json", "hex")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completion(func(ctx context.Context, _ []string) ([]string, error) { return a.groupNames(ctx) }))
	_ = cmd.RegisterFlagCompletionFunc("from",
		cobra.FixedCompletions([]string{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
	return worksOnCluster(cmd)
}

// checkConsumer refuses what a consumer of a group in a cluster cannot do.
func (o *getOptions) checkConsumer() error {
	switch {
	case !o.follow:
		return usagef("in a cluster --group makes get a consumer of the group, which goes on until it is ended: add -f, or leave --group out to read what is there")
	case o.noCommit:
		return usagef("--no-commit is for one broker: a consumer of a group in a cluster keeps its position")
	case o.from.kind == atOffset && o.from.offset > 0:
		return usagef("--from %d is an offset of one partition: use earliest, latest, a time or an age", o.from.offset)
	case o.partition != nil:
		return usagef("--partition is for one broker: in a cluster the consumers of a group share the partitions")
	}
	return nil
}

func (o *getOptions) check(a *app, topic string) (err error) {
	if o.topic, err = parseTopicArg(topic); err != nil {
		return err
	}
	if o.from, err = parsePlace(o.fromText, time.Now()); err != nil {
		return usagef("--from: %w", err)
	}
	if o.group != "" {
		if _, err := protocol.ParseGroup(o.group); err != nil {
			return usageError{err}
		}
	}
	if o.partition, err = a.parsePartitionFlag(o.partitionText); err != nil {
		return err
	}
	switch {
	case o.count < 0:
		return usagef("-n %d is negative", o.count)
	case o.noCommit && o.group == "":
		return usagef("--no-commit is for --group")
	}
	return checkOutput(o.output, "raw", "json", "hex")
}
