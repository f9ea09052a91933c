package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	figures, page := filepath.Join(dir, "figures"), filepath.Join(dir, "page.md")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(page, "before\n"+begin+"\nold\n"+end+"\nafter\n")
	write(figures, `{"test":1,"name":"kills","value":"5","form":"short"}
{"test":1,"name":"kills","value":"200","form":"long"}
{"test":38,"name":"mutants","value":"3 | 3","form":"short"}
`)
	var out strings.Builder
	if err := run(figures, page, &out); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "| long | kills: 200 |", "mutants: 3 / 3 |", "| 2 | power cut", "| not run |", "\nafter\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "old") || strings.Contains(string(text), "kills: 5") || !strings.Contains(string(text), out.String()) {
		t.Errorf("the page is not what was printed:\n%s", text)
	}
	write(figures, `{"test":38,"name":"mutants","value":"4 of 4","form":"short"}`) // a part of the tests
	if err := run(figures, page, &out); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "| long | kills: 200 |\n", "| short | mutants: 4 of 4 |\n", "| 2 | power cut", "| not run |  |\n", "\nafter\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("after another run of a part the page lacks %q:\n%s", want, text)
		}
	}
	write(figures, `{"test":99,"name":"x","value":"y","form":"short"}`)
	if err := run(figures, page, &out); err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("a figure of an unknown test: %v", err)
	}
	write(page, "no place")
	write(figures, "")
	if err := run(figures, page, &out); err == nil || !strings.Contains(err.Error(), "no place for the figures") {
		t.Errorf("a page without marks: %v", err)
	}
}

// The page in the repository has a place for the figures.
func TestPageOfTheRepository(t *testing.T) {
	text, err := os.ReadFile("../../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := between(string(text), ""); err != nil {
		t.Error(err)
	}
}
