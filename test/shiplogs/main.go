// The command shiplogs compares a file of lines with what a consumer group read back from a topic: a file for each
// partition, as `metaq get --partition N` prints it. scripts/ship-real-logs.sh runs it.
//
// It exits with 1 when a line is lost, altered or out of order. Lines that were stored twice at a place where the broker
// was killed are counted; there may be no more such places in a partition than kills.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// window bounds how much one kill can double: what a producer sends without having an answer.
const window = 1 << 16

func main() {
	lines := flag.String("lines", "", "the `FILE` that was shipped")
	kills := flag.Int("kills", 0, "how often the broker was killed on the way")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: shiplogs -lines FILE [-kills N] FILE-OF-PARTITION-0 FILE-OF-PARTITION-1 ...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *lines == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*lines, flag.Args(), *kills); err != nil {
		fmt.Fprintln(os.Stderr, "shiplogs:", err)
		os.Exit(1)
	}
}

func run(original string, partitions []string, kills int) error {
	text, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	var got [][][]byte
	for _, name := range partitions {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		got = append(got, split(text))
	}
	// The producer begins with any partition. With which one, the contents tell: at most one beginning makes all of them right.
	lines := split(text)
	var wrong error
	for first := range got {
		err := compareAll(deal(lines, len(got), first), got, kills)
		if err == nil {
			return nil
		}
		if wrong == nil || begins(got[first], lines[:min(1, len(lines))]) {
			wrong = err // this is more likely to be where it began
		}
	}
	return wrong
}

// compareAll compares partition by partition, and prints the figures if nothing is wrong.
func compareAll(sent, got [][][]byte, kills int) error {
	var (
		all   result
		wrong []error
		says  strings.Builder
	)
	for p := range got {
		r, err := compare(sent[p], got[p], window)
		if err == nil && r.rewinds > kills {
			err = fmt.Errorf("lines came twice at %d places, with %d kills", r.rewinds, kills)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("partition %d: %w", p, err))
			continue
		}
		fmt.Fprintf(&says, "partition %d: %d lines identical and in order, %d stored twice at a kill\n", p, r.lines, r.duplicates)
		all.lines += r.lines
		all.bytes += r.bytes
		all.duplicates += r.duplicates
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	fmt.Printf("%sall: %d lines, %d bytes, lost 0, altered 0, out of order 0, stored twice %d\n", says.String(), all.lines, all.bytes, all.duplicates)
	return nil
}
