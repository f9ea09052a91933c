package main

import (
	"context"
	"fmt"
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
	cmd  *exec.Cmd
	opts map[string]string

	httpPort string // of ours: where its metrics are
}

// oursTopics are the topics that the workloads use, with their partitions.
const oursTopics = "bench1:1 bench4:4 bench16:16 bench100:100 bench1000:1000 bench10000:10000 bench50000:50000"

var defaultPorts = map[string]int{"metaq-java": 22123, "kafka": 22092, "rocketmq": 22911, "nats": 22222}

// start brings the broker up with an empty or kept data folder and returns the seconds until its port accepted.
func (t *target) start(sync string, fresh bool, parts int) (float64, error) {
	if t.sync != "" && sync == "os" {
		sync = t.sync
	}
	if t.pid != 0 {
		t.stop(false)
	}
	t.p, _ = newPeer(t.kind, t.addr)
	began := time.Now()
	switch {
	case t.base != "":
		if fresh {
			os.RemoveAll(t.data)
		}
		began = time.Now()
		c := exec.Command(filepath.Join(t.m.scripts, "start.sh"), t.base, t.dir)
		_, port, _ := strings.Cut(t.addr, ":")
		c.Env = append(os.Environ(), "PEER_PORT="+port, "PEER_DATA="+t.data, "PEER_SYNC="+sync)
		if out, err := c.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s does not start: %v: %s", t.name, err, out)
		}
		b, err := os.ReadFile(filepath.Join(t.dir, "run", "broker.pid"))
		if err != nil {
			return 0, err
		}
		t.pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	case t.m.oursCmd != "":
		if fresh {
			os.RemoveAll(t.data)
		}
		os.MkdirAll(t.data, 0o755)
		_, port, _ := strings.Cut(t.addr, ":")
		c := exec.Command("sh", "-c", "exec "+t.m.oursCmd)
		c.Env = append(os.Environ(), "PORT="+port, "HTTP_PORT="+t.httpPort, "DATA="+t.data, "SYNC="+sync, "TOPICS="+oursTopics)
		log, err := os.Create(filepath.Join(t.dir, "ours.log"))
		if err != nil {
			return 0, err
		}
		c.Stdout, c.Stderr = log, log
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		began = time.Now()
		if err := c.Start(); err != nil {
			return 0, err
		}
		t.cmd, t.pid = c, c.Process.Pid
		go c.Wait()
	default:
		t.pid = t.m.oursPID
		if t.pid == 0 {
			t.pid = listenerPID(t.addr)
		}
	}
	var err error
	for time.Since(began) < 180*time.Second {
		if parts == 0 {
			var k int
			if k, err = dialRaw(t.addr); err == nil {
				syscall.Close(k)
				break
			}
		} else if err = t.p.Put(parts, 2*time.Second); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began).Seconds(), err
}

func (t *target) stop(kill bool) {
	if t.pid == 0 {
		return
	}
	switch {
	case t.base != "":
		a := []string{t.base, t.dir}
		if kill {
			a = append(a, "kill")
		}
		exec.Command(filepath.Join(t.m.scripts, "stop.sh"), a...).Run()
	case t.cmd != nil:
		if kill {
			syscall.Kill(t.pid, syscall.SIGKILL)
		} else {
			syscall.Kill(t.pid, syscall.SIGTERM)
		}
		for i := 0; i < 600; i++ {
			if syscall.Kill(t.pid, 0) != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
			if i == 598 {
				syscall.Kill(t.pid, syscall.SIGKILL)
			}
		}
	}
	t.pid, t.cmd = 0, nil
}

func (t *target) can() bool { return t.base != "" || t.m.oursCmd != "" } // may be restarted by us

func (t *target) linger() time.Duration {
	d, _ := time.ParseDuration(t.opts["linger"])
	return d
}

func (t *target) fill(parts int, bytes int64) error {
	c := produceCfg{Parts: parts, Conns: parts, Window: 256, Size: 1024, Count: bytes / 1024, Linger: 5 * time.Millisecond}
	st, err := t.p.Produce(context.Background(), c)
	if err != nil {
		return err
	}
	if st.Errors > 0 {
		return fmt.Errorf("%d of %d puts failed", st.Errors, st.Msgs)
	}
	return nil
}
