//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/metaq/metaq/store"
)

const checkLong = `check reads a broker's whole data directory while no broker runs on it: every frame and every message of the log, the
index files, both checkpoints, the identity. It says what is damaged, where, and which messages of which partition are
lost by it. It changes nothing unless --repair is given.

A note is what a crash leaves and the next start deals with, such as a torn end of the log. Damage is anything else: a
disk that lost or changed bytes, a file that somebody removed or cut.

--repair never takes away what can still be read, and copies each file into the folder aside before it changes it:
  an index file     is made again from its segment
  a checkpoint      comes from the one before, or the log is read from its beginning
  the identity      is made new: the directory becomes a new replica with the same messages
  a bad place behind the checkpoint, with which no broker starts, becomes a frame that says that something is lost; the
                    partitions go on behind it, so that no offset is ever given to two messages
  a missing segment is struck from the checkpoint
A bad place before the checkpoint stays as it is: a get of what was there is answered with an error, everything else is
served. Look at what --repair --dry-run says first, and prefer a replica or a backup if there is one.

Exit codes: 0 sound or repaired, 1 damaged, 2 wrong usage.`

func newCheckCommand(a *app) *cobra.Command {
	var (
		output         string
		repair, dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Verify and repair a broker's data directory",
		Long:  checkLong,
		Example: `  metaq check /var/lib/metaq
  metaq check /var/lib/metaq --repair --dry-run     # what would be done, and what is lost
  metaq check /var/lib/metaq --repair
  metaq check data -o json | jq '.findings[] | select(.severity == "damage")'`,
		Args: wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			if dryRun && !repair {
				return usagef("--dry-run goes with --repair; without it nothing is changed anyway")
			}
			ctx, cancel := a.withTimeout(cmd.Context(), 0)
			defer cancel()
			options := store.CheckOptions{Dir: args[0], Repair: repair, DryRun: dryRun, Progress: a.segmentProgress()}
			report, err := checkUntil(ctx, options)
			if err != nil {
				return err
			}
			if err := printReport(a.out, output, report); err != nil {
				return err
			}
			return verdict(report, repair && !dryRun)
		},
	}
	addOutputFlag(cmd, &output, "text", "json")
	cmd.Flags().BoolVar(&repair, "repair", false, "repair what can be repaired")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "with --repair: say what would be done, change nothing")
	cmd.ValidArgsFunction = completeDirectory
	return asksNobody(cmd)
}

func completeDirectory(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// checkUntil is store.Check, given up when ctx ends. A repair may be cut off anywhere: the next one goes on.
func checkUntil(ctx context.Context, o store.CheckOptions) (store.CheckReport, error) {
	type result struct {
		report store.CheckReport
		err    error
	}
	done := make(chan result, 1)
	go func() {
		report, err := store.Check(o)
		done <- result{report, err}
	}()
	select {
	case r := <-done:
		return r.report, r.err
	case <-ctx.Done():
		return store.CheckReport{}, fmt.Errorf("check %s: %w", o.Dir, ctx.Err())
	}
}

// segmentProgress draws how far a check is, for a person who waits.
func (a *app) segmentProgress() func(done, total int) {
	if a.quiet || !isTerminal(a.err) {
		return nil
	}
	return func(done, total int) {
		fmt.Fprintf(a.err, "\rchecked %d of %d segments", done, total)
		if done == total {
			fmt.Fprintln(a.err)
		}
	}
}

func printReport(w io.Writer, output string, r store.CheckReport) error {
	if output == "json" {
		return json.NewEncoder(w).Encode(struct {
			Sound bool `json:"sound"`
			store.CheckReport
		}{r.Sound(), r})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s in %s, %s\n", r.Dir, plural(int64(r.Segments), "segment"), plural(r.Messages, "message"),
		plural(r.Frames, "frame"), plural(int64(r.Queues), "partition"))
	for _, f := range r.Findings {
		printFinding(&b, r.Dir, f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printFinding(b *strings.Builder, dir string, f store.Finding) {
	file := f.File
	if short, err := filepath.Rel(dir, f.File); err == nil {
		file = short
	}
	fmt.Fprintf(b, "\n%s: %s, byte %d", f.Severity, file, f.Offset)
	if f.Bytes > 0 {
		fmt.Fprintf(b, ", %s", plural(f.Bytes, "byte"))
	}
	fmt.Fprintf(b, ": %s\n", f.Reason)
	possible := 0
	for _, l := range f.Lost {
		if l.Possible {
			possible++
			continue
		}
		fmt.Fprintf(b, "  lost: %s, offsets %d to %d, %s\n", lossName(l), l.From, l.To, lossCount(l))
	}
	if possible > 0 {
		fmt.Fprintf(b, "  lost, perhaps: the last messages of %s; -o json lists them\n", plural(int64(possible), "partition"))
	}
	switch {
	case f.Repaired:
		fmt.Fprintf(b, "  repaired: %s\n", f.Action)
	case f.Fixable:
		fmt.Fprintf(b, "  --repair: %s\n", f.Action)
	default:
		fmt.Fprintf(b, "  %s\n", f.Action)
	}
}

func lossName(l store.Loss) string {
	if l.Topic == "" {
		return fmt.Sprintf("a partition whose name is not known (number %d in the log)", l.Queue)
	}
	return fmt.Sprintf("topic %s partition %d", l.Topic, l.Partition)
}

func lossCount(l store.Loss) string {
	if l.Messages < 0 {
		return "an unknown number of messages"
	}
	return plural(l.Messages, "message")
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return humanize.Comma(n) + " " + noun + "s"
}

// verdict is the error of a directory that is damaged.
func verdict(r store.CheckReport, repaired bool) error {
	if r.Sound() {
		return nil
	}
	damaged, fixable := int64(0), int64(0)
	for _, f := range r.Findings {
		if f.Severity == store.SeverityDamage && !f.Repaired {
			damaged++
			if f.Fixable {
				fixable++
			}
		}
	}
	switch {
	case repaired:
		return fmt.Errorf("%s is damaged: %s left that cannot be repaired", r.Dir, plural(damaged, "place"))
	case fixable > 0:
		return fmt.Errorf("%s is damaged in %s; --repair does something about %d", r.Dir, plural(damaged, "place"), fixable)
	}
	return fmt.Errorf("%s is damaged in %s", r.Dir, plural(damaged, "place"))
}
