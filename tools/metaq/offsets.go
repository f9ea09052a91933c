package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// toolGroup is the group of the questions that the tool asks; it commits nothing.
const toolGroup = "metaq"

func newOffsetsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "offsets",
		Short: "Show or move where a group goes on",
		Long: `offsets shows where a group goes on in each partition, and moves it: one partition with set, a topic or all of them with reset.

With --zk the offsets are those in ZooKeeper, where the consumers of a cluster keep them, else those that the broker keeps.`,
		Example: `  metaq offsets show backup --zk 127.0.0.1:2181
  metaq offsets reset backup --to earliest --dry-run --zk 127.0.0.1:2181`,
		Args: cobra.ArbitraryArgs,
		RunE: needSubcommand,
	}
	cmd.AddCommand(newOffsetsShowCommand(a), newOffsetsSetCommand(a), newOffsetsResetCommand(a))
	return cmd
}

// offsetRow is where a group goes on in a partition.
type offsetRow struct {
	Topic     string     `json:"topic"`
	Partition string     `json:"partition"`
	Offset    *int64     `json:"offset"`            // null: what is there is no offset
	Message   *int64     `json:"message,omitempty"` // id of the last message consumed
	Changed   *time.Time `json:"changed,omitempty"`
	Odd       string     `json:"odd,omitempty"`
}

func newOffsetsShowCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show GROUP [TOPIC]",
		Short: "Show where a group goes on",
		Long: `show prints the offsets of a group: where it goes on, the id of the message it has read last if that is known, and when the offset was changed last.
The exit code is 3 when there is none.`,
		Example: `  metaq offsets show backup
  metaq offsets show backup greetings --zk 127.0.0.1:2181 -o json`,
		Args:              wantArgs(1, 2),
		ValidArgsFunction: a.completeGroupTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			g, only, err := parseGroupAndTopic(args)
			if err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
			defer cancel()
			from, err := a.openGroups(ctx)
			if err != nil {
				return err
			}
			defer from.close()
			v, err := from.view(ctx, g)
			if err != nil {
				return err
			}
			return showOffsets(a, from, v, only, output)
		},
	}
	addOutputFlag(cmd, &output, "table", "json")
	return worksOnCluster(cmd)
}

func parseGroupAndTopic(args []string) (g protocol.Group, topic protocol.Topic, err error) {
	if g, err = parseGroupArg(args[0]); err == nil && len(args) > 1 {
		topic, err = parseTopicArg(args[1])
	}
	return g, topic, err
}

func showOffsets(a *app, from groupSource, v *zkcoord.GroupView, only protocol.Topic, output string) error {
	rows := []offsetRow{}
	for _, o := range v.Offsets {
		if only != "" && o.Topic != only {
			continue
		}
		row := offsetRow{Topic: string(o.Topic), Partition: from.name(o.Partition), Odd: o.Odd}
		if o.Odd == "" {
			row.Offset = &o.Offset.Offset
			if o.Offset.MessageID != zkcoord.UnknownMessage {
				row.Message = &o.Offset.MessageID
			}
		}
		if !o.Changed.IsZero() {
			row.Changed = &o.Changed
		}
		rows = append(rows, row)
	}
	if output == "json" {
		if err := json.NewEncoder(a.out).Encode(rows); err != nil {
			return err
		}
	} else if len(rows) > 0 {
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TOPIC\tPARTITION\tOFFSET\tMESSAGE\tCHANGED")
		for _, r := range rows {
			offset, changed := dash(r.Odd), time.Time{}
			if r.Offset != nil {
				offset = fmt.Sprint(*r.Offset)
			}
			if r.Changed != nil {
				changed = *r.Changed
			}
			message := "-"
			if r.Message != nil {
				message = fmt.Sprint(*r.Message)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Topic, r.Partition, offset, message, printTime(changed))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return notFoundf("group %s has no offset%s", v.Group, ofTopic(only))
	}
	return nil
}

func ofTopic(t protocol.Topic) string {
	if t == "" {
		return ""
	}
	return " of " + string(t)
}

// moveOptions are those of set and reset.
type moveOptions struct {
	partition string // set only
	to        string
	dryRun    bool
	force     bool
	output    string
}

func (o *moveOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.to, "to", "", "the new `PLACE`: earliest, latest, an offset, a time, an age")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would be done, change nothing")
	flags.BoolVar(&o.force, "force", false, "also while members of the group are there, who may undo it")
	addOutputFlag(cmd, &o.output, "table", "json")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
}

