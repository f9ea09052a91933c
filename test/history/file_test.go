package history

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestWriter_WritesWhatReadGives(t *testing.T) {
	name := filepath.Join(t.TempDir(), FileName)
	head := Header{Test: "t", Seed: 7, Window: 5, Expires: []string{"a"}}
	w, err := Create(name, head)
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{Proc: "w0", Type: Invoke, F: Put, Topic: "a", Part: 1, ID: "w0-1", Len: 3, CRC: "00c0ffee", Level: Flushed, Attempt: 1},
		{Proc: "r0", Type: OK, F: Get, Topic: "a", Status: 200, Got: []Message{{Off: 1, ID: "w0-1", MID: -5, Len: 3, CRC: "00c0ffee", Bad: "<&>"}}},
	}
	for _, e := range want {
		w.Add(e)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got Header
	n, last := 0, int64(0)
	err = Read(name, &got, func(line int, e Event) error {
		if line != n+2 || e.T < last {
			t.Errorf("event %d: line %d, time %d after %d", n, line, e.T, last)
		}
		last, e.T = e.T, 0
		if !reflect.DeepEqual(e, want[n]) {
			t.Errorf("event %d: %+v, want %+v", n, e, want[n])
		}
		n++
		return nil
	})
	if err != nil || n != len(want) || !reflect.DeepEqual(got, head) {
		t.Errorf("%d events, header %+v, %v", n, got, err)
	}
}

// A history that proves nothing is an error, not a good verdict.
func TestJudge_RefusesWhatProvesNothing(t *testing.T) {
	good, err := os.ReadFile("testdata/good.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(good)), "\n")
	cases := []struct{ name, text, want string }{
		{"empty", "", "EOF"},
		{"a header alone", lines[0], "no put was acknowledged"},
		{"no final read", strings.Join(lines[:len(lines)-4], "\n"), "not read to its end"},
		{"a final read without its end", strings.Join(lines[:len(lines)-2], "\n"), "not read to its end"},
		{"a line that is cut", string(good[:len(good)-20]), "unexpected EOF"},
		{"an unknown function", strings.Replace(string(good), `"get"`, `"git"`, 1), `"git"`},
	}
	for _, c := range cases {
		name := filepath.Join(t.TempDir(), "history")
		if err := os.WriteFile(name, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if v, err := Judge(name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want an error with %q", c.name, v, err, c.want)
		}
	}
}
