package main

import (
	"testing"
	"time"
)

func TestParsePlace(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	local := func(h, m int) time.Time { return time.Date(2026, 11, 20, h, m, 0, 0, time.Local) }
	for _, c := range []struct {
		in   string
		want place
	}{
		{"earliest", place{kind: atEarliest}},
		{"latest", place{kind: atLatest}},
		{"0", place{kind: atOffset}},
		{"1048576", place{kind: atOffset, offset: 1 << 20}},
		{"2026-11-20T10:30:00Z", place{kind: atTime, time: time.Date(2026, 11, 20, 10, 30, 0, 0, time.UTC)}},
		{"2026-11-20 10:30", place{kind: atTime, time: local(10, 30)}},
		{"2026-11-20", place{kind: atTime, time: local(0, 0)}},
		{"90m", place{kind: atTime, time: now.Add(-90 * time.Minute)}},
		{"-90m", place{kind: atTime, time: now.Add(-90 * time.Minute)}},
	} {
		got, err := parsePlace(c.in, now)
		if err != nil {
			t.Errorf("parsePlace(%q): %v", c.in, err)
			continue
		}
		if got.kind != c.want.kind || got.offset != c.want.offset || !got.time.Equal(c.want.time) {
			t.Errorf("parsePlace(%q) = %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestParsePlace_RefusesWhatItDoesNotKnow(t *testing.T) {
	for _, in := range []string{"", "first", "-5", "12x", "2026-13-01", "99999999999999999999"} {
		if got, err := parsePlace(in, time.Now()); err == nil {
			t.Errorf("parsePlace(%q) = %+v, want an error", in, got)
		}
	}
}
