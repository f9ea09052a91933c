package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
)

func newSpillCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spill",
		Short: "Print or send what a producer has put on its disk",
		Long: `spill reads the files in the directory of a producer with ordered topics (client.WithOrdered): TOPIC.B-P.NUMBER.spill is what waits for
broker B, TOPIC.B-P.refused what that broker has refused for good, with 400. The producer sends what waits by itself; these commands are for
what was refused, and for a file that is damaged. They change no file.

What a consumer keeps of messages whose handler failed (client.WithRecovery) lies in files of the same names; these commands say so and leave them alone: the consumer
tries those messages again, and what it gives up is in rejected.jsonl beside them.`,
		Example: `  metaq spill show /var/lib/shop/spill/orders.1-0.refused
  metaq spill send /var/lib/shop/spill/orders.1-0.refused --zk 127.0.0.1:2181`,
		Args: cobra.ArbitraryArgs,
		RunE: needSubcommand,
	}
	cmd.AddCommand(newSpillShowCommand(a), newSpillSendCommand(a))
	return cmd
}

// spilledJSON is a line of `spill show -o json`.
type spilledJSON struct {
	Topic     string  `json:"topic"`
	Broker    int     `json:"broker"`
	Partition int32   `json:"partition"`
	Attribute string  `json:"attribute,omitempty"`
	Data      *string `json:"data,omitempty"`
	Base64    *string `json:"data_base64,omitempty"`
}

func newSpillShowCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Print the messages in a spill file",
		Long: `show prints the messages of a spill file, the oldest first. What is damaged is told and left out, and the exit code is 1 then. raw is the
message and a newline, hex its bytes, json an object a line.`,
		Example: `  metaq spill show orders.1-0.refused
  metaq spill show orders.1-0.00000007.spill -o json | jq -r .data`,
		Args: wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "raw", "json", "hex"); err != nil {
				return err
			}
			p := newPrinter(a.out, output)
			var first error
			printed := 0
			err := eachSpilled(args[0], func(m client.Message) error {
				printed++
				if output != "json" {
					return p.print(message{payload: m.Body})
				}
				at, _ := m.Partition.Partition()
				j := spilledJSON{Topic: m.Topic, Broker: at.Broker, Partition: at.Number, Attribute: m.Attribute}
				j.Data, j.Base64 = jsonData(m.Body)
				return p.json.Encode(j)
			}, func(err error) error {
				if first == nil {
					first = err
				}
				return nil // what is whole behind it is printed as well
			})
			err = cmp.Or(err, p.flush(), first)
			if err == nil && printed == 0 {
				return notFoundf("there is no message in %s", args[0])
			}
			return err
		},
	}
	addOutputFlag(cmd, &output, "raw", "json", "hex")
	return asksNobody(cmd)
}

func newSpillSendCommand(a *app) *cobra.Command {
	var (
		skip        int
		skipDamaged bool
	)
	cmd := &cobra.Command{
		Use:   "send FILE",
		Short: "Send the messages in a spill file to the partition they were for",
		Long: `send stores the messages of a spill file in the topic and the partition that its name tells, in their order, each after the one before is
acknowledged. It ends at the first that fails or is damaged, and tells how many are stored: --skip leaves them out the next time. What the
producer has sent meanwhile is before them.

When all are stored, remove the file: a producer that runs counts it towards its limit until it is opened again.`,
		Example: `  metaq spill send orders.1-0.refused --zk 127.0.0.1:2181
  metaq spill send orders.0-0.refused --skip 17
  metaq spill send orders.1-0.00000007.spill --skip-damaged --zk 127.0.0.1:2181`,
		Args: wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if skip < 0 {
				return usagef("--skip %d is negative", skip)
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			return a.sendSpill(ctx, args[0], skip, skipDamaged)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&skip, "skip", 0, "leave out the first `N` messages")
	flags.BoolVar(&skipDamaged, "skip-damaged", false, "leave out what is damaged")
	return worksOnCluster(cmd)
}

// eachSpilled hands over the messages of a spill file, and what is wrong with it, until one of the two returns an error.
func eachSpilled(name string, take func(client.Message) error, damaged func(error) error) error {
	for m, err := range client.ReadSpill(name) {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return notFoundf("%s", errorText(err))
		case errors.Is(err, client.ErrNotSpill):
			return err // nothing of it is a message of a producer
		case err != nil:
			err = damaged(err)
		default:
			err = take(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) sendSpill(ctx context.Context, name string, skip int, skipDamaged bool) error {
	var producer *client.Producer
	seen, stored := 0, 0
	err := eachSpilled(name, func(m client.Message) (err error) {
		if seen++; seen <= skip {
			return nil
		}
		if producer == nil {
			at, _ := m.Partition.Partition()
			if producer, err = a.openProducer(ctx, protocol.Topic(m.Topic), &at); err != nil {
				return err
			}
		}
		if _, err := producer.SendMessage(ctx, m); err != nil {
			return fmt.Errorf("message %d of %s: %w", seen, name, err)
		}
		stored++
		return nil
	}, func(err error) error {
		if !skipDamaged {
			return fmt.Errorf("%w (--skip-damaged goes on behind it)", err)
		}
		a.say("%s: left out", errorText(err))
		return nil
	})
	if producer != nil {
		err = errors.Join(err, producer.Close(ctx))
	}
	switch {
	case err == nil && seen <= skip:
		return notFoundf("there are %d messages in %s, and --skip leaves out %d", seen, name, skip)
	case err != nil && stored > 0:
		return fmt.Errorf("%w; %d are stored: go on with --skip %d", err, stored, skip+stored)
	case err == nil:
		a.say("%d %s stored", stored, english.PluralWord(stored, "message", ""))
	}
	return err
}
