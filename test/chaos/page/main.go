// Command page writes the table of docs/reliability.md from the figures that the tests of faults have reported (package test/chaos), and prints it. A row
// that nothing was reported of stays as it is on the page.
//
//	go run ./test/chaos/page FIGURES docs/reliability.md
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/metaq/metaq/test/chaos"
)

// rows are the tests, in the order of the page.
var rows = []struct {
	number int
	fault  string
	passes string
}{
	{1, "kill -9 under load, restart", "nothing acknowledged lost or altered"},
	{2, "power cut: a copy of the ext4 image of the running broker, recovered", "0 lost with group commit; without it no more than the window"},
	{3, "power cut in memory at random moments of random programs; also kills, torn writes, failed syncs, full disks and reloads, one after the other", "0 lost, altered or invented"},
	{4, "the process ends at each place that the code names", "0 lost, it starts again"},
	{5, "each call to the file system fails in turn", "no answer 200 for a failed write, the log poisoned"},
	{6, "EIO and ENOSPC injected into the calls of the real process", "no acknowledgement after it, no fsync again, health red"},
	{7, "disk full, then room again", "503 with the cause, gets go on, it comes back alone"},
	{8, "bits flipped, pages zeroed, files cut, swapped and removed", "detected, bounded, no wrong byte served"},
	{9, "the last segment cut at each byte of the last messages", "recovered to the end of a message"},
	{10, "start on a long log; with very many topics to register in ZooKeeper", "in a time that does not grow with the log; many nodes with one request"},
	{14, "the broker cut off from ZooKeeper, in one direction or both, for shorter and longer than the session", "puts go on, it is registered again by itself"},
	{15, "ZooKeeper killed and back", "brokers register again, no offset of a consumer moves"},
	{16, "a consumer cut off from ZooKeeper until its session is over", "others have its partitions in time, none is owned by two"},
	{19, "the clock jumps by an hour", "ids unique, nothing removed early"},
	{20, "consumers that read a byte a second", "memory bounded, others served"},
	{21, "connections up to the limit of file descriptors and beyond", "refused with an answer, the others served"},
	{22, "half commands, bodies that never come", "cut by timers, memory bounded"},
	{23, "pipelines whose answers nobody reads", "parsing stops, memory bounded"},
	{24, "mutated sessions, cut at every byte", "no panic, the same answers, no cross-talk"},
	{25, "64 MiB of memory (cgroup)", "not killed at the stated load"},
	{27, "an fsync takes 20 ms, 200 ms, 10 s", "larger groups; then busy, in time, with bounded memory"},
	{29, "SIGTERM and SIGHUP under load", "no acknowledged message lost, no request cut off"},
	{30, "consumers of a group join, leave, and are cut off from ZooKeeper or the broker", "each message at least once, all partitions owned again in time, none by two"},
	{31, "ZooKeeper, which keeps the offsets, stands still", "consumers go on where they were, 0 lost"},
	{32, "`metaq ship` killed every second and its broker every 20 s, while files are written and rotated every second", "every line stored, the order of each file kept, repetitions only at kills"},
	{34, "retention while being read, a topic removed", "the new offset or the right bytes"},
	{35, "files cut under the running broker", "an error, the process stays"},
	{36, "hours of events in minutes at full load", "no growth"},
	{38, "planted mistakes", "all found"},
	{42, "spouts in a real Storm: bolts fail and forget tuples, workers, their spouts and a broker are killed", "every message acknowledged by the topology, the offsets at the end"},
}

const (
	begin = "<!-- figures: written by test/chaos/page -->"
	end   = "<!-- end of figures -->"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: page FIGURES PAGE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func run(figures, page string, out io.Writer) error {
	text, err := os.ReadFile(figures)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	table, err := render(text, string(old))
	if err != nil {
		return fmt.Errorf("%s: %w", figures, err)
	}
	if _, err := io.WriteString(out, table); err != nil {
		return err
	}
	updated, err := between(string(old), table)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(updated), 0o644)
}

// render makes the table, with the rows of the old page where there are no figures. Of a figure that was reported several times the last one counts.
func render(figures []byte, old string) (string, error) {
	byTest := map[int][]chaos.Reading{}
	lines := bufio.NewScanner(bytes.NewReader(figures))
	for lines.Scan() {
		var r chaos.Reading
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return "", fmt.Errorf("%q is no figure: %w", lines.Text(), err)
		}
		list := byTest[r.Test]
		if i := slices.IndexFunc(list, func(x chaos.Reading) bool { return x.Name == r.Name }); i >= 0 {
			list[i] = r
			continue
		}
		byTest[r.Test] = append(list, r)
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("| test | fault while loaded | passes when | form | figures |\n|---:|---|---|---|---|\n")
	for _, row := range rows {
		list := byTest[row.number]
		delete(byTest, row.number)
		form, texts := "not run", []string{}
		for _, r := range list {
			form = r.Form
			texts = append(texts, strings.ReplaceAll(r.Name+": "+r.Value, "|", "/"))
		}
		if len(list) == 0 {
			form, texts = before(old, row.number)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", row.number, row.fault, row.passes, form, strings.Join(texts, "; "))
	}
	if len(byTest) > 0 {
		return "", fmt.Errorf("figures of tests that the page does not know: %v", byTest)
	}
	return b.String(), nil
}

// before is what a page says of a test: the form and the figures.
func before(page string, number int) (form string, figures []string) {
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) == 5 && strings.TrimSpace(cells[0]) == strconv.Itoa(number) {
			return strings.TrimSpace(cells[3]), []string{strings.TrimSpace(cells[4])}
		}
	}
	return "not run", nil
}

// between puts the table between the two marks.
func between(page, table string) (string, error) {
	head, rest, found := strings.Cut(page, begin+"\n")
	_, after, closed := strings.Cut(rest, end+"\n")
	if !found || !closed {
		return "", errors.New("it has no place for the figures, between " + begin + " and " + end)
	}
	return head + begin + "\n" + table + end + "\n" + after, nil
}
