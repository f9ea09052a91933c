package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A place is where reading starts: the value of --from.
type place struct {
	kind   placeKind
	offset int64     // for atOffset
	time   time.Time // for atTime
}

type placeKind uint8

const (
	atEarliest placeKind = iota
	atLatest
	atOffset
	atTime
)

// placeHelp is what messages and help say about --from.
const placeHelp = "earliest, latest, an offset in bytes, a time such as 2026-11-21T14:30:00Z or '2026-11-21 14:30', or an age such as 15m"

// timeLayouts are the times that --from takes; those without a zone are local.
var timeLayouts = []string{
	time.RFC3339Nano,
	"2006-01-02T15:04:05",
	"2006-01-02T15:04",
	"2006-01-02 15:04:05",
	"2006-01-02 15:04",
	"2006-01-02",
}

func parsePlace(s string, now time.Time) (place, error) {
	switch s {
	case "earliest":
		return place{kind: atEarliest}, nil
	case "latest":
		return place{kind: atLatest}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return place{kind: atOffset, offset: n}, nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return place{kind: atTime, time: t}, nil
		}
	}
	// An age may be written with or without the minus sign.
	if age, err := time.ParseDuration(strings.TrimPrefix(s, "-")); err == nil {
		return place{kind: atTime, time: now.Add(-age)}, nil
	}
	return place{}, fmt.Errorf("%q is not a place to start: use %s", s, placeHelp)
}
