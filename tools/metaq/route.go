package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

type routeRow struct {
	Broker    *int     `json:"broker,omitempty"` // of a cluster
	Partition int32    `json:"partition"`
	Master    string   `json:"master"`
	Slaves    []string `json:"slaves"`
}

func newRouteCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "route TOPIC",
		Short: "Print which broker has which partition of a topic",
		Example: `  metaq route greetings
  metaq route greetings -o json
  metaq route greetings --zk 127.0.0.1:2181`,
		Args:              wantArgs(1, 1),
		ValidArgsFunction: a.completeTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			topic, err := parseTopicArg(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
			defer cancel()
			rows, err := a.listRoute(ctx, topic)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(a.out).Encode(rows)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "PARTITION\tMASTER\tSLAVES")
			for _, r := range rows {
				slaves := "-"
				if len(r.Slaves) > 0 {
					slaves = strings.Join(r.Slaves, " ")
				}
				name := strconv.Itoa(int(r.Partition))
				if r.Broker != nil {
					name = zkcoord.Partition{Broker: *r.Broker, Number: r.Partition}.String()
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", name, dash(r.Master), slaves)
			}
			return w.Flush()
		},
	}
	addOutputFlag(cmd, &output, "table", "json")
	return worksOnCluster(cmd)
}

// listRoute asks the broker where the partitions of a topic are, or ZooKeeper.
func (a *app) listRoute(ctx context.Context, topic protocol.Topic) ([]routeRow, error) {
	var rows []routeRow
	if a.cluster == nil {
		conn, err := a.dial(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		routes, err := conn.ClusterRoute(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("route of %s: %w", topic, err)
		}
		if len(routes) == 0 {
			return nil, notFoundf("topic %s has no partitions on %s", topic, a.broker)
		}
		for _, r := range routes {
			rows = append(rows, routeRow{nil, r.Partition, r.Master, append([]string{}, r.Slaves...)})
		}
		return rows, nil
	}
	c, err := a.openCluster(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	from := clusterGroups{c}
	partitions, err := from.partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	if len(partitions) == 0 {
		return nil, notFoundf("no broker of %s has the topic %s now", c, topic)
	}
	offers, err := c.directory.Lookup(ctx, zkcoord.UseSubscribe, topic)
	if err != nil {
		return nil, err
	}
	for _, p := range partitions {
		row := routeRow{Broker: &p.Broker, Partition: p.Number, Slaves: []string{}}
		for _, m := range c.masters {
			if m.ID == p.Broker {
				row.Master = m.Addr
			}
		}
		for _, o := range offers {
			if o.Replica.Broker == p.Broker && !o.Replica.IsMaster() && p.Number < o.Partitions {
				row.Slaves = append(row.Slaves, o.Addr)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}
