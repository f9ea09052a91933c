package protocol

import (
	"strings"
	"testing"
)

func TestParseVerb(t *testing.T) {
	for v := VerbPut; v <= VerbOpen; v++ {
		word := v.String()
		for _, w := range []string{word, strings.ToUpper(word), strings.ToUpper(word[:1]) + word[1:]} {
			if got := ParseVerb([]byte(w)); got != v {
				t.Errorf("%s: %v", w, got)
			}
		}
		for _, w := range []string{word + "s", word[:len(word)-1], " " + word} {
			if got := ParseVerb([]byte(w)); got == v {
				t.Errorf("%q is taken for %v", w, v)
			}
		}
		if !strings.HasPrefix(v.Usage(), word) {
			t.Errorf("%v: usage %q", v, v.Usage())
		}
	}
	if got := Verb(200); got.String() != "unknown" || got.Usage() != "" {
		t.Errorf("an unknown verb is %q, %q", got, got.Usage())
	}
	if got := ParseVerb(nil); got != VerbNone {
		t.Errorf("no word is %v", got)
	}
}
