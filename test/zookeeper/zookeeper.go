// Package zookeeper runs a real ZooKeeper for a test, of Debian's package (scripts/test-setup.sh installs it): one server, with short ticks, on a port of its
// own. It can be killed, stopped for a while, started again, also empty.
package zookeeper

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	jar        = "/usr/share/java/zookeeper.jar"
	startBound = 60 * time.Second
	askBound   = time.Second // a server that is about to start may take a connection and say nothing
	pollEvery  = 20 * time.Millisecond
	// Tick bounds what time-out a session gets: 2 to 20 ticks.
	Tick = 200 * time.Millisecond
)

// Server is a ZooKeeper that runs, or may run again, on its address and data.
type Server struct {
	Addr   string // host:port
	dir    string
	under  []string // a command that runs it
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts an empty server. It ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartAt(t, freeAddr(t))
}

// StartAt starts an empty server on an address, and under a command that runs the command line that follows it, as `ip netns exec NAME` does.
func StartAt(t testing.TB, addr string, under ...string) *Server {
	t.Helper()
	s := &Server{Addr: addr, dir: t.TempDir(), under: under}
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("tickTime=%d\ndataDir=%s\nclientPort=%s\nclientPortAddress=%s\nadmin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n",
		Tick.Milliseconds(), filepath.Join(s.dir, "data"), port, host)
	if err := os.WriteFile(filepath.Join(s.dir, "zoo.cfg"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.end(t, syscall.SIGKILL)
		}
	})
	s.Restart(t)
	return s
}

// freeAddr finds a port that nobody listens on. It is fixed from then on, because clients come back to it.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Restart starts a server that does not run, on what it had before.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(jar); err != nil {
		t.Fatalf("%s is not there: run scripts/test-setup.sh as root", jar)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	line := append(s.under[:len(s.under):len(s.under)], "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jar,
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(s.dir, "zoo.cfg"))
	s.cmd = exec.Command(line[0], line[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start ZooKeeper: %v", err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // it is killed
		close(exited)
	}(s.cmd, s.exited)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for bound := time.After(startBound); ; {
		if answer, err := s.Ask("ruok"); err == nil && answer == "imok" {
			return
		}
		select {
		case <-tick.C:
		case <-s.exited:
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("ZooKeeper has ended:\n%s", text)
		case <-bound:
			t.Fatalf("ZooKeeper did not answer within %s", startBound)
		}
	}
}

// Ask sends one of ZooKeeper's four-letter words.
func (s *Server) Ask(word string) (string, error) {
	c, err := net.DialTimeout("tcp", s.Addr, askBound)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(askBound)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return strings.TrimSpace(string(b)), err
}

// What a server counts.
const (
	Requests   = "zk_packets_received"
	Ephemerals = "zk_ephemerals_count"
	Watches    = "zk_watch_count"
)

// Count is what the server has counted so far; -1 if it does not answer just now. Questions like this one are requests too.
func (s *Server) Count(t testing.TB, what string) int {
	t.Helper()
	text, err := s.Ask("mntr")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && key == what {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatalf("%s of ZooKeeper: %v", what, err)
			}
			return n
		}
	}
	return -1
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.end(t, syscall.SIGKILL)
}

func (s *Server) end(t testing.TB, with syscall.Signal) {
	if err := s.cmd.Process.Signal(with); err != nil {
		t.Fatalf("end ZooKeeper: %v", err)
	}
	<-s.exited
	s.cmd = nil
}

// Empty takes away everything a server that does not run knew.
func (s *Server) Empty(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		t.Fatal(err)
	}
}

// Pause stops the server as it is, until Resume: it answers nothing, and nothing is refused.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// Resume ends a Pause.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
