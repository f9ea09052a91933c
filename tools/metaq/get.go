package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/protocol"
)

type getOptions struct {
	topic     protocol.Topic
	group     string
	fromText  string
	from      place
	hasFrom   bool
	count     int64
	follow    bool
	noCommit  bool
	partition int32
	output    string
}

func newGetCommand(a *app) *cobra.Command {
	var o getOptions
	cmd := &cobra.Command{
		Use:   "get TOPIC",
		Short: "Print messages",
		Long: `get prints the messages of a topic that are stored now, partition after partition, each on a line. With -f it goes on
with those that come, from all partitions as they come, until -n messages or Ctrl-C.

With --group the broker remembers how far the group has read: the next get of the group goes on there. A position is
kept after its messages were written to standard output, so that a get that is killed may print some again, but never
leaves one out. --from then moves the group.

In a cluster (--zk) get is one of the group's consumers, as programs are: -f and --group are needed, it gets its share of
the partitions of all brokers, and the position is kept in ZooKeeper. --from is for a group that has none yet.

--from is earliest, latest, an offset in bytes (of one partition), a time (2026-11-21T14:30:00Z, '2026-11-21 14:30'), or
an age (15m). Default: where the group stopped, else earliest.

Formats: raw is the message and a newline; json an object a line with topic, partition, offset, id, time, attribute and
data (data_base64 when it is no UTF-8 text); hex the bytes of the message.

The exit code is 3 when there was nothing to print.`,
		Example: `  metaq get greetings
  metaq get logs --group backup              # what is new since the last time
  metaq get logs -f --from latest            # like tail -f
  metaq get logs -f --group backup --zk 127.0.0.1:2181 # start it twice to share the work
  metaq get logs --from 15m -o json
  metaq get logs --partition 0 --from 1048576 -n 10
  metaq get images --partition 0 -n 1 -o hex | xxd -r -p > cat.png`,
		Args:              wantArgs(1, 1),
		ValidArgsFunction: a.completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.hasFrom = cmd.Flags().Changed("from")
			if err := o.check(args[0]); err != nil {
				return err
			}
			if a.cluster != nil {
				if err := o.checkCluster(); err != nil {
					return err
				}
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			if a.cluster != nil {
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
	flags.Int64VarP(&o.count, "count", "n", 0, "stop after this many messages; 0 = no limit")
	flags.BoolVarP(&o.follow, "follow", "f", false, "wait for more messages")
	flags.BoolVar(&o.noCommit, "no-commit", false, "do not remember the group's position")
	flags.Int32Var(&o.partition, "partition", -1, "read only this partition; -1 = all")
	addOutputFlag(cmd, &o.output, "raw", "json", "hex")
	_ = cmd.RegisterFlagCompletionFunc("from",
		cobra.FixedCompletions([]string{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
	return worksOnCluster(cmd)
}

// checkCluster refuses what a consumer of a group cannot do.
func (o *getOptions) checkCluster() error {
	switch {
	case !o.follow || o.group == "":
		return usagef("in a cluster get reads as a consumer of a group: add -f and --group GROUP, or name one broker with --broker HOST:PORT")
	case o.noCommit:
		return usagef("--no-commit is for one broker: a consumer of a group in a cluster keeps its position")
	case o.from.kind == atOffset && o.from.offset > 0:
		return usagef("--from %d is an offset of one partition: use earliest, latest, a time or an age", o.from.offset)
	case o.partition >= 0:
		return usagef("--partition is for one broker: in a cluster the consumers of a group share the partitions")
	}
	return nil
}

func (o *getOptions) check(topic string) (err error) {
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
	switch {
	case o.partition < -1:
		return usagef("--partition %d: use -1 or a partition", o.partition)
	case o.count < 0:
		return usagef("-n %d is negative", o.count)
	case o.noCommit && o.group == "":
		return usagef("--no-commit is for --group")
	}
	return checkOutput(o.output, "raw", "json", "hex")
}
