package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newStatsCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "stats [ITEM]",
		Short: "Print the broker's figures",
		Long: `stats prints the broker's figures. 'metaq stats help' lists the items; the name of a topic is an item too.

With -o raw the answer is printed as the broker sent it, with -o json as an array of objects {"name", "value"}, where
value is what follows the name on its line.`,
		Example: `  metaq stats
  metaq stats help
  metaq stats topics
  metaq stats -o json | jq -r '.[] | select(.name == "cmd_put").value'`,
		Args:              wantArgs(0, 1),
		ValidArgsFunction: a.completeStats,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "raw", "json"); err != nil {
				return err
			}
			item := ""
			if len(args) == 1 {
				item = args[0]
			}
			if strings.ContainsAny(item, " \t\r\n") {
				return usagef("an item is one word, not %q", item)
			}
			ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
			defer cancel()
			conn, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			text, err := conn.Stats(ctx, item)
			if err != nil {
				return fmt.Errorf("stats of %s: %w", a.broker, err)
			}
			return printStats(a, output, string(text))
		},
	}
	addOutputFlag(cmd, &output, "table", "raw", "json")
	return cmd
}

// stat is one line of an answer to stats.
type stat struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// parseStats splits the lines between STATS and END. ok is false for an answer that has no such frame: the
// configuration file is sent as it is.
func parseStats(text string) (stats []stat, ok bool) {
	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(text), "\r\n", "\n"), "\n")
	if len(lines) < 2 || lines[0] != "STATS" || lines[len(lines)-1] != "END" {
		return nil, false
	}
	stats = []stat{}
	for _, line := range lines[1 : len(lines)-1] {
		name, value, _ := strings.Cut(line, " ")
		stats = append(stats, stat{name, value})
	}
	return stats, true
}

func printStats(a *app, output, text string) error {
	stats, framed := parseStats(text)
	switch {
	case output == "json" && framed:
		return json.NewEncoder(a.out).Encode(stats)
	case output == "json":
		return json.NewEncoder(a.out).Encode(map[string]string{"text": text})
	case output == "raw" || !framed:
		if !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		_, err := fmt.Fprint(a.out, text)
		return err
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, s := range stats {
		fmt.Fprintf(w, "%s\t%s\n", s.Name, s.Value)
	}
	return w.Flush()
}
