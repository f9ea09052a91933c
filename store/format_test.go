package store

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// The example in FORMAT.md is what the code writes: whoever changes the format changes both.
func TestFormat_TheExampleInTheDocument(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(text), "<!-- example -->")
	if !ok {
		t.Fatal("FORMAT.md has no example")
	}
	var want strings.Builder
	for line := range strings.Lines(example) {
		if strings.HasPrefix(line, "## ") {
			break
		}
		if _, digits, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "    ") {
			digits, _, _ = strings.Cut(digits, " |")
			want.WriteString(strings.ReplaceAll(strings.TrimSpace(digits), " ", ""))
		}
	}
	frame := make([]byte, frameHeader)
	frame = protocol.AppendMessage(frame, 4611686018427387904, 0, []byte("hello"))
	putHeader(frame, header{kind: kindMessage, count: 1, epoch: 1, queue: 1, lag: 56, pos: 4096, logical: 25, time: 1700000000000}, 0x1b2e4a90)
	if got := hex.EncodeToString(frame); got != want.String() {
		t.Errorf("the code writes\n%s\nFORMAT.md shows\n%s", got, want.String())
	}
}
