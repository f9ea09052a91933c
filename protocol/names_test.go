package protocol

import (
	"strings"
	"testing"
)

func TestParseTopic(t *testing.T) {
	for _, s := range []string{"t", "a-1", "a.b", "_x", "0", "T-0", "a..b", strings.Repeat("x", 255)} {
		if got, err := ParseTopic(s); err != nil || string(got) != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, c := range []struct{ in, says string }{
		{"", "empty"}, {"..", "beginning"}, {".x", "beginning"}, {"-x", "beginning"}, {"../x", "letters"}, {"a/b", "letters"}, {"a\\b", "letters"},
		{"a b", "letters"}, {"a\r\nEND", `"a\r\nEND"`}, {"a\x00", "letters"}, {"ü", "letters"}, {"%2e", "letters"}, {"a*", "letters"},
		{strings.Repeat("x", 256), "255"},
	} {
		if _, err := ParseTopic(c.in); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "topic") {
			t.Errorf("%.20q: %v, want %q in it", c.in, err, c.says)
		}
		if _, err := ParseGroup(c.in); err == nil || !strings.Contains(err.Error(), "group") {
			t.Errorf("%.20q as a group: %v", c.in, err)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"t", "a-1", "../x", "a/../../b", "%2e", ".x", "-x", "con", strings.Repeat("x", 256), "ü", "a b", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := ParseTopic(s)
		if ok := ValidTopic([]byte(s)); ok != (err == nil) {
			t.Fatalf("%q: %v, but ValidTopic says %v", s, err, ok)
		}
		if err == nil && (strings.ContainsAny(s, "/\\ \r\n\x00%:*") || s == "." || s == ".." || len(s) > 255) {
			t.Fatalf("%q passes", s)
		}
	})
}
