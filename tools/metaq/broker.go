package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
)

// dial connects to the broker that --broker names.
func (a *app) dial(ctx context.Context) (*client.Conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := client.Dial(dialCtx, a.broker)
	if err != nil {
		return nil, a.unreachable(err)
	}
	return conn, nil
}

// unreachable adds the next step to an error of connecting.
func (a *app) unreachable(err error) error {
	return fmt.Errorf("no broker answers on %s: %w (start one with 'metaq serve', or name another with --broker)", a.broker, err)
}

// nextStep adds what to do to refusals of a topic. Their texts are those of Metamorphosis, which brokers keep to the letter and which tell no more.
func nextStep(topic protocol.Topic, err error) error {
	var status *client.StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch {
	case strings.Contains(status.Text, "The server do not accept topic"):
		return notFoundf("%s: the broker's configuration needs a section [topic=%s], or autoCreateTopics=true; 'metaq topics' lists what it has", err, topic)
	case strings.Contains(status.Text, "wrong partition"):
		return notFoundf("%s: 'metaq route %s' lists the partitions", err, topic)
	case status.Status == protocol.StatusForbidden:
		return fmt.Errorf("%w: 'metaq partitions open %s ...' on the broker's machine opens it", err, topic)
	}
	return err
}

// partitions lists the partitions of a topic.
func (a *app) partitions(ctx context.Context, conn *client.Conn, topic protocol.Topic) ([]int32, error) {
	routes, err := conn.Route(ctx, topic)
	if err != nil {
		return nil, nextStep(topic, fmt.Errorf("partitions of %s: %w", topic, err))
	}
	if len(routes) == 0 {
		return nil, notFoundf("topic %s has no partitions on %s", topic, a.broker)
	}
	partitions := make([]int32, len(routes))
	for i, r := range routes {
		partitions[i] = r.Partition
	}
	return partitions, nil
}

func parseTopicArg(s string) (protocol.Topic, error) {
	topic, err := protocol.ParseTopic(s)
	if err != nil {
		return "", usageError{err}
	}
	return topic, nil
}

// parseOffset reads the text of a 301 answer, which is the offset to go on at.
func parseOffset(text []byte) (int64, error) {
	offset, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || offset < 0 {
		return 0, fmt.Errorf("the broker moved the reader to %q, which is not an offset", text)
	}
	return offset, nil
}

// askedAtOnce is how many questions of one command are under way at a time; a connection pipelines them.
const askedAtOnce = 64

// atOnce asks n questions side by side, and tells the first error.
func atOnce(ctx context.Context, n int, ask func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for i := range n {
		group.Go(func() error { return ask(ctx, i) })
	}
	return group.Wait()
}

func brokerStatus(err error) protocol.Status {
	var status *client.StatusError
	if errors.As(err, &status) {
		return status.Status
	}
	return 0
}

func isBrokerNotFound(err error) bool { return brokerStatus(err) == protocol.StatusNotFound }
func isBrokerTimeout(err error) bool  { return brokerStatus(err) == protocol.StatusTimeout }
