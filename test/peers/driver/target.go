package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// target is one broker under test.
type target struct {
	name string // as shown, e.g. kafka or metaq-java+nofl
	kind string // client kind
	base string // peer name for start.sh, "" for ours
	sync string // forced PEER_SYNC, "" follows the workload
	dir  string
	addr string
	data string
	pid  int
	p    peer
	m    *matrix
	opts map[string]string

	command  string        // shell command of a broker that start.sh does not know: ours, the bare echo
	exited   chan struct{} // closed when the command has ended
	httpPort string        // of ours: where its metrics are
	settings string        // of ours: more "key=value" lines
}

// oursTopics are the topics that the workloads use, with their partitions.
const oursTopics = "bench1:1 bench4:4 bench16:16 bench100:100 bench1000:1000 bench10000:10000 bench50000:50000"

var defaultPorts = map[string]int{"metaq-java": 22123, "kafka": 22092, "rocketmq": 22911, "nats": 22222}

// addTargets makes the targets: the peers, ours and, for W1, the bare echo.
func (m *matrix) addTargets(peers, ours string) error {
	for name := range strings.SplitSeq(peers, ",") {
		if name == "" {
			continue
		}
		base, variant, _ := strings.Cut(name, "+")
		port := defaultPorts[base]
		if port == 0 {
			return fmt.Errorf("unknown peer %q", name)
		}
		t := &target{name: name, kind: base, base: base, dir: filepath.Join(m.root, base), m: m, opts: map[string]string{}}
		switch variant {
		case "":
		case "linger5":
			t.opts["linger"] = "5ms"
		case "nofl": // another instance of the same installation
			t.sync = "nofl"
			t.dir = filepath.Join(m.root, name)
			port += 50
			if err := shareInstallation(filepath.Join(m.root, base), t.dir); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown variant %q: there are nofl and linger5", name)
		}
		t.addr = fmt.Sprintf("127.0.0.1:%d", port)
		t.data = filepath.Join(t.dir, "data")
		m.targets = append(m.targets, t)
	}
	if ours != "" {
		if err := m.addCommand("ours", "ours", ours); err != nil {
			return err
		}
	}
	if m.echo != "" {
		return m.addCommand("gnet-echo", "echo", m.echo+` --addr "127.0.0.1:$PORT"`)
	}
	return nil
}

// addCommand makes a target of a shell command.
func (m *matrix) addCommand(name, kind, command string) error {
	t := &target{name: name, kind: kind, command: command, m: m, dir: filepath.Join(m.root, name), opts: map[string]string{}}
	t.data = filepath.Join(t.dir, "data")
	port, err := freePort()
	if err != nil {
		return err
	}
	if t.httpPort, err = freePort(); err != nil {
		return err
	}
	t.addr = "127.0.0.1:" + port
	m.targets = append(m.targets, t)
	return os.MkdirAll(t.dir, 0o755)
}

// shareInstallation makes dir another instance of the peer that is installed in base.
func shareInstallation(base, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, e := range []string{"lib", "bin", "VERSION"} {
		if _, err := os.Stat(filepath.Join(base, e)); err != nil {
			continue
		}
		if err := os.Symlink(filepath.Join(base, e), filepath.Join(dir, e)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// startBound is the longest wait for a broker's port.
const startBound = 180 * time.Second

// start brings the broker up with an empty or kept data folder. It returns the seconds until its port accepted or, if
// parts is given, until it has accepted a put to a topic of so many partitions.
func (t *target) start(sync string, fresh bool, parts int) (float64, error) {
	if t.sync != "" && sync == "os" {
		sync = t.sync
	}
	t.stop(false)
	t.p, _ = newPeer(t.kind, t.addr)
	if fresh {
		if err := os.RemoveAll(t.data); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	run := t.startCommand
	if t.base != "" {
		run = t.startPeer
	}
	if err := run(sync); err != nil {
		return 0, fmt.Errorf("%s does not start: %w", t.name, err)
	}
	for {
		err := t.answers(parts)
		if err == nil {
			return time.Since(began).Seconds(), nil
		}
		if time.Since(began) > startBound {
			return 0, fmt.Errorf("%s does not answer: %w", t.name, err)
		}
		select {
		case <-t.exited:
			return 0, fmt.Errorf("%s ended while it started, see %s", t.name, filepath.Join(t.dir, "log"))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (t *target) answers(parts int) error {
	if parts > 0 {
		return t.p.Put(parts, 2*time.Second)
	}
	k, err := dialRaw(t.addr)
	if err == nil {
		syscall.Close(k)
	}
	return err
}

func (t *target) port() string {
	_, port, _ := strings.Cut(t.addr, ":")
	return port
}

func (t *target) startPeer(sync string) error {
	c := exec.Command(filepath.Join(t.m.scripts, "start.sh"), t.base, t.dir)
	c.Env = append(os.Environ(), "PEER_PORT="+t.port(), "PEER_DATA="+t.data, "PEER_SYNC="+sync)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(t.dir, "run", "broker.pid"))
	if err != nil {
		return err
	}
	t.pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return err
}

func (t *target) startCommand(sync string) error {
	if err := os.MkdirAll(t.data, 0o755); err != nil {
		return err
	}
	c := exec.Command("sh", "-c", "exec "+t.command)
	c.Env = append(os.Environ(), "PORT="+t.port(), "HTTP_PORT="+t.httpPort, "DATA="+t.data, "SYNC="+sync, "TOPICS="+oursTopics, "SETTINGS="+t.settings)
	log, err := os.Create(filepath.Join(t.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	t.pid, t.exited = c.Process.Pid, exited
	go func() {
		c.Wait() // how it ended is not asked: it is told to, or killed
		close(exited)
	}()
	return nil
}

// stopBound is how long a broker may take to end in order.
const stopBound = 30 * time.Second

func (t *target) stop(kill bool) {
	switch {
	case t.pid == 0:
		return
	case t.base != "":
		a := []string{t.base, t.dir}
		if kill {
			a = append(a, "kill")
		}
		if out, err := exec.Command(filepath.Join(t.m.scripts, "stop.sh"), a...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "stop %s: %v: %s\n", t.name, err, out)
		}
	default:
		if !kill {
			syscall.Kill(t.pid, syscall.SIGTERM)
			select {
			case <-t.exited:
			case <-time.After(stopBound):
				kill = true
			}
		}
		if kill {
			syscall.Kill(t.pid, syscall.SIGKILL)
			<-t.exited
		}
	}
	t.pid, t.exited = 0, nil
}

func (t *target) linger() time.Duration {
	d, _ := time.ParseDuration(t.opts["linger"])
	return d
}

// fillBound is how long a broker may take for a backlog.
const fillBound = 4 * time.Minute

// fill stores a backlog: each producer into a partition of its own, or spread, each message into another one.
func (t *target) fill(parts int, bytes int64, spread bool) error {
	c := produceCfg{Parts: parts, Conns: min(parts, 16), Window: 256, Size: 1024, Count: bytes / 1024, Linger: 5 * time.Millisecond, Spread: spread, Duration: fillBound}
	if spread && t.kind == "kafka" {
		c.Window = 4096 // its batches are of one partition
	}
	st, err := t.p.Produce(context.Background(), c)
	if err != nil {
		return err
	}
	if st.Errors > 0 {
		return fmt.Errorf("%d of %d puts failed", st.Errors, st.Msgs)
	}
	if st.Msgs < c.Count {
		return fmt.Errorf("only %d of %d messages stored within %s", st.Msgs, c.Count, fillBound)
	}
	return nil
}
