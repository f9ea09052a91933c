package protocol

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDocument_HasEveryVerb(t *testing.T) {
	doc := document(t)
	for v := VerbPut; v <= VerbOpen; v++ {
		if !strings.Contains(doc, "\n    "+v.String()) {
			t.Errorf("PROTOCOL.md has no line that shows %v", v)
		}
	}
}

func TestDocument_ExamplesAreRight(t *testing.T) {
	doc := document(t)
	var r Request
	_, err := limits.Parse([]byte("get greetings me 0 zero 4096 5\r\n"), &r)
	if err == nil {
		t.Fatal("the bad example is accepted")
	}
	answer := strings.ReplaceAll(string(AppendResult(nil, StatusBadRequest, 5, err.Error())), CRLF, "\n    ")
	if !strings.Contains(doc, answer) {
		t.Errorf("PROTOCOL.md does not have\n    %s", answer)
	}
	stored := ""
	for line := range strings.Lines(doc) {
		_, rest, ok := strings.Cut(line, "| `00000")
		if !ok {
			continue
		}
		text, _, _ := strings.Cut("00000"+rest, "`")
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		m, size, err := DecodeMessage(b)
		if err != nil || size != len(b) || m.ID != 1234567 {
			t.Errorf("%s: %+v, %d of %d bytes, %v", line, m, size, len(b), err)
		}
		_, payload, err := m.Attribute()
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		stored += string(payload) + ","
	}
	if stored != "hello,a,,hello," {
		t.Errorf("the examples of stored messages hold %q", stored)
	}
}