const moveHelp = `PLACE is earliest, latest, an offset in bytes, a time (2026-11-21T14:30:00Z, '2026-11-21 14:30'), or an age (15m). The broker is asked whether a message
begins there; from an offset inside of one it goes to the next. What was and what will be is printed, and nothing is changed before all of it is known.

A group that is live is refused: its members would go on where they are, and commit that. Stop them first, or use --force and start
them again. A broker that stands alone does not know whether anybody reads.`

func newOffsetsSetCommand(a *app) *cobra.Command {
	var o moveOptions
	cmd := &cobra.Command{
		Use:   "set GROUP TOPIC --partition PARTITION --to PLACE",
		Short: "Move a group in one partition",
		Long:  "set moves a group in one partition; it need not have read anything of it yet.\n\n" + moveHelp,
		Example: `  metaq offsets set backup greetings --partition 0 --to 1048576
  metaq offsets set backup greetings --partition 1-0 --to 15m --dry-run --zk 127.0.0.1:2181`,
		Args:              wantArgs(2, 2),
		ValidArgsFunction: a.completeGroupTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.partition == "" {
				return usagef("which partition? give it with --partition, or use 'metaq offsets reset' for all of them")
			}
			return a.moveOffsets(cmd.Context(), &o, args)
		},
	}
	cmd.Flags().StringVar(&o.partition, "partition", "", "`PARTITION` as 'metaq offsets show' prints it: a number, in a cluster BROKER-NUMBER")
	o.addFlags(cmd)
	return worksOnCluster(cmd)
}

func newOffsetsResetCommand(a *app) *cobra.Command {
	var o moveOptions
	cmd := &cobra.Command{
		Use:   "reset GROUP [TOPIC] --to PLACE",
		Short: "Move a group in all partitions of a topic, or of all its topics",
		Long:  "reset moves a group in all partitions of TOPIC, or of all topics that it has read or wants.\n\n" + moveHelp,
		Example: `  metaq offsets reset backup greetings --to earliest --dry-run
  metaq offsets reset backup --to latest --zk 127.0.0.1:2181
  metaq offsets reset backup --to '2026-11-21 14:30' --zk 127.0.0.1:2181`,
		Args:              wantArgs(1, 2),
		ValidArgsFunction: a.completeGroupTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.moveOffsets(cmd.Context(), &o, args)
		},
	}
	o.addFlags(cmd)
	return worksOnCluster(cmd)
}

// moveRow is what set or reset does to one partition.
type moveRow struct {
	Topic     string `json:"topic"`
	Partition string `json:"partition"`
	Old       *int64 `json:"old"` // null: there was none
	New       int64  `json:"new"`

	at zkcoord.TopicPartition
}

func (a *app) moveOffsets(ctx context.Context, o *moveOptions, args []string) error {
	if err := checkOutput(o.output, "table", "json"); err != nil {
		return err
	}
	g, topic, err := parseGroupAndTopic(args)
	if err != nil {
		return err
	}
	if o.to == "" {
		return usagef("where to? give --to: %s", placeHelp)
	}
	to, err := parsePlace(o.to, time.Now())
	if err != nil {
		return usagef("--to: %w", err)
	}
	ctx, cancel := a.withTimeout(ctx, 0)
	defer cancel()
	from, err := a.openGroups(ctx)
	if err != nil {
		return err
	}
	defer from.close()
	v, err := from.view(ctx, g)
	if missing := (notFoundError{}); errors.As(err, &missing) && topic != "" {
		v, err = &zkcoord.GroupView{Group: g}, nil // a group may get its offsets before it begins
	}
	if err != nil {
		return err
	}
	if err := a.refuseLive(v, o); err != nil {
		return err
	}
	list, err := o.choose(ctx, from, v, topic)
	if err != nil {
		return err
	}
	rows, err := a.planMoves(ctx, from, v, list, to)
	if err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	if !o.dryRun {
		offsets := map[zkcoord.TopicPartition]int64{}
		for _, r := range rows {
			offsets[r.at] = r.New
		}
		if err := from.save(ctx, g, offsets); err != nil {
			return err
		}
	}
	return printMoves(a, rows, o)
}

// refuseLive keeps the offsets of a live group from being moved under its members.
func (a *app) refuseLive(v *zkcoord.GroupView, o *moveOptions) error {
	if !v.Live() || o.dryRun {
		return nil
	}
	who := fmt.Sprintf("%d members are there", len(v.Members))
	switch {
	case len(v.Members) == 1:
		who = "its member " + v.Members[0].ID + " is there"
	case len(v.Members) == 0:
		who = "partitions have an owner, such as " + v.Owners[0].String() + ": " + v.Owners[0].Member
	}
	if o.force {
		a.say("group %s is live (%s): it goes on where it is until it is started again, and may undo this", v.Group, who)
		return nil
	}
	return fmt.Errorf("group %s is live, %s: stop its consumers first (one that crashed goes with its session), or use --force; nothing was changed", v.Group, who)
}

