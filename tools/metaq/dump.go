//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

const dumpLong = `dump prints the frames of a broker's log in the order in which they were written, while no broker runs on it. It changes
nothing. A place without a sound frame is printed as "damaged", and the exit code is 1 then; 'metaq check' says whether
it is damage or the torn end of a crash.

--from and --to are positions in the log, in bytes: the names of the segment files and the first column are positions.
With -o json each frame is one line.`

type dumpOptions struct {
	output     string
	topic      string
	partitions []int32
	from, to   int64
	messages   bool
	data       bool
}

func newDumpCommand(a *app) *cobra.Command {
	var o dumpOptions
	cmd := &cobra.Command{
		Use:   "dump DIR",
		Short: "Print what is in a broker's data directory",
		Long:  dumpLong,
		Example: `  metaq dump /var/lib/metaq
  metaq dump /var/lib/metaq --topic greetings --data
  metaq dump /var/lib/metaq --topic greetings --partition 0,1 --messages
  metaq dump data --from 4096 --to 8192
  metaq dump data --messages -o json | jq -c 'select(.kind == "message") | .messages[].id'`,
		Args: wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			return dump(ctx, a.out, args[0], o)
		},
	}
	addOutputFlag(cmd, &o.output, "text", "json")
	flags := cmd.Flags()
	flags.StringVar(&o.topic, "topic", "", "frames of this `TOPIC` only")
	flags.Int32SliceVar(&o.partitions, "partition", nil, "and of these `PARTITIONS`, separated by commas")
	flags.Int64Var(&o.from, "from", 0, "begin at this `POSITION` of the log")
	flags.Int64Var(&o.to, "to", 0, "end at this `POSITION` of the log; 0 is its end")
	flags.BoolVar(&o.messages, "messages", false, "list the messages of each frame")
	flags.BoolVar(&o.data, "data", false, "list them with their data, quoted; base64 with -o json")
	cmd.ValidArgsFunction = completeDirectory
	return asksNobody(cmd)
}

func (o *dumpOptions) check() error {
	if err := checkOutput(o.output, "text", "json"); err != nil {
		return err
	}
	if o.topic != "" {
		if _, err := protocol.ParseTopic(o.topic); err != nil {
			return usageError{err}
		}
	}
	switch {
	case len(o.partitions) > 0 && o.topic == "":
		return usagef("--partition goes with --topic")
	case o.from < 0 || o.to < 0 || o.to != 0 && o.to <= o.from:
		return usagef("--from %d --to %d is not a part of the log", o.from, o.to)
	}
	o.messages = o.messages || o.data
	return nil
}

func dump(ctx context.Context, w io.Writer, dir string, o dumpOptions) error {
	out := bufio.NewWriterSize(w, 64<<10)
	lines := json.NewEncoder(out)
	damaged := int64(0)
	err := store.Dump(store.DumpOptions{Dir: dir, Topic: protocol.Topic(o.topic), Partitions: o.partitions, From: o.from, To: o.to, Data: o.data},
		func(f store.DumpedFrame) error {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("dump %s: %w", dir, err)
			}
			if f.Damage != "" {
				damaged++
			}
			if o.output == "json" {
				if !o.messages {
					f.Messages = nil
				}
				return lines.Encode(f)
			}
			return printFrame(out, f, o)
		})
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%s has no sound frame in %s; see 'metaq check'", dir, plural(damaged, "place"))
	}
	return err
}

// printFrame prints a line for a frame, and one for each message or run in it.
func printFrame(w *bufio.Writer, f store.DumpedFrame, o dumpOptions) error {
	if f.Damage != "" {
		fmt.Fprintf(w, "%d damaged, %s: %s\n", f.Position, plural(f.Size, "byte"), f.Damage)
		return nil
	}
	fmt.Fprintf(w, "%d %s %s", f.Position, f.Time.Format("2006-01-02T15:04:05.000Z07:00"), f.Kind)
	if f.Topic != "" {
		fmt.Fprintf(w, " %s-%d", f.Topic, f.Partition)
	} else if f.Queue != 0 {
		fmt.Fprintf(w, " queue %d", f.Queue)
	}
	switch f.Kind {
	case "message":
		fmt.Fprintf(w, " offset %d, %s", f.Logical, plural(int64(len(f.Messages)), "message"))
	case "hidden":
		fmt.Fprintf(w, " group %d, %s", f.Logical, plural(int64(len(f.Messages)), "message"))
	case "queue":
		if f.Closed {
			fmt.Fprint(w, " closed")
		}
	case "offset":
		fmt.Fprintf(w, " group %s at offset %d", f.Group, f.Logical)
	case "publish", "discard":
		fmt.Fprintf(w, " group %d", f.Logical)
	case "drop":
		fmt.Fprintf(w, " segment %020d", f.Logical)
	case "trim", "gap":
		fmt.Fprintf(w, " offset %d", f.Logical)
	}
	fmt.Fprintf(w, ", %s, flushed %d\n", plural(f.Size, "byte"), f.Flushed)
	for _, r := range f.Runs {
		fmt.Fprintf(w, "  %s-%d offset %d", r.Topic, r.Partition, r.Logical)
		if r.Bytes > 0 {
			fmt.Fprintf(w, ", %s at %d", plural(int64(r.Messages), "message"), r.Position)
		}
		fmt.Fprintln(w)
	}
	if !o.messages {
		return nil
	}
	for _, m := range f.Messages {
		fmt.Fprintf(w, "  offset %d id %d (%s) flag %d, %s", m.Offset, m.ID, store.IDTime(m.ID).UTC().Format(time.RFC3339), m.Flag, plural(int64(m.Length), "byte"))
		if m.Damaged {
			fmt.Fprint(w, ", damaged")
		}
		if o.data {
			fmt.Fprintf(w, " %q", m.Data)
		}
		fmt.Fprintln(w)
	}
	return nil
}
