package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Checks are the names of all checks, and what each of them holds against the broker.
var Checks = []struct{ Name, Rule string }{
	{"lost-acked", "each acknowledged put is at its offset in the final read, unless its level allows the loss"},
	{"unseen", "below the highest offset that a group has read, each acknowledged put was delivered to it"},
	{"invented", "each message that was read was put, unaltered, and not refused"},
	{"divergence", "the same offset gives the same message in every read"},
	{"duplicate", "a message that was sent once and acknowledged is stored once"},
	{"order", "what a connection sent is stored in its order: offsets, and message ids, rise"},
	{"framing", "each message of a read begins where the one before ended"},
	{"watermark", "the readable end of a partition never falls, and is not before what was read or acknowledged"},
	{"dirty-read", "what a reader was given is there in the end"},
	{"offset-register", "the committed offsets of a group are those of a register: no stale, no invented, no lost value"},
	{"liveness", "every operation ends, and after the last fault puts are acknowledged again"},
}

// A Check is what one check has found.
type Check struct {
	Name     string   `json:"name"`
	Count    int      `json:"count"`
	Examples []string `json:"examples,omitempty"`
}

// A Verdict is what a history shows.
type Verdict struct {
	Test string `json:"test"`
	Seed uint64 `json:"seed"`
	Good bool   `json:"good"`

	Puts    map[string]int `json:"puts"`    // by how they ended: ok, fail, info
	Kept    int            `json:"kept"`    // unknown ones that turned out to be stored
	Stored  int            `json:"stored"`  // messages in the final reads
	Bytes   int64          `json:"bytes"`   // of them, headers included
	Read    int            `json:"read"`    // messages that readers were given before
	Commits int            `json:"commits"` // of offsets, acknowledged
	Faults  map[string]int `json:"faults"`  // by kind
	Again   int            `json:"again"`   // duplicates that are allowed: sent more than once, or unknown
	Expired int            `json:"expired"` // acknowledged puts that retention has removed

	// What power cuts took of level L0, as its level allows.
	Allowed      int            `json:"allowed"`      // acknowledged messages lost within the window
	WorstLoss    int            `json:"worst_loss"`   // the most of one partition at one cut
	WorstWindow  time.Duration  `json:"worst_window"` // the longest time from an acknowledgement to the cut that took it
	AckedAtLevel map[string]int `json:"acked_at_level"`

	// Times from a fault's end to the first acknowledged put after it; sorted.
	Recovery []time.Duration `json:"recovery"`

	Checks []Check `json:"checks"`
}

// exampleCount bounds what is told of one check.
const exampleCount = 10

func newVerdict() *Verdict {
	v := &Verdict{Puts: map[string]int{}, Faults: map[string]int{}, AckedAtLevel: map[string]int{}}
	for _, c := range Checks {
		v.Checks = append(v.Checks, Check{Name: c.Name})
	}
	return v
}

// convict counts something that must not be.
func (v *Verdict) convict(check, format string, args ...any) {
	i := slices.IndexFunc(v.Checks, func(c Check) bool { return c.Name == check })
	c := &v.Checks[i]
	c.Count++
	if len(c.Examples) < exampleCount {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// Convicted lists the checks that found something.
func (v *Verdict) Convicted() []string {
	var names []string
	for _, c := range v.Checks {
		if c.Count > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// Count is what a check found.
func (v *Verdict) Count(check string) int {
	for _, c := range v.Checks {
		if c.Name == check {
			return c.Count
		}
	}
	return 0
}

// String is the verdict as a reader wants it: one line if all is well, else with what is wrong.
func (v *Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d puts acknowledged, %d refused, %d unknown (%d of them stored); %d stored, %d read, %d offsets committed; allowed: %d again, %d expired, %d lost at L0",
		v.Puts[OK], v.Puts[Fail], v.Puts[Info], v.Kept, v.Stored, v.Read, v.Commits, v.Again, v.Expired, v.Allowed)
	if v.Good {
		b.WriteString("; nothing lost, altered or out of order")
		return b.String()
	}
	for _, c := range v.Checks {
		if c.Count == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s: %d", c.Name, c.Count)
		for _, e := range c.Examples {
			fmt.Fprintf(&b, "\n  %s", e)
		}
	}
	return b.String()
}

// Quantile is a quantile of sorted durations, 0 of none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))].Round(100 * time.Microsecond)
}
