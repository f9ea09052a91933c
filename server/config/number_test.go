package config

import (
	"strings"
	"testing"
)

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "007": 7, "1024*1024": 1 << 20, "1024 * 1024 * 1024": 1 << 30, "10*(2+3)-7": 43, "7/2": 3, "-7/2": -3, "7%4": 3,
		"0x10": 16, "2*-3": -6, "9223372036854775807": 1<<63 - 1, "010*1": 10,
	} {
		if got, err := parseNumber(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "x", "1.5", "1+", "(1", "1/0", "1%0", "1<<3", "1_000", "0b1", "f(1)", "len", "!1", "^1", "'a'", `"1"`, "1==1", "9223372036854775808",
		"9223372036854775807*2", "func(){}", strings.Repeat("1+", 100) + "1", strings.Repeat("(", 10000),
	} {
		if got, err := parseNumber(text); err == nil {
			t.Errorf("%.40s: %d, want an error", text, got)
		}
	}
}
