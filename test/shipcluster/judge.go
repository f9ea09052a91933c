package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/metaq/metaq/client"
)

// topic is what was sent to a topic, and what the group was given of it. Lines have numbers, from 0 on, which travel in the attribute of their messages: a log
// holds equal lines.
type topic struct {
	name    string
	lines   [][]byte           // repeated for ever
	ordered []client.Partition // the partitions whose order is kept, in turn; nil for a topic without

	mu           sync.Mutex
	acknowledged []bool // by number
	stored       int    // how many are
	owed         int    // and were not given yet
	spilled      int    // how many of them waited on the producer's disk
	failed       []error
	given        []bool // by number
	read         int    // messages, repetitions included
	places       map[client.Partition]*place

	altered, foreign, leftOut, outOfOrder, misplaced int // what must not be
	storedTwice, givenTwice                          int // what at least once allows
	lateByRetry                                      int // lines that came behind later ones in their partition: they were tried elsewhere first
	wrong                                            string
}

// place is how far the group was given a partition.
type place struct {
	at   int64 // where the last message that was given ended
	next int64 // where the first one begins that has never been given
	last int   // the highest number so far
}

func newTopic(name string, lines [][]byte, ordered []client.Partition) *topic {
	return &topic{name: name, lines: lines, ordered: ordered, places: map[client.Partition]*place{}}
}

// message is the line of a number.
func (t *topic) message(number int) client.Message {
	m := client.Message{Topic: t.name, Attribute: strconv.Itoa(number), Body: t.lines[number%len(t.lines)]}
	if t.ordered != nil {
		p := t.partitionOf(number)
		m.Partition = client.AtBroker(p.Broker, p.Number)
	}
	return m
}

func (t *topic) partitionOf(number int) client.Partition { return t.ordered[number%len(t.ordered)] }

// note is told what became of a line that was sent.
func (t *topic) note(number int, r client.Receipt, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed = append(t.failed, fmt.Errorf("line %d of %s was refused: %w", number, t.name, err))
		return
	}
	t.acknowledged = set(t.acknowledged, number)
	t.stored++
	if !is(t.given, number) {
		t.owed++
	}
	if r.Spilled {
		t.spilled++
	}
}

func set(list []bool, number int) []bool {
	for len(list) <= number {
		list = append(list, false)
	}
	list[number] = true
	return list
}

func is(list []bool, number int) bool { return number < len(list) && list[number] }

// take judges a message that a member of the group was given.
func (t *topic) take(m client.Received) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read++
	where := client.Partition{Broker: m.Broker, Number: m.Partition}
	p := t.places[where]
	if p == nil {
		p = &place{last: -1}
		t.places[where] = p
	}
	if m.Offset > p.at {
		t.bad(&t.leftOut, "%s %s: a message at %d was given after one that ended at %d", t.name, where, m.Offset, p.at)
	}
	again := m.Offset < p.next
	p.at = m.Next
	p.next = max(p.next, m.Next)

	number, err := strconv.Atoi(m.Attribute)
	if err != nil || number < 0 {
		t.bad(&t.foreign, "%s %s: a message at %d has the number %q", t.name, where, m.Offset, m.Attribute)
		return
	}
	if want := t.lines[number%len(t.lines)]; !bytes.Equal(m.Body, want) {
		t.bad(&t.altered, "%s: line %d\n  sent  %.200q\n  given %.200q", t.name, number, want, m.Body)
	}
	if t.ordered != nil && where != t.partitionOf(number) {
		t.bad(&t.misplaced, "%s: line %d is in %s, want %s", t.name, number, where, t.partitionOf(number))
	}
	switch {
	case again:
		t.givenTwice++
	case is(t.given, number):
		t.storedTwice++ // the producer sent it again, because it had no answer
	case number < p.last && t.ordered != nil:
		t.bad(&t.outOfOrder, "%s %s: line %d came behind line %d", t.name, where, number, p.last)
	case number < p.last:
		t.lateByRetry++
	}
	if is(t.acknowledged, number) && !is(t.given, number) {
		t.owed--
	}
	t.given = set(t.given, number)
	p.last = max(p.last, number)
}

// bad counts what must not be, and remembers the first.
func (t *topic) bad(count *int, format string, args ...any) {
	*count++
	if t.wrong == "" {
		t.wrong = fmt.Sprintf(format, args...)
	}
}

func (t *topic) acknowledgedSoFar() int { return t.count(func(t *topic) int { return t.stored }) }

// count reads a number of a topic.
func (t *topic) count(of func(*topic) int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return of(t)
}

// verdict prints what is to be counted, and is an error if anything is wrong.
func (t *topic) verdict(out io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(out, "topic %s: %d lines, lost %d, altered %d, left out or out of order %d, stored twice %d, given twice %d",
		t.name, t.stored, t.owed, t.altered, t.leftOut+t.outOfOrder+t.misplaced, t.storedTwice, t.givenTwice)
	if t.ordered == nil {
		fmt.Fprintf(out, ", %d behind later ones because their broker was away", t.lateByRetry)
	}
	fmt.Fprintln(out)
	if len(t.failed) > 0 {
		return fmt.Errorf("%d lines were not accepted: %w", len(t.failed), t.failed[0])
	}
	for number, ok := range t.acknowledged {
		if ok && !is(t.given, number) {
			return fmt.Errorf("%s: %d lines were acknowledged and never given to the group, the first of them is number %d: %.200q",
				t.name, t.owed, number, t.lines[number%len(t.lines)])
		}
	}
	if t.wrong != "" {
		return errors.New(t.wrong)
	}
	return nil
}
