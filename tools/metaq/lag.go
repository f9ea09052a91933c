package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// lagRow is what a group has not read of a partition.
type lagRow struct {
	Topic     string  `json:"topic"`
	Partition string  `json:"partition"`
	Owner     string  `json:"owner,omitempty"`
	Offset    *int64  `json:"offset"`            // null: it has none, and would begin with the first message
	KeptOn    string  `json:"kept_on,omitempty"` // "broker" for an offset that is not where the cluster has them
	End       int64   `json:"end"`
	Messages  int64   `json:"messages"`
	Bytes     int64   `json:"bytes"`
	Seconds   float64 `json:"seconds"`
	Note      string  `json:"note,omitempty"`
	Error     string  `json:"error,omitempty"` // why the end and what follows it are not known
}

// lagTotal adds up messages and bytes; its seconds are those of the partition that is furthest behind.
type lagTotal struct {
	Messages int64   `json:"messages"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
}

type lagReport struct {
	Group      string   `json:"group"`
	Partitions []lagRow `json:"partitions"`
	Total      lagTotal `json:"total"`
}

func newLagCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "lag GROUP",
		Short: "Print what a group has not read yet",
		Long: `lag prints, for each partition of the topics of a group, how many messages and bytes lie behind its offset, and how many seconds ago the first of
them was stored; then the sum, with the largest time. The brokers count, and the numbers are exact for the moment of the answer.

An offset is where the group has committed. A consumer that runs is further on by what it has read since its last commit. A partition that
the group has no offset of counts from its first message, and shows a dash. In a cluster the offsets are those in ZooKeeper. Of a group that has none
there they are those that the brokers keep (client.NewBrokerOffsets), and that is said. Offsets in files and databases are not seen.

The exit code is 3 when there is no such group, and 1 when a broker does not answer: the others' partitions are printed, and the sum is theirs.`,
		Example: `  metaq lag backup
  metaq lag backup --zk 127.0.0.1:2181
  metaq lag backup --zk 127.0.0.1:2181 -o json | jq .total.messages`,
		Args:              wantArgs(1, 1),
		ValidArgsFunction: a.completeGroup(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			g, err := parseGroupArg(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			from, err := a.openGroups(ctx)
			if err != nil {
				return err
			}
			defer from.close()
			v, err := from.view(ctx, g)
			keptOn := ""
			if c, ok := from.(clusterGroups); ok && (errors.As(err, new(notFoundError)) || err == nil && len(v.Offsets) == 0) {
				keptOn = "broker"
				v, err = c.withOffsetsOfBrokers(ctx, g, v)
			}
			if err != nil {
				return err
			}
			report, silent := a.lag(ctx, from, v, keptOn)
			if report == nil {
				return silent
			}
			if output == "json" {
				err = json.NewEncoder(a.out).Encode(report)
			} else {
				err = printLag(a, report)
			}
			return errors.Join(err, silent)
		},
	}
	addOutputFlag(cmd, &output, "table", "json")
	return worksOnCluster(cmd)
}

