package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// build compiles a package of the project, relative to the folder of this module, and returns the binary.
func build(t *testing.T, folder, pkg string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", name, pkg)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return name
}

// Every workload runs against our real broker, with tiny counts and without peers: what it measures means nothing,
// but each cell must have a figure and no run an error.
func TestMatrix_RunsEveryWorkloadAgainstOurBroker(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.jsonl")
	metaq := build(t, "../../..", "./tools/metaq")
	err := cmdMatrix([]string{"--mode", "smoke", "--peers", "", "--scripts", "..", "--root", t.TempDir(), "--out", out,
		"--ours-cmd", "../ours.sh " + metaq})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	runs := make(map[string]int)
	lines := json.NewDecoder(bytes.NewReader(text))
	for lines.More() {
		var g figures
		if err := lines.Decode(&g); err != nil {
			t.Fatal(err)
		}
		if g.Err != "" || g.Errors != 0 {
			t.Errorf("%s: error %q, %d messages failed", g.Cell, g.Err, g.Errors)
		}
		if g.Msgs == 0 && g.StartSec == 0 {
			t.Errorf("%s: nothing was measured", g.Cell)
		}
		runs[g.Cell]++
	}
	for _, cell := range []string{
		"W1 100B w1", "W1 100B w64", "W1 1024B w1", "W1 1024B w64", "W1 16384B w1", "W1 16384B w64",
		"W2 1part 16prod", "W2 1part 64prod", "W2 16part 16prod", "W2 16part 64prod",
		"W3 1cons", "W3 4cons", "W4 5k/s os", "W5 100 queues", "W6 recovery",
	} {
		if runs[cell] == 0 {
			t.Errorf("%s: no run", cell)
		}
	}
}
