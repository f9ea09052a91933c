package server

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// The session at the end of PROTOCOL.md, typed and answered as it stands there. Ids of messages are different each time.
func TestDocument_Session(t *testing.T) {
	text, err := os.ReadFile("../protocol/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, session, ok := strings.Cut(string(text), "\n## A session to type\n")
	if !ok {
		t.Fatal("PROTOCOL.md has no session to type")
	}
	id := regexp.MustCompile(`\b\d{19}\b`)
	c := dial(t, startServer(t, nil).Addr())
	var want []string
	answers := 0
	check := func() {
		if len(want) == 0 {
			return
		}
		r, ok := c.next()
		if !ok {
			t.Fatalf("the connection is closed, want %q", want)
		}
		got := strings.TrimSuffix(string(protocol.AppendResult(nil, r.status, r.opaque, r.body)), "\r\n")
		if asWritten := strings.Join(want, "\r\n"); id.ReplaceAllString(got, "ID") != id.ReplaceAllString(asWritten, "ID") {
			t.Errorf("the answer is %q, PROTOCOL.md has %q", got, asWritten)
		}
		want = nil
		answers++
	}
	for line := range strings.Lines(session) {
		if typed, ok := strings.CutPrefix(line, "    > "); ok {
			check()
			c.send(typed)
		} else if said, ok := strings.CutPrefix(line, "    < "); ok {
			want = append(want, strings.TrimSuffix(said, "\n"))
		}
	}
	check()
	c.wantEnd()
	if answers < 5 {
		t.Errorf("there are %d answers in the session", answers)
	}
}

// What `help VERB` says is an example to paste is one.
func TestHelp_ExamplesWork(t *testing.T) {
	c := dial(t, startServer(t, nil).Addr())
	examples := 0
	for _, e := range helpTexts() {
		_, example, ok := strings.Cut(e.help.text, "Example, to paste:\n")
		if !ok {
			continue
		}
		examples++
		var typed string
		for line := range strings.Lines(example + "\n") {
			typed += strings.TrimPrefix(strings.TrimRight(line, "\n"), "  ") + "\n"
		}
		c.send(typed)
		if r, ok := c.next(); !ok || r.status != protocol.StatusOK {
			t.Errorf("%q is answered %+v", typed, r)
		}
	}
	if examples < 6 {
		t.Errorf("the help has %d examples", examples)
	}
}
