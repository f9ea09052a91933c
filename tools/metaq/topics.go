package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

type topicRow struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Messages   int64  `json:"messages"`
	Bytes      int64  `json:"bytes"`
}

func newTopicsCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "List the topics of the broker",
		Long:  "topics lists the broker's topics with their partitions, messages and bytes. The exit code is 3 when there is none.",
		Example: `  metaq topics
  metaq topics -o json
  metaq topics -b queue1:8123`,
		Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
			defer cancel()
			conn, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			topics, err := conn.Topics(ctx)
			if err != nil {
				return fmt.Errorf("topics of %s: %w", a.broker, err)
			}
			rows := make([]topicRow, 0, len(topics))
			for _, t := range topics {
				rows = append(rows, topicRow{string(t.Name), t.Partitions, t.Messages, t.Bytes})
			}
			if output == "json" {
				if err := json.NewEncoder(a.out).Encode(rows); err != nil {
					return err
				}
			} else if len(rows) > 0 {
				w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "TOPIC\tPARTITIONS\tMESSAGES\tBYTES")
				for _, r := range rows {
					fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", r.Topic, r.Partitions, r.Messages, r.Bytes)
				}
				if err := w.Flush(); err != nil {
					return err
				}
			}
			if len(rows) == 0 {
				return notFoundf("no topics on %s", a.broker)
			}
			return nil
		},
	}
	addOutputFlag(cmd, &output, "table", "json")
	return cmd
}
