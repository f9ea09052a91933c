package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

func newPartitionsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "partitions",
		Short: "Close partitions for puts, or open them again",
		Long: `partitions closes partitions of a topic, or opens them again. A closed partition refuses puts and gets with 403; what it
holds stays. The broker takes these commands only from its own machine.`,
		Example: `  metaq partitions close greetings 0        # one partition
  metaq partitions close greetings 0 3      # partitions 0 to 3
  metaq partitions open greetings 0 3`,
		Args: cobra.ArbitraryArgs,
		RunE: needSubcommand,
	}
	cmd.AddCommand(
		newPartitionRangeCommand(a, "close", "Refuse puts and gets of partitions", "closed", (*client.Conn).ClosePartitions),
		newPartitionRangeCommand(a, "open", "Open closed partitions again", "open", (*client.Conn).OpenPartitions),
	)
	return cmd
}

type partitionRangeCall func(c *client.Conn, ctx context.Context, topic protocol.Topic, first, last int32) error

func newPartitionRangeCommand(a *app, name, short, done string, call partitionRangeCall) *cobra.Command {
	return &cobra.Command{
		Use:   name + " TOPIC FIRST [LAST]",
		Short: short,
		Example: fmt.Sprintf(`  metaq partitions %[1]s greetings 0
  metaq partitions %[1]s greetings 0 3`, name),
		Args:              wantArgs(2, 3),
		ValidArgsFunction: a.completeTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, err := parseTopicArg(args[0])
			if err != nil {
				return err
			}
			first, err := parsePartition(args[1])
			if err != nil {
				return err
			}
			last := first
			if len(args) == 3 {
				if last, err = parsePartition(args[2]); err != nil {
					return err
				}
			}
			if last < first {
				return usagef("the last partition, %d, is before the first, %d", last, first)
			}
			ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
			defer cancel()
			conn, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			if err := call(conn, ctx, topic, first, last); err != nil {
				return fmt.Errorf("%s partitions of %s: %w", name, topic, err)
			}
			if first == last {
				a.say("partition %d of %s is %s", first, topic, done)
			} else {
				a.say("partitions %d to %d of %s are %s", first, last, topic, done)
			}
			return nil
		},
	}
}

// parsePartitionFlag reads --partition: a number, or BROKER-NUMBER in a cluster. nil: all of them.
func (a *app) parsePartitionFlag(s string) (*zkcoord.Partition, error) {
	if s == "-1" {
		return nil, nil
	}
	if a.cluster != nil {
		p, err := zkcoord.ParsePartition(s)
		if err != nil {
			return nil, usagef("--partition: %w; in a cluster it is BROKER-NUMBER such as 0-2, or -1 for all", err)
		}
		return &p, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return nil, usagef("--partition %s: use -1 or a partition", s)
	}
	return &zkcoord.Partition{Number: int32(n)}, nil
}

// partitionName is how a partition is written: as parsePartitionFlag reads it.
func (a *app) partitionName(p zkcoord.Partition) string {
	if a.cluster != nil {
		return p.String()
	}
	return strconv.Itoa(int(p.Number))
}

// jsonBroker is the broker of a partition for -o json, nil if it stands alone.
func (a *app) jsonBroker(id int) *int {
	if a.cluster == nil {
		return nil
	}
	return &id
}

func parsePartition(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, usagef("%q is not a partition: use a number from 0", s)
	}
	return int32(n), nil
}
