package wire

import (
	"bytes"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// A letter that differs in any bit, or comes from elsewhere, is noticed.
func TestLetter_EachBitCounts(t *testing.T) {
	q := Queue{"topic", 3}
	letter := Letter(q, 42, 100)
	if n, err := OpenLetter(q, letter); n != 42 || err != nil {
		t.Fatalf("a good letter: %d, %v", n, err)
	}
	for i := range letter {
		for bit := range 8 {
			bad := bytes.Clone(letter)
			bad[i] ^= 1 << bit
			if n, err := OpenLetter(q, bad); err == nil {
				t.Errorf("bit %d of byte %d changed: read as letter %d", bit, i, n)
			}
		}
		if _, err := OpenLetter(q, letter[:i]); err == nil {
			t.Errorf("cut at byte %d: not noticed", i)
		}
	}
	if _, err := OpenLetter(Queue{"topic", 4}, letter); err == nil {
		t.Error("a letter of another partition was not noticed")
	}
}

func TestMessages_LeavesOutThePartAtTheEnd(t *testing.T) {
	b := protocol.AppendMessage(nil, 1, 0, []byte("one"))
	b = protocol.AppendMessage(b, 2, 0, []byte("two"))
	for cut := range b {
		list, next, err := Messages(100, b[:cut])
		if want := cut / 23; err != nil || len(list) != want || next != 100+int64(want)*23 {
			t.Fatalf("cut at %d: %d messages, next %d, %v", cut, len(list), next, err)
		}
	}
	b[22] ^= 1
	if list, next, err := Messages(0, b); err == nil || len(list) != 0 || next != 0 {
		t.Fatalf("a bit changed: %d messages, next %d, %v", len(list), next, err)
	}
}
