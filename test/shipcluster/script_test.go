package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// The whole proof on little: real log lines, a real cluster, a broker that is killed and comes back.
func TestScript_ShipsRealLogs(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../../scripts/ship-real-logs-cluster.sh", "1")
	cmd.Env = append(os.Environ(), "METAQ="+process.Binary(t, ""))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it stops what it has started
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`kill -9 of broker 1 with \d+ lines acknowledged, [1-9]\d* under way and [1-9]\d* read`,
		`topic logs: [1-9]\d* lines, lost 0, altered 0, left out or out of order 0, `,
		`topic ordered-logs: [1-9]\d* lines, lost 0, altered 0, left out or out of order 0, `,
		`left for the group: 0 lines`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	t.Logf("%s", out)
}
