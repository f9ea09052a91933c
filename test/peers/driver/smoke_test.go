package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The catch-up reader of W8 is this program, started again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		main()
		return
	}
	os.Exit(m.Run())
}

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
	err := cmdMatrix([]string{"--mode", "smoke", "--peers", "", "--scripts", "..", "--root", diskFolder(t), "--out", out,
		"--gnet", build(t, "..", "./gnetecho"), "--ours-cmd", "../ours.sh " + metaq})
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
		var line struct {
			About *machine `json:"about"`
			figures
		}
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.About != nil {
			continue
		}
		g := line.figures
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
		"W3 1cons", "W3 4cons", "W4 5k/s os", "W5 1 queues", "W5 100 queues", "W6 recovery",
		"W7 4 parts all", "W7 4 parts one", "W7 4 parts own log", "W7 1000 parts all", "W7 1000 parts one", "W7 1000 parts own log",
		"W8 alone", "W8 beside catch-up", "W9 maximum os", "W9 half of it os",
		"W10 tenth put", "W10 tenth drain", "W10 full put", "W10 full drain",
	} {
		if runs[cell] == 0 {
			t.Errorf("%s: no run", cell)
		}
	}
}