// choose lists the partitions to move.
func (o *moveOptions) choose(ctx context.Context, from groupSource, v *zkcoord.GroupView, topic protocol.Topic) ([]zkcoord.TopicPartition, error) {
	list, err := wanted(ctx, from, v, topic)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, notFoundf("there is no partition%s to move; 'metaq topics' lists what there is", ofTopic(topic))
	}
	if o.partition == "" {
		return list, nil
	}
	p, err := from.parse(o.partition)
	if err != nil {
		return nil, usagef("--partition: %w", err)
	}
	for _, one := range list {
		if one.Partition == p {
			return []zkcoord.TopicPartition{one}, nil
		}
	}
	return nil, notFoundf("topic %s has no partition %s; 'metaq route %s' lists them", topic, o.partition, topic)
}

// planMoves asks the brokers where each partition would go.
func (a *app) planMoves(ctx context.Context, from groupSource, v *zkcoord.GroupView, list []zkcoord.TopicPartition, to place) ([]moveRow, error) {
	step, done := a.steps(len(list), "partitions")
	var rows []moveRow
	for _, p := range list {
		conn, err := from.dial(ctx, p.Partition)
		if err != nil {
			return nil, err
		}
		row := moveRow{Topic: string(p.Topic), Partition: from.name(p.Partition), at: p}
		if row.New, err = findPlace(ctx, conn, p, to); err != nil {
			return nil, err
		}
		if to.kind == atOffset && row.New != to.offset {
			a.say("%s %s: no message begins at offset %d, the next one at %d", row.Topic, row.Partition, to.offset, row.New)
		}
		if old, ok := v.Offset(p); ok && old.Odd == "" {
			row.Old = &old.Offset.Offset
		}
		rows = append(rows, row)
		step()
	}
	done()
	return rows, nil
}

// findPlace asks the broker which offset a place is in a partition: always one at which a message begins, or the end.
func findPlace(ctx context.Context, conn *client.Conn, p zkcoord.TopicPartition, to place) (int64, error) {
	switch to.kind {
	case atLatest:
		return partitionEnd(ctx, conn, p)
	case atTime:
		offset, err := conn.Seek(ctx, p.Topic, p.Partition.Number, to.time)
		if isBrokerNotFound(err) {
			return 0, nil // nothing was ever put there
		}
		return offset, err
	}
	end, err := partitionEnd(ctx, conn, p)
	if err != nil {
		return 0, err
	}
	if to.offset > end {
		return 0, fmt.Errorf("offset %d is beyond the end of %s, which is %d", to.offset, p, end)
	}
	return nextMessage(ctx, conn, p, to.offset)
}

// nextMessage is where the first message begins that does so at an offset or behind it; the end if none does.
func nextMessage(ctx context.Context, conn *client.Conn, p zkcoord.TopicPartition, offset int64) (int64, error) {
	header := func(at int64) ([]byte, error) {
		return conn.Get(ctx, p.Topic, toolGroup, p.Partition.Number, at, protocol.RecordHeader, -1)
	}
	_, err := header(offset)
	var moved *client.MovedError
	switch {
	case err == nil, isBrokerNotFound(err):
		return offset, nil // a message begins there, or it is the end
	case !errors.As(err, &moved):
		return 0, fmt.Errorf("offset %d of %s: %w", offset, p, err)
	case moved.Offset > offset:
		return moved.Offset, nil // what was there has been removed
	}
	first, err := header(moved.Offset)
	if err != nil {
		return 0, fmt.Errorf("offset %d of %s: %w", moved.Offset, p, err)
	}
	next := moved.Offset + protocol.MessageSize(first)
	if next <= offset || next > math.MaxInt64/2 {
		return 0, fmt.Errorf("offset %d of %s: the broker says that the message at %d holds it, and that message ends at %d", offset, p, moved.Offset, next)
	}
	return next, nil
}

func printMoves(a *app, rows []moveRow, o *moveOptions) error {
	if o.output == "json" {
		if err := json.NewEncoder(a.out).Encode(rows); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TOPIC\tPARTITION\tOLD\tNEW")
		for _, r := range rows {
			old := "-"
			if r.Old != nil {
				old = fmt.Sprint(*r.Old)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", r.Topic, r.Partition, old, r.New)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if o.dryRun {
		a.say("nothing was changed (--dry-run)")
	}
	return nil
}
