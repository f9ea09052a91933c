package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// groupRow is a group as `groups` lists it.
type groupRow struct {
	Group   string           `json:"group"`
	State   string           `json:"state"`
	Topics  []protocol.Topic `json:"topics"`
	Members []memberRow      `json:"members"`
}

// memberRow is a member of a group.
type memberRow struct {
	ID         string           `json:"id"`
	Since      time.Time        `json:"since"`
	Topics     []protocol.Topic `json:"topics"`
	Partitions []string         `json:"partitions"` // TOPIC/B-P
}

// States of a group.
const (
	groupLive    = "live"    // somebody reads as the group
	groupIdle    = "idle"    // nobody does
	groupUnknown = "unknown" // a broker alone does not know
)

func newGroupsCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "groups [GROUP]",
		Short: "List the groups of consumers, or the members of one",
		Long: `groups lists the groups that have read something, or GROUP with its members, the topics they want and the partitions they have.

With --zk these are the groups of the cluster: live while somebody reads, else idle. A broker that stands alone knows the groups that
have committed an offset there, and not whether anybody reads: their state is unknown.

The exit code is 3 when there is no group.`,
		Example: `  metaq groups
  metaq groups --zk 127.0.0.1:2181
  metaq groups backup --zk zoo1:2181,zoo2:2181/app
  metaq groups -o json --zk 127.0.0.1:2181 | jq -r '.[] | select(.state == "live").group'`,
		Args:              wantArgs(0, 1),
		ValidArgsFunction: a.completeGroup(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), askTimeout)
			defer cancel()
			from, err := a.openGroups(ctx)
			if err != nil {
				return err
			}
			defer from.close()
			if len(args) == 1 {
				g, err := parseGroupArg(args[0])
				if err != nil {
					return err
				}
				return printGroup(ctx, a, from, g, output)
			}
			return printGroups(ctx, a, from, output)
		},
	}
	addOutputFlag(cmd, &output, "table", "json")
	return worksOnCluster(cmd)
}

func newGroupRow(from groupSource, v *zkcoord.GroupView) groupRow {
	row := groupRow{Group: string(v.Group), State: groupIdle, Topics: append([]protocol.Topic{}, v.Topics()...), Members: []memberRow{}}
	switch {
	case !from.knowsMembers():
		row.State = groupUnknown
	case v.Live():
		row.State = groupLive
	}
	for _, m := range v.Members {
		member := memberRow{ID: m.ID, Since: m.Since, Topics: append([]protocol.Topic{}, m.Topics...), Partitions: []string{}}
		for _, o := range v.Owners {
			if o.Member == m.ID {
				member.Partitions = append(member.Partitions, o.TopicPartition.String())
			}
		}
		row.Members = append(row.Members, member)
	}
	return row
}

func printGroups(ctx context.Context, a *app, from groupSource, output string) error {
	groups, err := from.groups(ctx)
	if err != nil {
		return err
	}
	step, done := a.steps(len(groups), "groups")
	rows := []groupRow{}
	for _, g := range groups {
		v, err := from.view(ctx, g)
		if err != nil {
			return err
		}
		rows = append(rows, newGroupRow(from, v))
		step()
	}
	done()
	if output == "json" {
		if err := json.NewEncoder(a.out).Encode(rows); err != nil {
			return err
		}
	} else if len(rows) > 0 {
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "GROUP\tSTATE\tMEMBERS\tTOPICS")
		for _, r := range rows {
			members := "-"
			if from.knowsMembers() {
				members = fmt.Sprint(len(r.Members))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Group, r.State, members, joinTopics(r.Topics))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return notFoundf("no group has read anything yet")
	}
	return nil
}

func printGroup(ctx context.Context, a *app, from groupSource, g protocol.Group, output string) error {
	v, err := from.view(ctx, g)
	if err != nil {
		return err
	}
	row := newGroupRow(from, v)
	if output == "json" {
		return json.NewEncoder(a.out).Encode(row)
	}
	if row.State == groupUnknown {
		a.say("group %s has committed offsets on %s, which does not know whether anybody reads; 'metaq offsets show %s' tells where it goes on", g, a.broker, g)
	} else {
		a.say("group %s is %s", g, row.State)
	}
	if len(row.Members) == 0 {
		if row.State == groupIdle {
			a.say("no member is there; 'metaq offsets show %s' tells where it goes on", g)
		}
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MEMBER\tSINCE\tTOPICS\tPARTITIONS")
	for _, m := range row.Members {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.ID, printTime(m.Since), joinTopics(m.Topics), dash(strings.Join(m.Partitions, " ")))
	}
	return w.Flush()
}

func joinTopics(topics []protocol.Topic) string {
	return dash(strings.ReplaceAll(string(zkcoord.JoinTopics(topics)), ",", " "))
}

// dash stands for nothing in a table.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
