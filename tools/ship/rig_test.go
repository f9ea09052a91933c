//go:build linux

package ship

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
)

func TestMain(m *testing.M) {
	// gnet, of the broker in this process, keeps a pool of goroutines for as long as the program runs.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
}

// patience bounds every wait.
const patience = 20 * time.Second

// rig is an agent with a broker and a directory of log files.
type rig struct {
	t      *testing.T
	broker *metaqtest.Broker
	dir    string
	config Config
	agent  *Agent
	stop   func()
}

// newRig makes an agent for the files of a pattern in a new directory. It is not started yet.
func newRig(t *testing.T, pattern string, change func(*Input), opts ...metaqtest.Option) *rig {
	t.Helper()
	r := &rig{t: t, broker: metaqtest.Start(t, append([]metaqtest.Option{metaqtest.Set("numPartitions", "1")}, opts...)...), dir: t.TempDir()}
	r.config = Default()
	r.config.Broker, r.config.Dir, r.config.HTTP = r.broker.Addr, t.TempDir(), ""
	in := DefaultInput()
	in.Name, in.Topic, in.Paths = "t", "t", []string{r.path(pattern)}
	in.RotateWait, in.EventWait = 200*time.Millisecond, 200*time.Millisecond
	if change != nil {
		change(&in)
	}
	r.config.Inputs = []Input{in}
	t.Cleanup(func() {
		if r.agent != nil {
			r.end()
		}
	})
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// begin starts the agent.
func (r *rig) begin() {
	r.t.Helper()
	agent, err := Open(r.config, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	r.agent = agent
	r.stop = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				r.t.Errorf("the agent ended with %v", err)
			}
		case <-time.After(patience):
			r.t.Errorf("the agent did not stop within %s", patience)
		}
	}
}

// end stops the agent in order.
func (r *rig) end() {
	r.t.Helper()
	r.stop()
	r.agent = nil
}

// once runs an agent until nothing is left.
func (r *rig) once() {
	r.t.Helper()
	r.config.Once = true
	agent, err := Open(r.config, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := agent.Run(ctx); err != nil || ctx.Err() != nil {
		r.t.Fatalf("the agent ended with %v, %v", err, ctx.Err())
	}
	r.config.Once = false
}

// write makes a file, or appends to it.
func (r *rig) write(name, text string) {
	r.t.Helper()
	f, err := os.OpenFile(r.path(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	if err := os.Rename(r.path(from), r.path(to)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(name string) {
	r.t.Helper()
	if err := os.Remove(r.path(name)); err != nil {
		r.t.Fatal(err)
	}
}

// stored reads the topic.
func (r *rig) stored() []client.Received {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, err := client.OpenBrowser(ctx, r.broker.Addr, "t")
	if err != nil {
		r.t.Fatal(err)
	}
	defer b.Close()
	var list []client.Received
	for m, err := range b.Messages(ctx) {
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func (r *rig) lines() []string {
	r.t.Helper()
	var lines []string
	for _, m := range r.stored() {
		lines = append(lines, string(m.Body))
	}
	return lines
}

// eventually waits until something holds.
func (r *rig) eventually(what string, done func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for bound := time.After(patience); !done(); {
		select {
		case <-tick.C:
		case <-bound:
			r.t.Fatalf("waited %s for %s; stored is %.2000q", patience, what, r.lines())
		}
	}
}

// want waits until exactly these lines are stored.
func (r *rig) want(lines ...string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%.2000q", lines), func() bool { return slices.Equal(r.lines(), lines) })
}

// file waits until the agent knows a file by this name, and returns what it says of it.
func (r *rig) file(name string, right func(FileStatus) bool) {
	r.t.Helper()
	r.eventually("the status of "+name, func() bool {
		for _, in := range r.agent.Status().Inputs {
			for _, f := range in.Files {
				if f.Path == r.path(name) && right(f) {
					return true
				}
			}
		}
		return false
	})
}

// numbered are lines from a number on, long enough that the beginning of a file tells it from others.
func numbered(from, to int) (lines []string) {
	for n := from; n <= to; n++ {
		lines = append(lines, fmt.Sprintf("line %d %s", n, strings.Repeat("x", 100+n%7)))
	}
	return lines
}

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }
