package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

type topicRow struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Messages   int64  `json:"messages"`
	Bytes      int64  `json:"bytes"`
	Brokers    []int  `json:"brokers,omitempty"` // of a cluster: those that have it
}

func newTopicsCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "List the topics of the broker",
		Long: `topics lists the broker's topics with their partitions, messages and bytes; with --zk those of all brokers of the cluster, added up.
The exit code is 3 when there is none.`,
		Example: `  metaq topics
  metaq topics -o json
  metaq topics -b queue1:8123
  metaq topics --zk 127.0.0.1:2181`,
		Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
			defer cancel()
			rows, where, failed := a.listTopics(ctx)
			if failed != nil && rows == nil {
				return failed
			}
			if output == "json" {
				if err := json.NewEncoder(a.out).Encode(rows); err != nil {
					return err
				}
			} else if len(rows) > 0 {
				w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "TOPIC\tPARTITIONS\tMESSAGES\tBYTES"+brokersColumn(a, "BROKERS"))
				for _, r := range rows {
					fmt.Fprintf(w, "%s\t%d\t%d\t%d%s\n", r.Topic, r.Partitions, r.Messages, r.Bytes, brokersColumn(a, strings.Trim(fmt.Sprint(r.Brokers), "[]")))
				}
				if err := w.Flush(); err != nil {
					return err
				}
			}
			if len(rows) == 0 && failed == nil {
				return notFoundf("no topics on %s", where)
			}
			return failed
		},
	}
	addOutputFlag(cmd, &output, "table", "json")
	return worksOnCluster(cmd)
}

func brokersColumn(a *app, text string) string {
	if a.cluster == nil {
		return ""
	}
	return "\t" + text
}

// listTopics asks the broker, or all brokers of the cluster. where names whom it has asked. Beside rows an error is about brokers that do not answer: the rows are
// what the others have.
func (a *app) listTopics(ctx context.Context) (rows []topicRow, where string, err error) {
	rows = []topicRow{}
	if a.cluster == nil {
		conn, err := a.dial(ctx)
		if err != nil {
			return nil, "", err
		}
		defer conn.Close()
		topics, err := conn.Topics(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("topics of %s: %w", a.broker, err)
		}
		for _, t := range topics {
			rows = append(rows, topicRow{string(t.Name), t.Partitions, t.Messages, t.Bytes, nil})
		}
		return rows, a.broker, nil
	}
	c, err := a.openCluster(ctx)
	if err != nil {
		return nil, "", err
	}
	defer c.close()
	if err := c.needMasters(); err != nil {
		return nil, "", err
	}
	sum := map[protocol.Topic]*topicRow{}
	for _, m := range c.masters {
		topics, failed := c.topics(ctx, m)
		err = errors.Join(err, failed)
		for _, t := range topics {
			row := sum[t.Name]
			if row == nil {
				row = &topicRow{Topic: string(t.Name)}
				sum[t.Name] = row
			}
			row.Partitions, row.Messages, row.Bytes, row.Brokers = row.Partitions+t.Partitions, row.Messages+t.Messages, row.Bytes+t.Bytes, append(row.Brokers, m.ID)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sum)) {
		rows = append(rows, *sum[name])
	}
	return rows, c.String(), err
}

// topics asks one broker.
func (c *cluster) topics(ctx context.Context, m zkcoord.BrokerInfo) ([]client.TopicInfo, error) {
	conn, err := c.dial(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	topics, err := conn.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("topics of broker %d at %s: %w", m.ID, m.Addr, err)
	}
	return topics, nil
}
