package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
)

// browseTotal is what browse --total says.
type browseTotal struct {
	Topic    string `json:"topic"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"`
}

func newBrowseCommand(a *app) *cobra.Command {
	var fromText, output string
	var count int64
	var totalOnly bool
	cmd := &cobra.Command{
		Use:   "browse TOPIC",
		Short: "Print all messages of a topic, of one broker or of a cluster",
		Long: `browse prints the messages that a topic has now: of all partitions, of all brokers with --zk, partition after partition, each message on a
line. It stops where the topic ended when it began. It belongs to no group, so nothing moves for anybody else; to read for a group,
to wait for messages, or to read one partition, use get.

--total prints how many messages and bytes there are instead, without reading them. --from and the formats are those of get; with -o json
messages of a cluster have their broker too. A person who sends the messages to a file sees on the terminal how far it is.

The exit code is 3 when there was nothing to print.`,
		Example: `  metaq browse orders --zk 127.0.0.1:2181
  metaq browse orders --zk 127.0.0.1:2181 --total
  metaq browse orders --from 15m -o json | jq .attribute
  metaq browse orders -n 10`,
		Args:              wantArgs(1, 1),
		ValidArgsFunction: a.completeTopic(),
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, err := parseTopicArg(args[0])
			if err != nil {
				return err
			}
			from, err := parsePlace(fromText, time.Now())
			switch {
			case err != nil:
				return usagef("--from: %w", err)
			case from.kind == atLatest:
				return usagef("--from latest: browse ends where the topic ends now; 'metaq get -f --from latest' prints what comes")
			case count < 0:
				return usagef("-n %d is negative", count)
			}
			if err := checkOutput(output, "raw", "json", "hex"); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			addr := a.broker
			if a.cluster != nil {
				// Says in time what is wrong with the cluster, if something is.
				c, err := a.openCluster(ctx)
				if err != nil {
					return err
				}
				defer c.close()
				if err := c.needMasters(); err != nil {
					return err
				}
				addr = a.cluster.String()
			} else {
				conn, err := a.dial(ctx)
				if err != nil {
					return err
				}
				conn.Close()
			}
			b, err := client.OpenBrowser(ctx, addr, string(topic), client.BrowseFrom(from.start()))
			if err != nil {
				return err
			}
			defer b.Close()
			total := b.Progress()
			if total.TotalMessages == 0 {
				return notFoundf("nothing to read in topic %s", topic)
			}
			if totalOnly {
				return a.printTotal(browseTotal{string(topic), total.TotalMessages, total.TotalBytes}, output)
			}
			step, done := func() {}, func() {}
			if !isTerminal(a.out) {
				step, done = a.steps(int(total.TotalMessages), "messages")
			}
			printer := newPrinter(a.out, output)
			for m, err := range b.Messages(ctx) {
				if err == nil {
					err = printer.print(a.browsed(m))
				}
				if err != nil {
					_ = printer.flush() // what there is; the error before it is the one to tell
					return err
				}
				step()
				if count--; count == 0 {
					break
				}
			}
			done()
			return printer.flush()
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&fromText, "from", "earliest", "start at `PLACE`: earliest, an offset, a time, an age")
	flags.Int64VarP(&count, "count", "n", 0, "stop after `N` messages; 0 = no limit")
	flags.BoolVar(&totalOnly, "total", false, "print how many messages there are, and none of them")
	addOutputFlag(cmd, &output, "raw", "json", "hex")
	return worksOnCluster(cmd)
}

func (a *app) printTotal(c browseTotal, output string) error {
	if output == "json" {
		return json.NewEncoder(a.out).Encode(c)
	}
	_, err := fmt.Fprintf(a.out, "%d %s, %d bytes\n", c.Messages, english.PluralWord(int(c.Messages), "message", ""), c.Bytes)
	return err
}

func (a *app) browsed(m client.Received) message {
	shown := message{topic: m.Topic, partition: m.Partition, offset: m.Offset, next: m.Next, id: m.ID, attribute: m.Attribute, payload: m.Body}
	if a.cluster != nil {
		shown.broker = &m.Broker
	}
	return shown
}
