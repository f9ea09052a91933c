//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/metaq/metaq/tools/ship"
)

// printShipStatus prints a line for each file, and below what is worth to be looked at.
func printShipStatus(a *app, s ship.Status, output string) error {
	if output == "json" {
		return json.NewEncoder(a.out).Encode(s)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INPUT\tFILE\tSTATE\tPOSITION\tSIZE\tLAG\tLINES\tPROBLEM")
	for _, in := range s.Inputs {
		for _, f := range in.Files {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", in.Name, f.Path, f.State, f.Position, f.Size, f.Lag, f.Messages, f.Problem)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if s.PID == 0 {
		a.say("no agent runs; the checkpoint is of %s", s.Saved.Local().Format(time.DateTime))
		return nil
	}
	a.say("process %d ships to %s since %s, %s on their way", s.PID, s.Broker, s.Since.Local().Format(time.DateTime), humanize.IBytes(uint64(s.Held)))
	if s.Problem != "" {
		a.say("%s", s.Problem)
	}
	for _, in := range s.Inputs {
		var words []string
		add := func(n int64, what string) {
			if n > 0 {
				words = append(words, fmt.Sprintf("%d %s", n, what))
			}
		}
		add(in.Messages, "lines acknowledged")
		add(in.Failed, "blocks sent again")
		add(in.Refused, "lines refused and set aside")
		add(in.Cut, "lines cut")
		add(in.Truncated, "files truncated")
		add(in.Copies, "copies continued")
		add(in.LostFiles, "files lost before they were read")
		add(in.LostBytes, "bytes lost with them")
		if len(words) > 0 {
			a.say("%s: %s", in.Name, strings.Join(words, ", "))
		}
	}
	return nil
}
