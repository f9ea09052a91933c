package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// words makes lines of a text in which each word is one.
func words(s string) [][]byte {
	var lines [][]byte
	for _, w := range strings.Fields(s) {
		lines = append(lines, []byte(w))
	}
	return lines
}

func TestCompare(t *testing.T) {
	cases := []struct {
		name, want, got string
		duplicates      int
		rewinds         int
		wrong           string // what the error has to contain
	}{
		{"the same", "a b c", "a b c", 0, 0, ""},
		{"nothing", "", "", 0, 0, ""},
		{"equal lines", "a a a b", "a a a b", 0, 0, ""},
		{"sent again after a kill", "a b c d e", "a b c b c d e", 2, 1, ""},
		{"sent again from the start", "a b c", "a b a b c", 2, 1, ""},
		{"sent again at the end", "a b c", "a b c c", 1, 1, ""},
		{"two kills", "a b c d", "a b b c d c d", 3, 2, ""},
		{"sent again among equal lines", "a x a x b", "a x a x a x b", 2, 1, ""},
		{"a run with equal ends sent again", "a b a c", "a b a a b a c", 3, 1, ""},
		{"more than may come again", "a b c d e", "a b c d a b c d e", 0, 0, "line 5 differs"},
		{"a line lost", "a b c", "a c", 0, 0, "line 2 differs"},
		{"the first line lost", "a b c", "b c", 0, 0, "line 1 differs"},
		{"the last line lost", "a b c", "a b", 0, 0, "1 lines are missing"},
		{"all lost", "a b", "", 0, 0, "2 lines are missing"},
		{"a line altered", "a b c", "a B c", 0, 0, "line 2 differs"},
		{"exchanged", "a b c d", "a c b d", 0, 0, "line 2 differs"},
		{"a line invented", "a b", "a b z", 0, 0, "1 lines too many"},
		{"an old line again, later", "a b c d", "a b c a d", 0, 0, "line 4 differs"},
		{"sent again with a gap", "a b c d e", "a b c d b c e", 0, 0, "line 5 differs"},
	}
	for _, c := range cases {
		r, err := compare(words(c.want), words(c.got), 3)
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.wrong)
		case c.wrong == "" && (r.duplicates != c.duplicates || r.rewinds != c.rewinds || r.lines != len(words(c.want))):
			t.Errorf("%s: got %+v, want %d duplicates at %d places", c.name, r, c.duplicates, c.rewinds)
		}
	}
}

func TestSplitKeepsEveryByte(t *testing.T) {
	cases := []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a\n", []string{"a"}},
		{"a", []string{"a"}},
		{"a\n\nb\r\n \n", []string{"a", "", "b\r", " "}},
		{"\n\n", []string{"", ""}},
	}
	for _, c := range cases {
		got := split([]byte(c.text))
		if len(got) != len(c.want) {
			t.Errorf("%q: got %q", c.text, got)
			continue
		}
		for i := range got {
			if string(got[i]) != c.want[i] {
				t.Errorf("%q: got %q, want %q", c.text, got, c.want)
			}
		}
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	sent := write("sent", "a\nb\nc\nd\ne\n")
	even, odd := write("even", "a\nc\ne\n"), write("odd", "b\nd\n")
	twice := write("twice", "a\nc\nc\ne\n")
	if err := run(sent, []string{even, odd}, 0); err != nil {
		t.Errorf("a good run: %v", err)
	}
	if err := run(sent, []string{twice, odd}, 1); err != nil {
		t.Errorf("a line twice at a kill: %v", err)
	}
	if err := run(sent, []string{twice, odd}, 0); err == nil {
		t.Error("a line twice without a kill was accepted")
	}
	if err := run(sent, []string{odd, even}, 0); err != nil {
		t.Errorf("a producer that began with the second partition: %v", err)
	}
	exchanged := write("exchanged", "a\nb\ne\n")
	if err := run(sent, []string{exchanged, write("other", "c\nd\n")}, 0); err == nil || !strings.Contains(err.Error(), "partition 0: line 2 differs") {
		t.Errorf("exchanged lines: %v", err)
	}
	if err := run(filepath.Join(dir, "none"), []string{even, odd}, 0); err == nil {
		t.Error("a missing file was accepted")
	}
}
