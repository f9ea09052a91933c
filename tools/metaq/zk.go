package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/zkcoord"
)

func newZKCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "zk",
		Short:   "Look at what a cluster keeps in ZooKeeper",
		Example: `  metaq zk show --zk 127.0.0.1:2181`,
		Args:    cobra.ArbitraryArgs,
		RunE:    needSubcommand,
	}
	cmd.AddCommand(newZKShowCommand(a))
	return cmd
}

// nodeRow is a node as `zk show` prints it.
type nodeRow struct {
	Path     string    `json:"path"`
	Kind     string    `json:"kind"` // persistent or ephemeral
	Data     string    `json:"data"`
	Value    string    `json:"value"` // what the data says
	Odd      bool      `json:"odd,omitempty"`
	Meaning  string    `json:"meaning"` // "" if the node is unknown
	Version  int32     `json:"version"`
	Modified time.Time `json:"modified"`
	Session  string    `json:"session,omitempty"` // of an ephemeral node
}

func newZKShowCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show [PATH]",
		Short: "Print the tree in ZooKeeper, with what each node means",
		Long: `show prints the nodes of a cluster, or those from PATH on: P for a persistent one, E for an ephemeral one, which goes with the session of the program that made it;
the path; what its data says; and what the node is for. Data that is not what it should be is quoted, and marked with "odd:". A node that is none of
the cluster's is unknown.

The exit code is 3 when there is no such node.`,
		Example: `  metaq zk show --zk 127.0.0.1:2181
  metaq zk show /meta/consumers/backup --zk 127.0.0.1:2181
  metaq zk show --zk 127.0.0.1:2181 -o json | jq -r '.[] | select(.odd).path'`,
		Args: wantArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			if a.cluster == nil {
				return usagef("which ZooKeeper? name it with --zk HOST:PORT")
			}
			from := ""
			if len(args) == 1 {
				if !strings.HasPrefix(args[0], "/") {
					return usagef("%q is no path of a node: it begins with a slash, as in /meta/brokers", args[0])
				}
				path, err := zkcoord.ParseRoot(args[0])
				if err != nil {
					return usageError{err}
				}
				if from = string(path); from == "" {
					from = "/"
				}
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			c, err := a.openCluster(ctx)
			if err != nil {
				return err
			}
			defer c.close()
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			rows := []nodeRow{}
			step, done := a.steps(-1, "nodes")
			err = zkcoord.WalkTree(ctx, c.session, c.layout, from, func(n zkcoord.TreeNode) error {
				step()
				if output == "json" {
					rows = append(rows, newNodeRow(n))
					return nil
				}
				return printNode(w, n)
			})
			done()
			if errors.Is(err, zkcoord.ErrNoNode) {
				if from == "" {
					return notFoundf("there is nothing below %s in ZooKeeper %s: no broker has registered there (another root is ?root=/PATH behind the address)", c.root(), c.address.Connect)
				}
				return notFoundf("there is no node %s in ZooKeeper %s", from, c.address.Connect)
			}
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(a.out).Encode(rows)
			}
			return w.Flush()
		},
	}
	addOutputFlag(cmd, &output, "table", "json")
	return worksOnCluster(cmd)
}

func newNodeRow(n zkcoord.TreeNode) nodeRow {
	row := nodeRow{
		Path: n.Path, Kind: "persistent", Data: string(n.Data), Value: n.Value, Odd: n.Odd, Meaning: n.Meaning,
		Version: n.Stat.Version, Modified: n.Stat.Modified,
	}
	if n.Kind() == zkcoord.Ephemeral {
		row.Kind, row.Session = "ephemeral", fmt.Sprintf("%#x", n.Stat.Owner)
	}
	return row
}

func printNode(w *tabwriter.Writer, n zkcoord.TreeNode) error {
	kind, value, meaning := "P", dash(n.Value), n.Meaning
	if n.Kind() == zkcoord.Ephemeral {
		kind = "E"
	}
	if n.Odd {
		value = "odd: " + value
	}
	if meaning == "" {
		meaning = "Unknown."
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", kind, n.Path, value, meaning)
	return err
}
