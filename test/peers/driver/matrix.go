package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A matrix runs workloads against targets, interleaved round by round.
type matrix struct {
	size
	scripts, root string
	targets       []*target
	echo          string // binary of the bare echo that stands beside W1, "" for none
	all           []figures
	out           *os.File
}

// A size is how much of each workload a mode runs.
type size struct {
	mode           string
	rounds         int
	warmUp         int           // the first round: 0 is a warm-up, 1 leaves that out
	dur            time.Duration // of a timed run
	maxBytes       int64         // a timed run ends when it has sent so much
	backlog, crash int64         // bytes of W3 and of W6
	cold           int64         // bytes of W7
	catchUp        int64         // bytes of the backlog beside W8
	growth         int64         // bytes of the large run of W10
	flat           time.Duration // of W9
	warmFor        time.Duration
	queues         []int
	queueLimit     time.Duration
	syncs          []string // of W4
	flatSyncs      []string // of W9
	flatRate       float64  // largest rate of W9, 0 for none: a test's broker need not be hurried
}

var sizes = []size{
	{mode: "smoke", rounds: 1, warmUp: 1, dur: 100 * time.Millisecond, maxBytes: 4 << 20, backlog: 4 << 20, crash: 4 << 20, cold: 4 << 20, catchUp: 4 << 20, growth: 10 << 20,
		flat: 2500 * time.Millisecond, warmFor: 50 * time.Millisecond, queues: []int{1, 100}, queueLimit: 10 * time.Second, syncs: []string{"os"}, flatSyncs: []string{"os"}, flatRate: 10000},
	{mode: "quick", rounds: 3, dur: time.Second, maxBytes: 256 << 20, backlog: 1 << 30, crash: 4 << 30, cold: 2 << 30, catchUp: 4 << 30, growth: 2 << 30,
		flat: time.Minute, warmFor: 3 * time.Second, queues: []int{1, 10000, 50000}, queueLimit: 60 * time.Second, syncs: []string{"os", "fsync"}, flatSyncs: []string{"os"}},
	{mode: "full", rounds: 5, dur: 2 * time.Second, maxBytes: 512 << 20, backlog: 2 << 30, crash: 4 << 30, cold: 4 << 30, catchUp: 4 << 30, growth: 8 << 30,
		flat: 5 * time.Minute, warmFor: 6 * time.Second, queues: []int{1, 100, 1000, 10000, 50000}, queueLimit: 180 * time.Second, syncs: []string{"os", "fsync"}, flatSyncs: []string{"os", "fsync"}},
}

// A workload is one or more cells.
type workload struct {
	name string
	run  func(*matrix) error
}

// workloads in the order in which they run.
var workloads = []workload{
	{"w1", (*matrix).w1}, {"w2", (*matrix).w2}, {"w3", (*matrix).w3}, {"w4", (*matrix).w4}, {"w5", (*matrix).w5},
	{"w6", (*matrix).w6}, {"w7", (*matrix).w7}, {"w8", (*matrix).w8}, {"w9", (*matrix).w9}, {"w10", (*matrix).w10},
}

func cmdMatrix(args []string) error {
	fl := flag.NewFlagSet("matrix", flag.ExitOnError)
	m := &matrix{}
	fl.StringVar(&m.scripts, "scripts", ".", "folder of start.sh and stop.sh")
	fl.StringVar(&m.root, "root", "", "folder with one installed peer a subfolder")
	peers := fl.String("peers", "metaq-java,kafka,rocketmq,nats", "peers; +nofl, +linger5 are variants")
	work := fl.String("workloads", "", "workloads, w1 to w10 (all)")
	mode := fl.String("mode", "quick", "smoke | quick | full")
	ours := fl.String("ours-cmd", "", "shell command that starts our broker in the foreground; it gets PORT, HTTP_PORT, DATA, SYNC, TOPICS and SETTINGS (see ours.sh)")
	fl.StringVar(&m.echo, "gnet", "", "binary of the bare gnet echo, run beside W1")
	rounds := fl.Int("rounds", 0, "runs of each cell (0: by mode)")
	dur := fl.Duration("duration", 0, "length of a timed run (0: by mode)")
	flat := fl.Duration("flat", 0, "length of W9 (0: by mode)")
	w5 := fl.String("w5", "", "numbers of queues of W5 (by mode)")
	jsonl := fl.String("out", "", "JSON lines file, one run a line")
	plan := fl.Bool("plan", false, "only print how long it will take")
	fl.Parse(args)
	if m.root == "" {
		return errors.New("--root is needed: a folder for the installed peers and the data")
	}
	m.root, _ = filepath.Abs(m.root)
	m.scripts, _ = filepath.Abs(m.scripts)
	i := slices.IndexFunc(sizes, func(s size) bool { return s.mode == *mode })
	if i < 0 {
		return fmt.Errorf("mode %q: there are smoke, quick and full", *mode)
	}
	m.size = sizes[i]
	if *rounds > 0 {
		m.rounds = *rounds
	}
	if *dur > 0 {
		m.dur = *dur
	}
	if *flat > 0 {
		m.flat = *flat
	}
	if *w5 != "" {
		m.queues = nil
		for s := range strings.SplitSeq(*w5, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				return fmt.Errorf("--queues: %w", err)
			}
			m.queues = append(m.queues, n)
		}
	}
	if err := m.addTargets(*peers, *ours); err != nil {
		return err
	}
	chosen := strings.Split(*work, ",")
	if *work == "" {
		chosen = nil
		for _, w := range workloads {
			chosen = append(chosen, w.name)
		}
	}
	for _, name := range chosen {
		if !slices.ContainsFunc(workloads, func(w workload) bool { return w.name == name }) {
			return fmt.Errorf("workload %q: there are w1 to w10", name)
		}
	}
	m.printPlan(chosen)
	if *plan {
		return nil
	}
	if *jsonl != "" {
		f, err := os.Create(*jsonl)
		if err != nil {
			return err
		}
		defer f.Close()
		m.out = f
		m.write(map[string]any{"about": about(m)})
	}
	return m.run(chosen)
}

