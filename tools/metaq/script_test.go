//go:build linux

package main

import (
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"errors"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metaq/metaq/test/zookeeper"
)

// TestMain lets the scripts run this test binary as metaq.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"metaq": main})
}

// TestScripts runs testdata/script/*.txtar: command lines as a user types them, against brokers of their own.
func TestScripts(t *testing.T) {
	// Below nohup, SIGHUP is ignored, and what is started inherits that; of a signal that is caught it does not.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	z := zookeeper.Start(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			// A program built with -race sleeps a second at its end unless it is told not to.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("TZ", "UTC")
			// All scripts share a ZooKeeper. Each has its own chroot in it.
			env.Setenv("ZK", z.Addr+"/"+filepath.Base(env.WorkDir))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":  readyCommand,
			"code":   codeCommand,
			"await":  awaitCommand,
			"lines":  linesCommand,
			"signal": signalCommand,

			"register": registerCommand,
			"node":     nodeCommand,
			"spill":    spillCommand,
			"fail":     failCommand,
		},
	})
}

// scriptPatience bounds every wait of a script.
const scriptPatience = 30 * time.Second

// eventually polls until done is true, and fails the script when it does not become true.
func eventually(ts *testscript.TestScript, what string, done func() bool) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(scriptPatience)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			ts.Fatalf("waited %s for %s", scriptPatience, what)
		}
	}
}

// readyCommand is "ready FILE": it waits for the ready file of a broker and sets METAQ_BROKER, HTTP_ADDRESS and PORT
// from it.
func readyCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready FILE")
	}
	file := ts.MkAbs(args[0])
	eventually(ts, file, func() bool {
		_, err := os.Stat(file)
		return err == nil
	})
	for line := range strings.Lines(ts.ReadFile(file)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			ts.Fatalf("ready file has the line %q", line)
		}
		ts.Setenv(key, value)
		if key == brokerEnv {
			_, port, err := net.SplitHostPort(value)
			ts.Check(err)
			ts.Setenv("PORT", port)
		}
	}
}

// codeCommand is "code N COMMAND...": the command must exit with N.
func codeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// awaitCommand is "await TEXT COMMAND...": it runs the command until it exits with 0 and its output, on either stream,
// contains the text. "! await FILE" waits until the file is gone.
func awaitCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		if len(args) != 1 {
			ts.Fatalf("usage: ! await FILE")
		}
		file := ts.MkAbs(args[0])
		eventually(ts, file+" to go", func() bool {
			_, err := os.Stat(file)
			return errors.Is(err, os.ErrNotExist)
		})
		return
	}
	if len(args) < 2 {
		ts.Fatalf("usage: await TEXT COMMAND [ARGUMENT...]")
	}
	eventually(ts, strconv.Quote(args[0])+" from "+strings.Join(args[1:], " "), func() bool {
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			return false
		}
		return strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), args[0])
	})
}

// signalCommand is "signal NAME WORD": it sends a signal to the last background command that has the word in its command
// line. The kill of testscript knows INT and KILL only.
func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal TERM|INT|HUP|USR1|KILL|STOP|CONT WORD")
	}
	for _, cmd := range slices.Backward(ts.BackgroundCmds()) {
		if strings.Contains(strings.Join(cmd.Args, " "), args[1]) {
			ts.Check(cmd.Process.Signal(signals[args[0]]))
			return
		}
	}
	ts.Fatalf("no background command has %q in its command line", args[1])
}

// linesCommand is "lines FILE N": it writes N different lines of different lengths, some of them empty.
func linesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var text strings.Builder
	for i := range n {
		if i%10 != 9 {
			text.WriteString(strconv.Itoa(i))
			text.WriteString(strings.Repeat(".", i%97))
		}
		text.WriteByte('\n')
	}
	ts.Check(os.WriteFile(filepath.Clean(ts.MkAbs(args[0])), []byte(text.String()), 0o666))
}
