// Package chaos is what the tests of faults share: whether the long form was asked for, the seed of a run, and the figures it reports.
//
// A test of faults has a number, that of its row in docs/reliability.md. Its short form runs with every `go test`; METAQ_CHAOS=long, which
// `make chaos` sets, asks for the long one. METAQ_SEED repeats a run. Figures are logged, and appended as JSON lines to the file that
// METAQ_FIGURES names, from which the page's table is made (test/chaos/page).
package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Long tells whether the long form of the tests was asked for.
func Long() bool { return os.Getenv("METAQ_CHAOS") == "long" }

// Pick returns short, or long when the long form was asked for.
func Pick[T any](short, long T) T {
	if Long() {
		return long
	}
	return short
}

// Seed returns the seed of this test: METAQ_SEED, or a new one. It is logged, with how to repeat the run.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64() >> 1
	if s := os.Getenv("METAQ_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("METAQ_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("seed %d: repeat with METAQ_SEED=%d go test -run '^%s$'", seed, seed, t.Name())
	return seed
}

// A Reading is one figure of one test, as METAQ_FIGURES holds it.
type Reading struct {
	Test  int    `json:"test"` // row in docs/reliability.md
	Name  string `json:"name"`
	Value string `json:"value"`
	Form  string `json:"form"` // short or long
}

// Figure reports one figure of the test with this number; the value carries its unit, as in "17 ms".
func Figure(t testing.TB, number int, name, value string, args ...any) {
	t.Helper()
	r := Reading{Test: number, Name: name, Value: fmt.Sprintf(value, args...), Form: Pick("short", "long")}
	t.Logf("test %d, %s: %s", r.Test, r.Name, r.Value)
	path := os.Getenv("METAQ_FIGURES")
	if path == "" {
		return
	}
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("figure %s: %v", name, err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("figure %s: %v", name, err)
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		t.Fatalf("figure %s: %v", name, err)
	}
}