// run does the chosen workloads. One that fails does not keep the others from running.
func (m *matrix) run(chosen []string) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	defer close(interrupted)
	defer signal.Stop(interrupted)
	go m.killAllOn(interrupted)
	var failed error
	for i, w := range workloads {
		if !slices.Contains(chosen, w.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "== %s begins at %s\n", w.name, time.Now().Format(time.TimeOnly))
		began := time.Now()
		if err := w.run(m); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", w.name, err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", w.name, err))
		}
		m.stopAll()
		for _, t := range m.targets {
			os.RemoveAll(t.data)
		}
		left := m.seconds(chosen, i+1)
		fmt.Fprintf(os.Stderr, "== %s took %.0f s; about %.0f min left\n", w.name, time.Since(began).Seconds(), left/60)
	}
	return failed
}

// killAllOn leaves no broker behind when somebody interrupts a run. Whatever uses the targets ends with the process.
func (m *matrix) killAllOn(interrupted <-chan os.Signal) {
	if _, ok := <-interrupted; !ok {
		return
	}
	for _, t := range m.targets {
		if t.base != "" {
			t.stop(false)
		} else if pid := t.pid; pid != 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	fmt.Fprintln(os.Stderr, "driver: interrupted, the brokers are stopped")
	os.Exit(130)
}

func (m *matrix) stopAll() {
	for _, t := range m.targets {
		t.stop(false)
	}
}

func (m *matrix) write(line any) {
	if m.out == nil {
		return
	}
	b, err := json.Marshal(line)
	if err == nil {
		_, err = m.out.Write(append(b, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "driver: result not written:", err)
	}
}

func (m *matrix) add(g figures) {
	m.all = append(m.all, g)
	m.write(g)
	fmt.Fprintf(os.Stderr, "%-24s %-16s #%d %10.0f msg/s %8.1f MB/s p50 %8.0f p99 %8.0f max %9.0f us rss %5.0f MB cpu %6.2f s/M start %.2f s other %.2f %s\n",
		g.Cell, g.Target, g.Run, g.MsgsSec, g.MBSec, g.P50, g.P99, g.Max, g.RSSMB, g.CPUPerM, g.StartSec, g.Other, g.Err)
}

// failed records that a target could not be measured in a cell.
func (m *matrix) failed(t *target, cell string, err error) {
	m.add(figures{Target: t.name, Cell: cell, Run: 1, Err: err.Error()})
}

// owner is the target whose process t shares: variants that differ in the load alone have one broker.
func (m *matrix) owner(t *target) *target {
	for _, o := range m.targets {
		if o.dir == t.dir && o.addr == t.addr {
			return o
		}
	}
	return t
}

// group starts the targets, prepares the partitions and returns those that are up.
func (m *matrix) group(sync string, parts ...int) []*target {
	var up []*target
	for _, t := range m.targets {
		if o := m.owner(t); o != t {
			if o.pid != 0 {
				t.p, t.pid = o.p, o.pid
				up = append(up, t)
			}
			continue
		}
		if _, err := t.start(sync, true, 0); err != nil {
			m.failed(t, "start "+sync, err)
			t.stop(false)
			continue
		}
		ok := true
		for _, n := range parts {
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			if err := t.p.Prepare(ctx, n); err != nil {
				m.failed(t, fmt.Sprintf("make %d partitions", n), err)
				ok = false
			}
			cancel()
		}
		if ok {
			up = append(up, t)
			m.warm(t, parts[0])
		}
	}
	return up
}

// warm gives a new broker load until its JIT has settled a little.
func (m *matrix) warm(t *target, parts int) {
	t.p.Produce(context.Background(), produceCfg{Parts: parts, Conns: 16, Window: 64, Size: 1024, Duration: m.warmFor, Count: 256 << 10, Linger: t.linger()})
}

// interleave runs the targets round by round; every target is warmed up once.
func (m *matrix) interleave(up []*target, cell string, c produceCfg, warm time.Duration) {
	for r := m.warmUp; r <= m.rounds; r++ {
		for _, t := range up {
			c := c
			c.Duration, c.Linger = m.dur, t.linger()
			c.Count = m.maxBytes / int64(max(c.Size, 64))
			if r == 0 {
				c.Duration = warm
				t.p.Produce(context.Background(), c)
				continue
			}
			syscall.Sync()
			m.add(measured(t.name, cell, r, t.pid, t.data, func() (*loadStats, error) { return t.p.Produce(context.Background(), c) }))
		}
	}
}

// only is the matrix with the targets that fit a workload.
func (m *matrix) only(fit func(*target) bool) *matrix {
	c := *m
	c.targets = nil
	for _, t := range m.targets {
		if t.kind != "echo" && t.opts["linger"] == "" && fit(t) {
			c.targets = append(c.targets, t)
		}
	}
	return &c
}

func noVariant(t *target) bool { return t.sync == "" }
