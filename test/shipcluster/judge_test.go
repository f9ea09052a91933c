package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/metaq/metaq/client"
)

// partitionLog is partition 0-0 as its broker has it.
type partitionLog struct{ end int64 }

// given is the next message of a partition: NUMBER of a line, or NUMBER=BODY.
func (p *partitionLog) given(topic, line string) client.Received {
	number, body, changed := strings.Cut(line, "=")
	n, _ := strconv.Atoi(number)
	m := client.Received{Topic: topic, Offset: p.end, Next: p.end + 10, Attribute: number, Body: threeLines[n%3]}
	if changed {
		m.Body = []byte(body)
	}
	p.end = m.Next
	return m
}

var threeLines = [][]byte{[]byte("a"), []byte("b"), []byte("c")}

// Five lines were acknowledged. What is stored of them in a partition is listed, and what of that the group was given, by its place there: all of it, in turn, if
// nothing is said.
func TestVerdict(t *testing.T) {
	one := []client.Partition{{Broker: 0, Number: 0}}
	for name, c := range map[string]struct {
		ordered []client.Partition
		stored  string
		given   []int
		wrong   string // in the error; "" for none
		says    string // in the line of figures
	}{
		"everything":                           {stored: "0 1 2 3 4", says: "5 lines, lost 0, altered 0, left out or out of order 0, stored twice 0, given twice 0"},
		"everything, in order":                 {ordered: one, stored: "0 1 2 3 4"},
		"the last one is not there":            {stored: "0 1 2 3", wrong: "1 lines were acknowledged and never given to the group, the first of them is number 4", says: "lost 1"},
		"one is not there":                     {stored: "0 1 3 4", wrong: "number 2"},
		"one is stored and left out":           {stored: "0 1 2 3 4", given: []int{0, 1, 3, 4}, wrong: "the first of them is number 2", says: "left out or out of order 1"},
		"the first one is left out":            {stored: "0 1 2 3 4", given: []int{1, 2, 3, 4}, wrong: "the first of them is number 0", says: "left out or out of order 1"},
		"left out once, given later":           {stored: "0 1 2 3 4", given: []int{0, 2, 1, 2, 3, 4}, wrong: "was given after"},
		"a byte is another":                    {stored: "0 1=B 2 3 4", wrong: `given "B"`, says: "altered 1"},
		"a byte too many":                      {stored: "0 1 2 3 4=bb", wrong: `given "bb"`},
		"from nobody":                          {stored: "0 1 x=hello 2 3 4", wrong: `has the number "x"`},
		"given again from the third one":       {stored: "0 1 2 3 4", given: []int{0, 1, 2, 3, 2, 3, 4}, says: "stored twice 0, given twice 2"},
		"given again, and one is left out":     {stored: "0 1 2 3 4", given: []int{0, 1, 2, 3, 0, 2, 3, 4}, wrong: "was given after"},
		"stored twice":                         {stored: "0 1 1 2 3 4", says: "stored twice 1, given twice 0"},
		"stored twice where the order is kept": {ordered: one, stored: "0 1 2 1 2 3 4", says: "stored twice 2"},
		"one came late":                        {stored: "0 2 3 1 4", says: "1 behind later ones"},
		"one came late where that must not be": {ordered: one, stored: "0 2 3 1 4", wrong: "line 1 came behind line 3", says: "left out or out of order 1"},
		"in another partition":                 {ordered: []client.Partition{{Broker: 0, Number: 0}, {Broker: 1, Number: 0}}, stored: "0 1 2 3 4", wrong: "line 1 is in 0-0, want 1-0"},
	} {
		t.Run(name, func(t *testing.T) {
			topic := newTopic("t", threeLines, c.ordered)
			for number := range 5 {
				topic.note(number, client.Receipt{}, nil)
			}
			log := &partitionLog{}
			var all []client.Received
			for _, line := range strings.Fields(c.stored) {
				all = append(all, log.given("t", line))
			}
			if c.given == nil {
				for i := range all {
					c.given = append(c.given, i)
				}
			}
			for _, i := range c.given {
				topic.take(all[i])
			}
			var out strings.Builder
			err := topic.verdict(&out)
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("%v, want %q", err, c.wrong)
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("it says %q, want %q", out.String(), c.says)
			}
		})
	}
}

// What the producer could not send is an error, and what was given before its answer came is not lost.
func TestVerdict_Answers(t *testing.T) {
	topic := newTopic("t", threeLines, nil)
	topic.take((&partitionLog{}).given("t", "0"))
	topic.note(0, client.Receipt{}, nil)
	if err := topic.verdict(io.Discard); err != nil {
		t.Errorf("given before it was acknowledged: %v", err)
	}
	topic.note(1, client.Receipt{}, errors.New("no room"))
	if err := topic.verdict(io.Discard); err == nil || !strings.Contains(err.Error(), "line 1 of t was refused: no room") {
		t.Errorf("%v", err)
	}
}

// Lines travel as they are, with their number, and repeat.
func TestMessage(t *testing.T) {
	topic := newTopic("t", threeLines, orderedPartitions)
	m := topic.message(7)
	if p, made := m.Partition.Partition(); !made || fmt.Sprintf("%s %s %s %s", m.Topic, m.Attribute, m.Body, p) != "t 7 b 1-1" {
		t.Errorf("%+v", m)
	}
}
