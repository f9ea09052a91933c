//go:build linux

package spout_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/tools/spout"
)

const (
	patience = 30 * time.Second
	// heartbeat is how soon a command has to be answered, whatever the brokers do. Storm gives a spout 30 seconds.
	heartbeat = 2 * time.Second
)

// said is a message of the spout.
type said struct {
	Command string
	PID     int
	ID      string
	Tuple   []json.RawMessage
	NeedIDs *bool `json:"need_task_ids"`
	Msg     string
	Level   int
	Name    string
	Params  spout.Counts
}

// text is a value of the tuple that is a string.
func (s said) text(t testing.TB, i int) string {
	t.Helper()
	var v string
	if err := json.Unmarshal(s.Tuple[i], &v); err != nil {
		t.Fatalf("value %d of %s: %v", i, s.Tuple, err)
	}
	return v
}

// fakeStorm is the other end of the pipes.
type fakeStorm struct {
	t     testing.TB
	in    io.WriteCloser // of the spout
	said  chan said
	ended chan error
	logs  []string
}

// options are those of a spout on t whose pauses are short.
func options(addr string) spout.Options {
	return spout.Options{Addr: addr, Group: "g", Topics: []string{"t"}, Start: client.FromEarliest(), Tuples: spout.Tuples{Scheme: "string", Fields: []string{"message"}},
		InFlight: 100, Tries: 3, RetryFrom: 20 * time.Millisecond, RetryTo: 100 * time.Millisecond}
}

// startSpout runs a spout, and speaks to it as far as the first command.
func startSpout(t testing.TB, o spout.Options, conf map[string]any) *fakeStorm {
	t.Helper()
	in, toSpout := io.Pipe()
	fromSpout, out := io.Pipe()
	f := &fakeStorm{t: t, in: toSpout, said: make(chan said, 1000), ended: make(chan error, 1)}
	go func() {
		err := spout.Run(context.Background(), in, out, o)
		out.Close()
		f.ended <- err
	}()
	go f.read(fromSpout)
	t.Cleanup(func() { f.end() })
	dir := t.TempDir()
	f.write(map[string]any{"pidDir": dir, "conf": conf, "context": map[string]any{"taskid": 1, "task->component": map[string]string{"1": "spout"}}})
	if pid := f.next(patience).PID; pid != os.Getpid() {
		t.Fatalf("the spout says that its process is %d", pid)
	}
	if _, err := os.Stat(filepath.Join(dir, strconv.Itoa(os.Getpid()))); err != nil {
		t.Fatal(err)
	}
	return f
}

// read takes what the spout writes. A line that is no part of the protocol shows as a message without a command.
func (f *fakeStorm) read(out io.Reader) {
	defer close(f.said)
	lines := bufio.NewReader(out)
	var text strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if line != "end\n" {
			text.WriteString(line)
			continue
		}
		var s said
		if err := json.Unmarshal([]byte(text.String()), &s); err != nil {
			s = said{Msg: fmt.Sprintf("%v: %q", err, text.String())}
		}
		text.Reset()
		f.said <- s
	}
}

func (f *fakeStorm) write(message any) {
	f.t.Helper()
	text, err := json.Marshal(message)
	if err == nil {
		_, err = f.in.Write(append(text, "\nend\n"...))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeStorm) next(within time.Duration) said {
	f.t.Helper()
	select {
	case s, ok := <-f.said:
		if !ok {
			f.t.Fatal("the spout has ended")
		}
		return s
	case <-time.After(within):
		f.t.Fatalf("no answer in %s", within)
	}
	panic("not reached")
}

// do sends a command and returns the tuples of its answer. The answer has to end in time, and to be within the protocol.
func (f *fakeStorm) do(name, id string) (tuples []said) {
	f.t.Helper()
	f.write(map[string]string{"command": name, "id": id})
	for {
		switch s := f.next(heartbeat); s.Command {
		case "sync":
			return tuples
		case "emit":
			if s.NeedIDs == nil || *s.NeedIDs {
				f.t.Errorf("the spout wants to know the tasks of %s, and will not read them", s.ID)
			}
			tuples = append(tuples, s)
		case "log":
			f.logs = append(f.logs, s.Msg)
		case "metrics":
		default:
			f.t.Fatalf("the spout says %+v", s)
		}
	}
}

// tuples asks for tuples until there are n.
func (f *fakeStorm) tuples(n int) (list []said) {
	f.t.Helper()
	for bound := time.Now().Add(patience); len(list) < n; {
		list = append(list, f.do("next", "")...)
		if time.Now().After(bound) {
			f.t.Fatalf("%d tuples in %s, want %d; the spout says %q", len(list), patience, n, f.logs)
		}
	}
	return list
}

// until lets Storm ask for tuples, which there must not be, until something holds.
func (f *fakeStorm) until(what string, ok func() bool) {
	f.t.Helper()
	for bound := time.Now().Add(patience); !ok(); {
		if list := f.do("next", ""); len(list) > 0 {
			f.t.Fatalf("until %s: tuple %s", what, list[0].ID)
		}
		if time.Now().After(bound) {
			f.t.Fatalf("not in %s: %s; the spout says %q", patience, what, f.logs)
		}
	}
}

// end is that Storm goes away.
func (f *fakeStorm) end() {
	f.t.Helper()
	f.in.Close()
	select {
	case err := <-f.ended:
		if err != nil {
			f.t.Errorf("the spout has ended with %v", err)
		}
		f.ended <- nil // for the next end
	case <-time.After(patience):
		f.t.Error("the spout does not end when Storm is gone")
	}
}
