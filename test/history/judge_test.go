package history

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each file of testdata is a small run with one fault in it, and is named by the check that has to convict it, alone. The good ones have
// everything in them that looks like a fault and is none.
func TestJudge_ConvictsEachHistoryByItsCheckAlone(t *testing.T) {
	names, err := filepath.Glob("testdata/*.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]int{}
	for _, name := range names {
		check, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".ndjson"), "_")
		tried[check]++
		var want []string
		if check != "good" {
			want = []string{check}
		}
		v, err := Judge(name)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if got := v.Convicted(); !slices.Equal(got, want) || v.Good != (want == nil) {
			t.Errorf("%s: convicted by %q, want %q\n%v", name, got, want, v)
		}
	}
	for _, c := range Checks {
		if tried[c.Name] == 0 {
			t.Errorf("there is no history that %s has to convict", c.Name)
		}
	}
	if tried["good"] == 0 {
		t.Error("there is no good history")
	}
}
