package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
)

// completionTimeout bounds what pressing Tab may take.
const completionTimeout = time.Second

// completion makes what offers names for the word under the cursor, as complete tells them for the words before it. An error only means that there is
// nothing to offer.
func (a *app) completion(complete func(ctx context.Context, before []string) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		// The checks before a command do not run when it is completed.
		if a.checkGlobals(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
		defer cancel()
		names, err := complete(ctx, args)
		if err != nil {
			names = nil
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTopic completes a first word that is a topic.
func (a *app) completeTopic() cobra.CompletionFunc {
	return a.completion(func(ctx context.Context, before []string) ([]string, error) {
		if len(before) > 0 {
			return nil, nil
		}
		return a.topicNames(ctx)
	})
}

// completeGroup completes a first word that is a group.
func (a *app) completeGroup() cobra.CompletionFunc {
	return a.completion(func(ctx context.Context, before []string) ([]string, error) {
		if len(before) > 0 {
			return nil, nil
		}
		return a.groupNames(ctx)
	})
}

// completeGroupTopic completes a group, and a topic behind it.
func (a *app) completeGroupTopic() cobra.CompletionFunc {
	return a.completion(func(ctx context.Context, before []string) ([]string, error) {
		switch len(before) {
		case 0:
			return a.groupNames(ctx)
		case 1:
			return a.topicNames(ctx)
		}
		return nil, nil
	})
}

func (a *app) completeStats() cobra.CompletionFunc {
	return a.completion(func(ctx context.Context, before []string) ([]string, error) {
		if len(before) > 0 {
			return nil, nil
		}
		names, err := a.topicNames(ctx)
		if err != nil {
			names = nil // the items are there all the same
		}
		for _, item := range statsItems {
			names = append(names, item.name)
		}
		return names, nil
	})
}

// groupNames asks for the groups.
func (a *app) groupNames(ctx context.Context) ([]string, error) {
	from, err := a.openGroups(ctx)
	if err != nil {
		return nil, err
	}
	defer from.close()
	groups, err := from.groups(ctx)
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = string(g)
	}
	return names, err
}

// topicNames asks the broker for its topics, or all brokers of a cluster.
func (a *app) topicNames(ctx context.Context) (names []string, err error) {
	add := func(conn *client.Conn) error {
		topics, err := conn.Topics(ctx)
		for _, t := range topics {
			names = append(names, string(t.Name))
		}
		return err
	}
	if a.cluster == nil {
		conn, err := a.dial(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		err = add(conn)
		return names, err
	}
	c, err := a.openCluster(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for _, m := range c.masters {
		conn, err := c.dial(ctx, m.ID)
		if err != nil {
			continue // the others know topics too
		}
		if err := add(conn); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
