package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

type matrix struct {
	scripts, root  string
	targets        []*target
	mode           string
	rounds         int
	dur            time.Duration
	maxBytes       int64
	backlog, crash int64 // bytes of W3 and W6
	oursAddr       string
	oursCmd        string
	oursData       string
	oursPID        int
	all            []figures
	out            *os.File
	w5             []int
	w5limit        time.Duration
	warmFor        time.Duration
}

func cmdMatrix(args []string) error {
	fl := flag.NewFlagSet("matrix", flag.ExitOnError)
	m := &matrix{}
	fl.StringVar(&m.scripts, "scripts", ".", "folder of start.sh and stop.sh")
	fl.StringVar(&m.root, "root", "", "folder with one installed peer a subfolder")
	peers := fl.String("peers", "metaq-java,kafka,rocketmq,nats", "peers; +nofl, +linger5 are variants")
	work := fl.String("workloads", "w1,w2,w3,w4,w5,w6", "workloads")
	fl.StringVar(&m.mode, "mode", "quick", "smoke | quick | full")
	fl.StringVar(&m.oursAddr, "ours-addr", "", "host:port of a running MetaQ-protocol broker (loopback)")
	fl.StringVar(&m.oursCmd, "ours-cmd", "", "shell command that starts it in the foreground; it gets PORT, HTTP_PORT, DATA, SYNC (os or fsync) and TOPICS (\"bench1:1 ...\")")
	fl.StringVar(&m.oursData, "ours-data", "", "its data folder, for bytes on disk (with --ours-addr)")
	fl.IntVar(&m.oursPID, "ours-pid", 0, "its process (default: the listener on the port)")
	rounds := fl.Int("rounds", 0, "runs of each cell (0: by mode)")
	dur := fl.Duration("duration", 0, "length of a timed run (0: by mode)")
	w5 := fl.String("w5", "", "partition counts of W5 (default by mode)")
	w5lim := fl.Duration("w5-limit", 0, "most time for making the queues of W5 (0: by mode)")
	jsonl := fl.String("out", "", "JSON lines file, one run a line")
	fl.Parse(args)
	if m.root == "" {
		return fmt.Errorf("--root is needed")
	}
	m.root, _ = filepath.Abs(m.root)
	m.scripts, _ = filepath.Abs(m.scripts)
	switch m.mode {
	case "smoke":
		m.rounds, m.dur, m.maxBytes, m.backlog, m.crash = 1, 100*time.Millisecond, 4<<20, 4<<20, 4<<20
		m.warmFor = 50 * time.Millisecond
		m.w5, m.w5limit = []int{100}, 10*time.Second
	case "quick":
		m.rounds, m.dur, m.maxBytes, m.backlog, m.crash = 3, 400*time.Millisecond, 64<<20, 256<<20, 256<<20
		m.warmFor = time.Second
		m.w5, m.w5limit = []int{1000}, 30*time.Second
	case "full":
		m.rounds, m.dur, m.maxBytes, m.backlog, m.crash = 5, 2*time.Second, 256<<20, 2<<30, 4<<30
		m.warmFor = 6 * time.Second
		m.w5, m.w5limit = []int{1, 100, 1000, 10000}, 180*time.Second
	default:
		return fmt.Errorf("mode %q", m.mode)
	}
	if *rounds > 0 {
		m.rounds = *rounds
	}
	if *dur > 0 {
		m.dur = *dur
	}
	if *w5lim > 0 {
		m.w5limit = *w5lim
	}
	if *w5 != "" {
		m.w5 = nil
		for _, s := range strings.Split(*w5, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				return err
			}
			m.w5 = append(m.w5, n)
		}
	}
	if *jsonl != "" {
		f, err := os.OpenFile(*jsonl, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		m.out = f
	}
	for _, name := range strings.Split(*peers, ",") {
		if name == "" {
			continue
		}
		base, variant, _ := strings.Cut(name, "+")
		if defaultPorts[base] == 0 {
			return fmt.Errorf("unknown peer %q", name)
		}
		t := &target{name: name, kind: base, base: base, dir: filepath.Join(m.root, base), m: m, opts: map[string]string{}}
		port := defaultPorts[base]
		if variant == "nofl" {
			t.sync = "nofl"
		}
		if variant != "" && variant != "linger5" { // another instance
			t.dir = filepath.Join(m.root, name)
			os.MkdirAll(t.dir, 0o755)
			for _, e := range []string{"lib", "bin", "VERSION"} {
				if _, err := os.Stat(filepath.Join(m.root, base, e)); err == nil {
					os.Symlink(filepath.Join("..", base, e), filepath.Join(t.dir, e))
				}
			}
			port += 50
		}
		if variant == "linger5" {
			t.opts["linger"] = "5ms"
		}
		t.addr = fmt.Sprintf("127.0.0.1:%d", port)
		t.data = filepath.Join(t.dir, "data")
		m.targets = append(m.targets, t)
	}
	if m.oursAddr != "" || m.oursCmd != "" {
		t := &target{name: "ours", kind: "ours", addr: m.oursAddr, data: m.oursData, m: m, opts: map[string]string{}}
		if m.oursCmd != "" {
			port, err := freePort()
			if err != nil {
				return err
			}
			if t.httpPort, err = freePort(); err != nil {
				return err
			}
			t.addr = "127.0.0.1:" + port
			t.dir = filepath.Join(m.root, "ours")
			t.data = filepath.Join(t.dir, "data")
		} else if err := loopback(m.oursAddr); err != nil {
			return err
		}
		m.targets = append(m.targets, t)
	}
	var failed error
	fs := map[string]func() error{"w1": m.w1, "w2": m.w2cell, "w3": m.w3, "w4": m.w4, "w5": m.w5cell, "w6": m.w6}
	for _, w := range strings.Split(*work, ",") {
		f := fs[w]
		if f == nil {
			return fmt.Errorf("unknown workload %q", w)
		}
		t := time.Now()
		if err := f(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", w, err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", w, err))
		}
		m.stopAll()
		fmt.Fprintf(os.Stderr, "== %s took %.0f s\n", w, time.Since(t).Seconds())
	}
	m.report()
	return failed
}

