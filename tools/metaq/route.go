package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

type routeRow struct {
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
  metaq route greetings -o json`,
		Args:              wantArgs(1, 1),
		ValidArgsFunction: a.completeTopic,
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
			conn, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			routes, err := conn.ClusterRoute(ctx, topic)
			if err != nil {
				return fmt.Errorf("route of %s: %w", topic, err)
			}
			if len(routes) == 0 {
				return notFoundf("topic %s has no partitions on %s", topic, a.broker)
			}
			rows := make([]routeRow, 0, len(routes))
			for _, r := range routes {
				rows = append(rows, routeRow{r.Partition, r.Master, append([]string{}, r.Slaves...)})
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
				fmt.Fprintf(w, "%d\t%s\t%s\n", r.Partition, r.Master, slaves)
			}
			return w.Flush()
		},
	}
	addOutputFlag(cmd, &output, "table", "json")
	return cmd
}
