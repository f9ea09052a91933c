package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFillMarkers_ReplacesPartsAndKeepsThoseWithoutResults(t *testing.T) {
	text := "a\n<!-- figures: w1 -->\nold\n<!-- end -->\nb\n<!-- figures: w2 -->\nkept\n<!-- end -->\nc\n"
	got, err := fillMarkers(text, map[string]func() (string, error){
		"w1": func() (string, error) { return "new\n", nil },
		"w2": func() (string, error) { return "", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "a\n<!-- figures: w1 -->\nnew\n<!-- end -->\nb\n<!-- figures: w2 -->\nkept\n<!-- end -->\nc\n"
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestFillMarkers_RefusesWhatItCannotFill(t *testing.T) {
	for name, text := range map[string]string{
		"no end":       "<!-- figures: w1 -->\nold\n",
		"unknown part": "<!-- figures: w99 -->\n<!-- end -->\n",
	} {
		if _, err := fillMarkers(text, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

const twoFiles = `{"about":{"commit":"abc","mode":"quick"}}
{"target":"ours","cell":"W1 1024B w1","run":1,"msgs":10,"msgs_per_s":300}
{"target":"nats","cell":"W1 1024B w1","run":1,"msgs":10,"msgs_per_s":100}
{"target":"kafka","cell":"W1 1024B w1","run":1,"msgs":10,"msgs_per_s":90}
{"target":"gnet-echo","cell":"W1 1024B w1","run":1,"msgs":10,"msgs_per_s":310}
{"target":"ours","cell":"W1 1024B w1","run":2,"msgs":10,"msgs_per_s":280,"other_cpu_cores":0.5}
{"target":"nats","cell":"W1 1024B w1","run":2,"error":"ended"}
{"target":"kafka","cell":"W1 1024B w1","run":2,"msgs":10,"msgs_per_s":70}
`

func readText(t *testing.T, texts ...string) *results {
	t.Helper()
	var files []string
	for _, text := range texts {
		name := filepath.Join(t.TempDir(), "results.jsonl")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	r, err := readResults(files)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGoalRow_TakesRatiosOfTheSameRoundToTheBestPeer(t *testing.T) {
	r := readText(t, twoFiles)
	row, ok := r.goalRow(goal{"W1 1024B w1", "rate", "best", true, 2.6})
	// The bare echo is no peer, and the round in which the best one failed has no ratio.
	want := "| W1 1024B w1 | messages/s | best: nats | 100 | 300 | ≥ 2.60 x | 3 [3 – 3] | yes |\n"
	if row != want || !ok {
		t.Fatalf("got %q, %t; want %q", row, ok, want)
	}
	if row, ok := r.goalRow(goal{"W1 1024B w1", "rate", "kafka", true, 5}); ok || !strings.Contains(row, "**no**") {
		t.Fatalf("a target that is not met: %q, %t", row, ok)
	}
	if row, _ := r.goalRow(goal{"W6 recovery", "again", "", false, 1}); row != "" {
		t.Fatalf("a cell without runs: %q", row)
	}
}

func TestReadResults_TakesACellFromTheLastFileThatHasIt(t *testing.T) {
	later := `{"about":{"commit":"def"}}
{"target":"ours","cell":"W1 1024B w1","run":1,"msgs":10,"msgs_per_s":900}
`
	r := readText(t, twoFiles, later)
	if n := len(r.runs["W1 1024B w1"]["ours"]); n != 1 {
		t.Fatalf("%d runs of ours, want the 1 of the later file", n)
	}
	if n := len(r.runs["W1 1024B w1"]["nats"]); n != 0 {
		t.Fatalf("%d runs of nats are left, which stem from another run", n)
	}
	if len(r.about) != 2 {
		t.Fatalf("%d machines, want 2", len(r.about))
	}
}

func TestWorkloadTable_MarksErrorsAndSuspectRuns(t *testing.T) {
	table := readText(t, twoFiles).workloadTable("W1 ")
	for _, want := range []string{"| W1 1024B w1 | ours | 300 [280 – 300] |", `| \* |`, "| ended |"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}

// Whatever a document has as a marker must be a part that the report knows.
func TestReport_RendersTheDocumentOfTheProject(t *testing.T) {
	text, err := os.ReadFile("../../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	doc, in := filepath.Join(dir, "performance.md"), filepath.Join(dir, "results.jsonl")
	if err := os.WriteFile(doc, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, []byte(twoFiles), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cmdReport([]string{"--in", in, "--doc", doc}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got), "commit `abc`") {
		t.Error("the commit of the results is not in the document")
	}
}

func TestGoals_NameMetricsThatExist(t *testing.T) {
	for _, g := range goals {
		if _, ok := metrics[g.metric]; !ok {
			t.Errorf("%s: no metric %q", g.cell, g.metric)
		}
	}
}
