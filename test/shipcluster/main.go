// The command shipcluster ships lines of a file into a cluster of two brokers while a group of consumers reads them, kills one of the brokers on the way, goes on
// until that is back, and judges what the group was given. scripts/ship-real-logs-cluster.sh runs it.
//
// Every line goes into a topic that any partition takes (PlainTopic); some go into one whose order is kept as well (OrderedTopic). It prints figures, and exits
// with 1 when a line is lost, altered, left out or out of order, or when the kill did not hit lines that were under way.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// The topics of the cluster.
const (
	PlainTopic   = "logs"
	OrderedTopic = "ordered-logs"
)

// patience bounds every wait. While something moves, nobody is waiting.
const patience = 60 * time.Second

// options are what the command line says.
type options struct {
	cluster string // its address
	lines   string // the file
	bytes   int64  // how much of it is shipped at least; it is repeated
	broker  int    // the one that is killed
	pid     int    // its process
	members int    // of the group
	spill   string // directory of the producer that keeps the order
}

func main() {
	var o options
	megabytes := flag.Int64("megabytes", 200, "how much is shipped at least; the file is repeated")
	flag.StringVar(&o.cluster, "cluster", "", "`zk://HOST:PORT` of the cluster")
	flag.StringVar(&o.lines, "lines", "", "the `FILE` that is shipped")
	flag.IntVar(&o.broker, "broker", 1, "the `ID` of the broker that is killed; somebody else has to start it again")
	flag.IntVar(&o.pid, "pid", 0, "the process of that broker")
	flag.IntVar(&o.members, "members", 2, "how many consumers the group has")
	flag.Parse()
	if o.cluster == "" || o.lines == "" || o.pid <= 0 || *megabytes < 1 || o.members < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: shipcluster -cluster zk://HOST:PORT -lines FILE -pid PID [-broker ID] [-megabytes N] [-members N]")
		os.Exit(2)
	}
	o.bytes = *megabytes * 1000 * 1000
	dir, err := os.MkdirTemp("", "shipcluster")
	if err == nil {
		o.spill = filepath.Join(dir, "spill")
		err = errors.Join(run(o, os.Stdout), os.RemoveAll(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "shipcluster:", err)
		os.Exit(1)
	}
}

func run(o options, out io.Writer) error {
	lines, err := readLines(o.lines, o.bytes)
	if err != nil {
		return err
	}
	total, size := 0, int64(0)
	for ; size < o.bytes; total++ {
		size += int64(len(lines[total%len(lines)])) + 1
	}
	plain, ordered := newTopic(PlainTopic, lines, nil), newTopic(OrderedTopic, lines, orderedPartitions)
	g, err := join(o, plain, ordered)
	if err != nil {
		return err
	}
	defer g.leave()
	s, err := ship(o, total, plain, ordered)
	if err != nil {
		return err
	}
	defer s.close()

	if err := s.killInTheMiddle(o, total, g); err != nil {
		return err
	}
	fmt.Fprintf(out, "kill -9 of broker %d with %d lines acknowledged, %d under way and %d read by the group\n", o.broker, s.atKill.acknowledged, s.atKill.underWay, s.atKill.read)
	if err := s.untilBack(o); err != nil {
		return err
	}
	waited := ordered.count(func(t *topic) int { return t.spilled })
	if waited == 0 {
		return fmt.Errorf("the kill has hit nothing: no line had to wait for broker %d", o.broker)
	}
	fmt.Fprintf(out, "broker %d stored lines again %.1f s after that; meanwhile the group read %d lines, and %d waited on the producer's disk\n",
		o.broker, s.back.Sub(s.killed).Seconds(), g.read()-s.atKill.read, waited)
	if err := s.finish(total); err != nil {
		return err
	}
	shipped := time.Now()
	fmt.Fprintf(out, "shipped in %.1f s, the kill included; a line of %s took %.1f s at most to be acknowledged\n", shipped.Sub(s.began).Seconds(), plain.name, s.slowest().Seconds())
	unread := awaitRead(plain, ordered)
	fmt.Fprintf(out, "read by %d consumers %.1f s later: %s\n", o.members, time.Since(shipped).Seconds(), g)
	if err := errors.Join(s.close(), g.leave()); err != nil {
		return err
	}
	return errors.Join(plain.verdict(out), ordered.verdict(out), unread)
}

// readLines reads lines up to so many bytes.
func readLines(name string, most int64) (lines [][]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	scanner := bufio.NewScanner(io.LimitReader(f, most))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		lines = append(lines, append([]byte(nil), scanner.Bytes()...))
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s has no lines", name)
	}
	return lines, nil
}

// awaitRead waits until everything acknowledged is read. The verdict tells what is not.
func awaitRead(topics ...*topic) error {
	sum := func(of func(*topic) int) (n int) {
		for _, t := range topics {
			n += t.count(of)
		}
		return n
	}
	return until("all lines are read", func() bool { return sum(func(t *topic) int { return t.owed }) == 0 }, func() int { return sum(func(t *topic) int { return t.read }) })
}

// until waits for something, for as long as it likes if a number grows meanwhile, which may be nil.
func until(what string, ok func() bool, grows func() int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	moved, before := time.Now(), 0
	for !ok() {
		<-tick.C
		if grows != nil {
			if now := grows(); now > before {
				moved, before = time.Now(), now
			}
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("not within %s: %s", patience, what)
		}
	}
	return nil
}
