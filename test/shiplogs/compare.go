package main

import (
	"bytes"
	"fmt"
)

// result is what a comparison counts.
type result struct {
	lines      int // of the original
	bytes      int64
	duplicates int // lines that were stored twice
	rewinds    int // places where something was sent again
}

// deal gives every partition its lines, in turn and beginning with one of them, as a producer does that has nothing else to go by.
func deal(lines [][]byte, partitions, first int) [][][]byte {
	dealt := make([][][]byte, partitions)
	for i, line := range lines {
		p := (first + i) % partitions
		dealt[p] = append(dealt[p], line)
	}
	return dealt
}

// split cuts a file into its lines, each without its newline.
func split(text []byte) [][]byte {
	text = bytes.TrimSuffix(text, []byte("\n"))
	if len(text) == 0 {
		return nil
	}
	return bytes.Split(text, []byte("\n"))
}

// compare checks that got is want, line by line and byte by byte. Only one thing is allowed besides: a run of lines that
// was stored may follow a second time, directly behind itself, as when a producer sends again what was not answered
// because the broker died. At most so many lines may come twice at one place.
func compare(want, got [][]byte, most int) (result, error) {
	var r result
	i, j := 0, 0
	for j < len(got) {
		if i < len(want) && bytes.Equal(want[i], got[j]) {
			r.bytes += int64(len(want[i])) + 1
			i++
			j++
			continue
		}
		n := rewind(want[:i], want[i:], got[j:], most)
		if n == 0 {
			return r, differs(want, got, i, j)
		}
		r.rewinds++
		r.duplicates += n
		j += n
	}
	r.lines = i
	if i < len(want) {
		return r, fmt.Errorf("%d lines are missing at the end, from line %d on: %.200q", len(want)-i, i+1, want[i])
	}
	return r, nil
}

// ahead is how many lines behind a doubled run are looked at, so that its length is not mistaken where equal lines begin
// and end it.
const ahead = 100

// rewind returns an n so that the last n lines of before come again at the start of got, with what comes next behind them;
// 0 when there is none.
func rewind(before, next, got [][]byte, most int) int {
	shortest := 0
	for n := 1; n <= min(most, len(before), len(got)); n++ {
		if !begins(got[:n], before[len(before)-n:]) {
			continue
		}
		if begins(got[n:], next[:min(ahead, len(next))]) {
			return n
		}
		if shortest == 0 {
			shortest = n
		}
	}
	return shortest
}

// begins says whether two runs of lines are equal as far as both go.
func begins(a, b [][]byte) bool {
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func differs(want, got [][]byte, i, j int) error {
	if i == len(want) {
		return fmt.Errorf("%d lines too many at the end, from %.200q on", len(got)-j, got[j])
	}
	return fmt.Errorf("line %d differs:\n  sent   %.200q\n  stored %.200q", i+1, want[i], got[j])
}
