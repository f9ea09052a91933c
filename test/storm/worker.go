package storm

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/metaq/metaq/test/maven"
)

// logShown is how much of what Storm said a failed test prints, in bytes.
const logShown = 8 << 10

// opened are the packages that the Java client of Metamorphosis reaches into, which a JDK since 17 keeps shut.
var opened = []string{"java.base/java.lang", "java.base/java.nio", "java.base/sun.nio.ch", "java.base/java.util"}

// A topology is what a worker runs, see java/.../Topology.java.
type topology struct {
	spouts         int
	timeout        int // seconds
	failed, silent int // of a hundred tuples
	spout          []string
}

// A supervisor runs a topology in a process, and again when that was killed, as Storm's does with a worker.
type supervisor struct {
	topology topology
	home     string

	cmd    *exec.Cmd
	in     io.WriteCloser
	exited chan struct{}

	mu   sync.Mutex
	told tally
}

// tally is what the bolts have told so far.
type tally struct {
	acked                 map[string]int // messages, and how often
	tuples, fails, silent int
}

func supervise(t *testing.T, what topology) *supervisor {
	t.Helper()
	s := &supervisor{topology: what, home: t.TempDir(), told: tally{acked: map[string]int{}}}
	t.Cleanup(func() {
		s.kill()
		if !t.Failed() {
			return
		}
		text, _ := os.ReadFile(s.logName())
		t.Logf("end of what Storm said:\n%s", text[max(0, len(text)-logShown):])
	})
	s.start(t)
	return s
}

func (s *supervisor) logName() string { return filepath.Join(s.home, "log") }

func (s *supervisor) start(t *testing.T) {
	t.Helper()
	line := []string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.io.tmpdir=" + s.home, "-Duser.home=" + s.home}
	for _, p := range opened {
		line = append(line, "--add-opens", p+"=ALL-UNNAMED")
	}
	line = append(line, "-cp", maven.ClassPath(t, "java", "metaq-storm", "package", "dependency:copy-dependencies", "-DexcludeArtifactIds=metamorphosis-storm-spout"),
		"com.github.metaq.storm.Topology")
	for _, n := range []int{s.topology.spouts, s.topology.timeout, s.topology.failed, s.topology.silent} {
		line = append(line, strconv.Itoa(n))
	}
	s.cmd = exec.Command("java", append(line, s.topology.spout...)...)
	log, err := os.OpenFile(s.logName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stderr = log
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start Storm: %v (scripts/test-setup.sh installs java)", err)
	}
	s.exited = make(chan struct{})
	go s.read(out)
}

// read takes what the bolts tell until the process ends.
func (s *supervisor) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		mood, message, _ := strings.Cut(lines.Text(), " ")
		s.mu.Lock()
		s.told.tuples++
		switch mood {
		case "ack":
			s.told.acked[message]++
		case "fail":
			s.told.fails++
		case "silent":
			s.told.silent++
		}
		s.mu.Unlock()
	}
	_ = s.cmd.Wait() // it was killed, or says in its log why it ended
	close(s.exited)
}

// tally is a copy.
func (s *supervisor) tally() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	told.acked = maps.Clone(told.acked)
	return told
}

// count is how many different messages the bolts have acknowledged.
func (s *supervisor) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.told.acked)
}

// children are the processes of the worker that are spouts.
func (s *supervisor) children(t *testing.T) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lists {
		text, _ := os.ReadFile(name) // its thread may have ended
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// kill ends the worker as kill -9 does.
func (s *supervisor) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.exited
}

// stop ends the topology in order.
func (s *supervisor) stop(t *testing.T) {
	t.Helper()
	s.in.Close()
	<-s.exited
	if err := s.cmd.ProcessState; err.ExitCode() != 0 {
		t.Errorf("Storm has ended with %v", err)
	}
}