// lag asks the brokers how far a group is behind. Beside a report an error is about brokers that do not answer: the sum is of the others' partitions.
func (a *app) lag(ctx context.Context, from groupSource, v *zkcoord.GroupView, keptOn string) (report *lagReport, silent error) {
	list, err := wanted(ctx, from, v, "")
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	failed := map[int]error{} // by broker, guarded by mu; each is waited for once
	away := func(id int, err error) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil || failed[id] != nil:
			return failed[id]
		case brokerStatus(err) == 0:
			failed[id] = err
		} // otherwise it has answered, and something is wrong with this partition
		silent = errors.Join(silent, err)
		return err
	}
	conns := make([]*client.Conn, len(list))
	for i, p := range list {
		if id := p.Partition.Broker; away(id, nil) == nil {
			if conns[i], err = from.dial(ctx, p.Partition); err != nil {
				away(id, err)
			}
		}
	}
	step, done := a.steps(len(list), "partitions")
	defer done()
	report = &lagReport{Group: string(v.Group), Partitions: make([]lagRow, len(list))}
	err = atOnce(ctx, len(list), func(ctx context.Context, i int) error {
		row, id := newLagRow(list[i], v, keptOn), list[i].Partition.Broker
		row.Partition = from.name(list[i].Partition)
		err := away(id, nil)
		if err == nil {
			if err = row.ask(ctx, conns[i], list[i]); ctx.Err() != nil {
				return err
			}
		}
		if err != nil {
			row.Error = away(id, err).Error()
		}
		report.Partitions[i] = row
		step()
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, row := range report.Partitions {
		report.Total.Messages += row.Messages
		report.Total.Bytes += row.Bytes
		report.Total.Seconds = max(report.Total.Seconds, row.Seconds)
	}
	return report, silent
}

// newLagRow is what ZooKeeper, or a broker that keeps offsets, knows of a partition.
func newLagRow(p zkcoord.TopicPartition, v *zkcoord.GroupView, keptOn string) lagRow {
	row := lagRow{Topic: string(p.Topic), Owner: v.Owner(p)}
	if o, ok := v.Offset(p); ok && o.Odd != "" {
		row.Note = "the offset is " + o.Odd
	} else if ok {
		row.Offset, row.KeptOn = &o.Offset.Offset, keptOn
	}
	return row
}

// ask asks the broker of the partition. One that has taken the connection and says nothing is not waited for for ever.
func (row *lagRow) ask(ctx context.Context, conn *client.Conn, p zkcoord.TopicPartition) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer for %s", askTimeout))
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("broker %d: %w", p.Partition.Broker, context.Cause(ctx))
		}
	}()
	offset := int64(0)
	if row.Offset != nil {
		offset = *row.Offset
	}
	if row.End, err = partitionEnd(ctx, conn, p); err != nil {
		return err
	}
	lag, err := conn.Lag(ctx, p.Topic, p.Partition.Number, offset)
	if err != nil && !isBrokerNotFound(err) { // a partition without messages
		return fmt.Errorf("lag of %s: %w", p, err)
	}
	if offset > row.End {
		row.Note = "the offset is beyond the end"
	}
	if lag.Bytes > 0 {
		row.End = max(row.End, offset+lag.Bytes) // messages came meanwhile
	}
	row.Messages, row.Bytes, row.Seconds = lag.Messages, lag.Bytes, lag.Age.Seconds()
	return nil
}

// partitionEnd is where the next message of a partition goes.
func partitionEnd(ctx context.Context, conn *client.Conn, p zkcoord.TopicPartition) (int64, error) {
	_, err := conn.Get(ctx, p.Topic, toolGroup, p.Partition.Number, math.MaxInt64, protocol.RecordHeader, -1)
	var moved *client.MovedError
	switch {
	case errors.As(err, &moved):
		return moved.Offset, nil
	case isBrokerNotFound(err):
		return 0, nil // nothing was ever put there
	case brokerStatus(err) == protocol.StatusForbidden: // it is closed: nobody may read it now, and it is there
		return conn.Seek(ctx, p.Topic, p.Partition.Number, time.UnixMilli(math.MaxInt64))
	case err == nil:
		return 0, fmt.Errorf("end of %s: the broker has a message there", p)
	}
	return 0, fmt.Errorf("end of %s: %w", p, err)
}

func printLag(a *app, report *lagReport) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOPIC\tPARTITION\tOWNER\tOFFSET\tEND\tMESSAGES\tBYTES\tSECONDS")
	for _, r := range report.Partitions {
		offset := "-"
		if r.Offset != nil {
			offset = fmt.Sprint(*r.Offset)
		}
		if r.Error != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t-\t-\t-\t-\n", r.Topic, r.Partition, dash(r.Owner), offset)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.3f\n", r.Topic, r.Partition, dash(r.Owner), offset, r.End, r.Messages, r.Bytes, r.Seconds)
	}
	t := report.Total
	fmt.Fprintf(w, "total\t\t\t\t\t%d\t%d\t%.3f\n", t.Messages, t.Bytes, t.Seconds)
	if err := w.Flush(); err != nil {
		return err
	}
	if slices.ContainsFunc(report.Partitions, func(r lagRow) bool { return r.KeptOn != "" }) {
		a.say("the group has no offset in ZooKeeper; these are the ones that the brokers keep")
	}
	for _, r := range report.Partitions {
		if r.Note != "" {
			a.say("%s %s: %s ('metaq offsets set' puts it right)", r.Topic, r.Partition, r.Note)
		}
	}
	return nil
}