func (m *matrix) stopAll() {
	for _, t := range m.targets {
		t.stop(false)
	}
}

func (m *matrix) add(g figures) {
	m.all = append(m.all, g)
	if m.out != nil {
		b, _ := json.Marshal(g)
		m.out.Write(append(b, '\n'))
	}
	fmt.Fprintf(os.Stderr, "%-24s %-16s #%d %10.0f msg/s %8.1f MB/s p50 %8.0f p99 %8.0f max %9.0f us rss %5.0f MB cpu %6.2f s/M other %.2f %s\n",
		g.Cell, g.Target, g.Run, g.MsgsSec, g.MBSec, g.P50, g.P99, g.Max, g.RSSMB, g.CPUPerM, g.Other, g.Err)
}

// shares says whether two targets are one broker process (variants of the load only).
func (m *matrix) owner(t *target) *target {
	for _, o := range m.targets {
		if o.dir == t.dir && o.addr == t.addr {
			return o
		}
	}
	return t
}

// group starts the targets that fit and prepares the partitions.
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
			fmt.Fprintln(os.Stderr, err)
			t.stop(false)
			continue
		}
		ok := true
		for _, n := range parts {
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			if err := t.p.Prepare(ctx, n); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %d partitions: %v\n", t.name, n, err)
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

// only drops variants that differ in the producer's linger alone.
func (m *matrix) only() *matrix {
	c := *m
	c.targets = nil
	for _, t := range m.targets {
		if t.opts["linger"] == "" {
			c.targets = append(c.targets, t)
		}
	}
	return &c
}
