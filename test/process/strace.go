package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const traceBound = 60 * time.Second

// A Trace is strace at work on a running broker.
type Trace struct {
	name string // of its output
	cmd  *exec.Cmd
	done chan struct{}
}

// Strace lets strace look at all threads of the running broker, and returns when it does. args say what it is to trace, and which calls are to
// fail. It ends with Stop, with the broker, or with the test.
func (b *Broker) Strace(t testing.TB, args ...string) *Trace {
	t.Helper()
	said, err := os.CreateTemp(b.folder, "strace-said-")
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	tr := &Trace{name: filepath.Join(b.folder, filepath.Base(said.Name())+".out"), done: make(chan struct{})}
	tr.cmd = exec.Command("strace", append([]string{"-f", "-y", "-ttt", "-s", "0", "-o", tr.name, "-p", strconv.Itoa(b.PID())}, args...)...)
	tr.cmd.Stdout, tr.cmd.Stderr = said, said
	if err := tr.cmd.Start(); err != nil {
		t.Fatalf("start strace: %v: scripts/test-setup.sh installs it", err)
	}
	go func() {
		_ = tr.cmd.Wait() // how it ends depends on how the broker does
		close(tr.done)
	}()
	t.Cleanup(func() { tr.Stop(t) })
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for bound := time.Now().Add(traceBound); ; {
		text, err := os.ReadFile(said.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "attached") {
			return tr
		}
		select {
		case <-tick.C:
		case <-tr.done:
			t.Fatalf("strace has ended: %s. It needs root, or the right to trace other processes", text)
		}
		if time.Now().After(bound) {
			t.Fatalf("strace is not at work after %s: %s", traceBound, text)
		}
	}
}

// Stop lets go of the broker, if it is still there.
func (tr *Trace) Stop(t testing.TB) {
	t.Helper()
	select {
	case <-tr.done:
		return
	default:
	}
	if err := tr.cmd.Process.Signal(syscall.SIGINT); err != nil {
		<-tr.done
		return // it ended by itself
	}
	select {
	case <-tr.done:
	case <-time.After(traceBound):
		t.Fatalf("strace did not end within %s", traceBound)
	}
}

// A Call is a system call of a trace. A call that was interrupted by one of another thread has two lines: this is the first of them.
type Call struct {
	At       time.Time // when it began
	Name     string
	Text     string // as strace writes it, from the name on
	Injected bool   // strace made it fail
}

// Calls are the system calls that the trace has seen so far, in the order in which they began.
func (tr *Trace) Calls(t testing.TB) []Call {
	t.Helper()
	f, err := os.Open(tr.name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	calls, err := parseCalls(bufio.NewScanner(f))
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

func parseCalls(lines *bufio.Scanner) ([]Call, error) {
	var calls []Call
	open := map[string]int{} // by thread: the call that was interrupted
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 3 {
			continue // a line that is being written
		}
		text := strings.Join(words[2:], " ")
		injected := strings.HasSuffix(text, "(INJECTED)")
		if strings.HasPrefix(text, "<...") {
			if i, ok := open[words[0]]; ok {
				calls[i].Injected = injected
				delete(open, words[0])
			}
			continue
		}
		name, _, isCall := strings.Cut(text, "(")
		if !isCall || strings.ContainsAny(name, " +-") {
			continue // a signal, or the end of a thread
		}
		seconds, micros, _ := strings.Cut(words[1], ".")
		sec, err1 := strconv.ParseInt(seconds, 10, 64)
		usec, err2 := strconv.ParseInt(micros, 10, 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("strace wrote a line without a time: %s", lines.Text())
		}
		if strings.HasSuffix(text, "<unfinished ...>") {
			open[words[0]] = len(calls)
		}
		calls = append(calls, Call{At: time.Unix(sec, usec*1000), Name: name, Text: text, Injected: injected})
	}
	return calls, lines.Err()
}

// Injected is the first call that was made to fail.
func (tr *Trace) Injected(t testing.TB) (c Call, ok bool) {
	t.Helper()
	for _, c := range tr.Calls(t) {
		if c.Injected {
			return c, true
		}
	}
	return Call{}, false
}
