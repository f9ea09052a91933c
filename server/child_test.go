package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/server/config"
)

// childEnv makes the test binary a broker with a limit on file descriptors, instead of running tests.
const childEnv = "METAQ_TEST_CHILD_FILES"

func TestMain(m *testing.M) {
	if files := os.Getenv(childEnv); files != "" {
		if err := runChild(files, os.Getenv("METAQ_TEST_CHILD_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runChild is a broker that takes orders on standard input: "hoard N" leaves N file descriptors, "release" gives them back.
func runChild(files, dir string) error {
	limit, err := strconv.ParseUint(files, 10, 64)
	if err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	cfg, err := config.Load("", nil, map[string]string{"hostName": "127.0.0.1", "serverPort": "0", "dashboardHttpPort": "0", "dataPath": dir, "logSegmentSize": "1M"})
	if err != nil {
		return err
	}
	s, err := New(cfg, zerolog.New(os.Stderr).Level(zerolog.ErrorLevel))
	if err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	fmt.Println(s.Addr())
	var hoard []*os.File
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		order, number, _ := strings.Cut(orders.Text(), " ")
		switch order {
		case "hoard":
			for f, err := os.Open(os.DevNull); err == nil; f, err = os.Open(os.DevNull) {
				hoard = append(hoard, f)
			}
			keep, _ := strconv.Atoi(number)
			for range keep {
				hoard[len(hoard)-1].Close()
				hoard = hoard[:len(hoard)-1]
			}
		case "release":
			for _, f := range hoard {
				f.Close()
			}
			hoard = nil
		}
		fmt.Println("done")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Shutdown(ctx)
}

// child is a broker in a process of its own.
type child struct {
	t     *testing.T
	addr  string
	pid   int
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func startChild(t *testing.T, files int) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strconv.Itoa(files), "METAQ_TEST_CHILD_DIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		cmd.Stderr = nil
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, pid: cmd.Process.Pid, stdin: stdin, lines: bufio.NewScanner(stdout)}
	t.Cleanup(func() {
		stdin.Close()
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the broker did not end in order: %v", err)
		}
	})
	if !c.lines.Scan() {
		t.Fatal("the broker did not start")
	}
	c.addr = c.lines.Text()
	return c
}

func (c *child) order(text string) {
	c.t.Helper()
	fmt.Fprintln(c.stdin, text)
	if !c.lines.Scan() || c.lines.Text() != "done" {
		c.t.Fatalf("%s: the broker is gone", text)
	}
}

// memory is what the process holds, in bytes.
func (c *child) memory() int64 {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	c.t.Fatal("no VmRSS")
	return 0
}

func TestLimit_IdleConnections(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	conns := min(10_000, int(limit.Cur)-200) // this process has the other ends
	b := startChild(t, conns+200)
	before := b.memory()
	list := make([]*client, conns)
	var wait sync.WaitGroup
	for part := range 4 {
		wait.Go(func() {
			for i := part; i < conns; i += 4 {
				if list[i] = dial(t, b.addr); t.Failed() {
					return
				}
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	c := dial(t, b.addr)
	c.send("put t 0 5 0 1\r\nhello")
	c.want(protocol.StatusOK)
	if n := stat(t, b.addr, "connections", "curr_connections"); n != strconv.Itoa(conns+2) {
		t.Errorf("%s connections, want %d", n, conns+2)
	}
	each := (b.memory() - before) / int64(conns)
	t.Logf("%d idle connections, %d bytes of memory each", conns, each)
	if each > 16<<10 {
		t.Errorf("an idle connection takes %d bytes, want at most 16 KiB", each)
	}
	for i := 0; i < conns; i += 97 {
		list[i].send("version 1\r\n")
		list[i].want(protocol.StatusOK)
	}
}

// TestLimit_ConnectionFlood opens more connections than the limit on file descriptors leaves room for: each is served or refused with an answer.
func TestLimit_ConnectionFlood(t *testing.T) {
	b := startChild(t, 160)
	first := dial(t, b.addr)
	served, refused := []*client{}, 0
	for range 300 {
		c := dial(t, b.addr)
		_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c.nc, "version 1\r\n") // a refused one may be closed by now
		switch r, ok := c.next(); {
		case ok && r.status == protocol.StatusOK:
			served = append(served, c)
		case ok && r.status == protocol.StatusUnavailable && strings.Contains(r.body, "limit"):
			refused++
		default:
			t.Fatalf("connection %d: %+v, %v", len(served)+refused, r, ok)
		}
	}
	t.Logf("%d served, %d refused", len(served), refused)
	if len(served) < 40 || refused == 0 {
		t.Errorf("%d served and %d refused", len(served), refused)
	}
	first.send("put t 0 5 0 1\r\nhello")
	first.want(protocol.StatusOK)
	for _, c := range served {
		c.nc.Close()
	}
	waitFor(t, "there is room again", func() bool {
		c := dial(t, b.addr)
		defer c.nc.Close()
		_, _ = io.WriteString(c.nc, "version 1\r\n")
		r, ok := c.next()
		return ok && r.status == protocol.StatusOK
	})
}

// TestLimit_NoFileDescriptors takes every file descriptor away from a running broker. Whoever is connected is served, whoever comes is
// told, and when there are descriptors again it goes on.
func TestLimit_NoFileDescriptors(t *testing.T) {
	b := startChild(t, 200)
	old := dial(t, b.addr)
	old.send("put t 0 5 0 1\r\nhello")
	old.want(protocol.StatusOK)
	for _, left := range []string{"0", "1"} { // with one, the connection comes in and cannot be handed over
		b.order("hoard " + left)
		c := dial(t, b.addr)
		_, _ = io.WriteString(c.nc, "version 1\r\n") // it is served if a descriptor of a closed connection has become free meanwhile
		if r, ok := c.next(); ok && r.status != protocol.StatusOK && !(r.status == protocol.StatusUnavailable && strings.Contains(r.body, "file descriptors")) {
			t.Fatalf("answer %+v, want 503 and the reason", r)
		}
		for i := range 20 {
			old.send(fmt.Sprintf("put t 0 5 0 %d\r\nworld", i))
			old.want(protocol.StatusOK)
		}
		b.order("release")
		waitFor(t, "new connections are served again", func() bool {
			c := dial(t, b.addr)
			defer c.nc.Close()
			_, _ = io.WriteString(c.nc, "get t g 0 0 25 1\r\n")
			r, ok := c.next()
			return ok && r.value
		})
	}
	if n := stat(t, b.addr, "connections", "accept_errors_total"); n == "0" {
		t.Error("accept did not fail once: the test took no descriptor away")
	}
}
