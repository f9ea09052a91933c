package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/zkcoord"
)

// statsItems are the items of a broker of this project; one of Metamorphosis has the first five. Its own help knows no more of them either.
var statsItems = []struct{ name, what string }{
	{"help", "the items of Metamorphosis"},
	{"topics", "messages and bytes of every topic"},
	{"offsets", "first and end offset of every partition"},
	{"realtime", "what was done in the last minute"},
	{"config", "the configuration file as it is"},
	{"reset", "begins the realtime figures again"},
	{"features", "what the broker can do beyond Metamorphosis"},
	{"limits", "the bounds in force, by the names of their keys"},
	{"connections", "connections, refusals, slow readers, bytes in and out"},
	{"store", "positions, segments, disk, recovery"},
	{"flush", "what an acknowledgement means, and how long flushes take"},
	{"groups", "committed offsets of the groups"},
	{"zk", "the registration in ZooKeeper, and what is in its way"},
}

// listStatsItems is a line for each item.
func listStatsItems() string {
	var b strings.Builder
	for _, item := range statsItems {
		fmt.Fprintf(&b, "  %-12s %s\n", item.name, item.what)
	}
	return b.String()
}

// checkItem says so when the answer to stats tells that the item is none, nor a topic: a broker answers with figures of nothing then.
func checkItem(item, text, where string) error {
	if stats, _ := parseStats(text); len(stats) > 1 && stats[0].Name == item && stats[1] == (stat{"resultCode", "1"}) {
		return notFoundf("%s is neither an item of stats nor a topic %s: 'metaq help stats' lists the items, 'metaq topics' the topics", item, where)
	}
	return nil
}

func newStatsCommand(a *app) *cobra.Command {
	var output string
	var id int
	cmd := &cobra.Command{
		Use:   "stats [ITEM]",
		Short: "Print the broker's figures",
		Long: `stats prints the broker's figures: those of ITEM, or an overview. The name of a topic is an item, and these are:
` + listStatsItems() + `
With -o raw the answer is printed as the broker sent it, with -o json as an array of objects {"name", "value"}, where
value is what follows the name on its line.

With --zk all brokers of the cluster are asked, or the one that --broker-id names; the first column, or "broker", is the id then.

The exit code is 3 when ITEM is neither an item nor a topic.`,
		Example: `  metaq stats
  metaq stats limits
  metaq stats topics
  metaq stats --zk 127.0.0.1:2181 --broker-id 1
  metaq stats -o json | jq -r '.[] | select(.name == "cmd_put").value'`,
		Args:              wantArgs(0, 1),
		ValidArgsFunction: a.completeStats(),
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
			if a.cluster != nil {
				return a.clusterStats(ctx, item, id, output)
			}
			if id >= 0 {
				return usagef("--broker-id chooses a broker of a cluster: name that with --zk")
			}
			conn, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			text, err := conn.Stats(ctx, item)
			if err != nil {
				return fmt.Errorf("stats of %s: %w", a.broker, err)
			}
			if err := checkItem(item, string(text), "on "+a.broker); err != nil {
				return err
			}
			return printStats(a, output, string(text))
		},
	}
	cmd.Flags().IntVar(&id, "broker-id", -1, "with --zk: ask only the broker with this `ID`; -1 = all")
	addOutputFlag(cmd, &output, "table", "raw", "json")
	return worksOnCluster(cmd)
}

// clusterStat is one line of one broker's answer to stats.
type clusterStat struct {
	Broker int `json:"broker"`
	stat
}

// clusterStats asks all brokers of a cluster, or one. A broker that does not answer does not hide the figures of the others.
func (a *app) clusterStats(ctx context.Context, item string, id int, output string) error {
	c, err := a.openCluster(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.needMasters(); err != nil {
		return err
	}
	if id >= 0 && !slices.ContainsFunc(c.masters, func(m zkcoord.BrokerInfo) bool { return m.ID == id }) {
		return notFoundf("broker %d has no master in %s", id, c)
	}
	rows, failed, unknown, known := []clusterStat{}, error(nil), error(nil), 0
	for _, m := range c.masters {
		if id >= 0 && m.ID != id {
			continue
		}
		text, err := c.stats(ctx, m.ID, item)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if err := checkItem(item, text, "in "+c.String()); err != nil {
			unknown = err // other brokers may have the topic
			continue
		}
		known++
		list, framed := parseStats(text)
		if output == "raw" || !framed {
			a.say("broker %d at %s:", m.ID, m.Addr)
			if err := printStats(a, "raw", text); err != nil {
				return err
			}
			continue
		}
		for _, s := range list {
			rows = append(rows, clusterStat{m.ID, s})
		}
	}
	if known == 0 && failed == nil {
		return unknown
	}
	if output == "json" {
		if err := json.NewEncoder(a.out).Encode(rows); err != nil {
			return err
		}
	} else if len(rows) > 0 {
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "BROKER\tNAME\tVALUE")
		for _, r := range rows {
			fmt.Fprintf(w, "%d\t%s\t%s\n", r.Broker, r.Name, r.Value)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return failed
}

func (c *cluster) stats(ctx context.Context, id int, item string) (string, error) {
	conn, err := c.dial(ctx, id)
	if err != nil {
		return "", err
	}
	text, err := conn.Stats(ctx, item)
	if err != nil {
		return "", fmt.Errorf("stats of broker %d: %w", id, err)
	}
	return text, nil
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
