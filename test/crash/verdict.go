package crash

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
)

// A verdict counts what a run shows. All but the first three have to be 0.
type verdict struct {
	acknowledged int // puts that the broker answered with 200
	unknown      int // puts that were sent and not answered, stored or not
	kept         int // of those, how many are stored

	lost      int // acknowledged, and not at its offset, or not with its id
	altered   int // stored with a body that was not sent, or with a wrong checksum
	invented  int // stored, and never sent
	doubled   int // stored twice
	reordered int // stored before something that its writer sent earlier
	ids       int // not larger than the id before it in its partition
	dirty     int // given to a reader, and not there in the end, or not the same

	examples []string
}

// exampleCount bounds what is printed of a bad run.
const exampleCount = 20

func (v *verdict) note(count *int, format string, args ...any) {
	*count++
	if len(v.examples) < exampleCount {
		v.examples = append(v.examples, fmt.Sprintf(format, args...))
	}
}

func (v *verdict) bad() int {
	return v.lost + v.altered + v.invented + v.doubled + v.reordered + v.ids + v.dirty
}

func (v *verdict) String() string {
	return fmt.Sprintf("acknowledged %d: lost %d, altered %d, doubled %d, reordered %d; invented %d, ids that do not rise %d, dirty reads %d; unanswered %d, of which stored %d",
		v.acknowledged, v.lost, v.altered, v.doubled, v.reordered, v.invented, v.ids, v.dirty, v.unknown, v.kept)
}

// judge compares a partition's messages with what its writers and its reader remember. Messages come through visit, in
// the partition's order; finish ends it.
type judge struct {
	v       *verdict
	queue   queue
	writers map[int]*judged
	seen    []sight // what is left of the reader's, in the order of offsets
	lastID  int64
}

// judged is a writer and how far its messages have been found.
type judged struct {
	*writer
	last     int64     // the highest number found
	found    []bool    // by number
	receipts []receipt // that have not been found, by number
}

func newJudge(v *verdict, q queue, writers []*writer, r *reader) *judge {
	j := &judge{v: v, queue: q, writers: make(map[int]*judged), seen: r.seen, lastID: -1 << 63}
	for _, w := range writers {
		if w.queue == q {
			// An answer that had to wait for a flush may be overtaken by later ones.
			receipts := slices.SortedFunc(slices.Values(w.receipts), func(a, b receipt) int { return cmp.Compare(a.n, b.n) })
			j.writers[w.number] = &judged{writer: w, last: -1, found: make([]bool, w.next), receipts: receipts}
			v.acknowledged += len(w.receipts)
		}
	}
	return j
}

func (j *judge) visit(m stored, broken error) {
	where := fmt.Sprintf("%s at %d", j.queue, m.offset)
	if m.id <= j.lastID {
		j.v.note(&j.v.ids, "%s: id %d after %d", where, m.id, j.lastID)
	}
	j.lastID = m.id
	j.check(m, where)
	if broken != nil {
		j.v.note(&j.v.altered, "%s: %v", where, broken)
		return
	}
	name, err := parseNumber(m.data)
	if err != nil {
		j.v.note(&j.v.altered, "%s: %v", where, err)
		return
	}
	w := j.writers[name.writer]
	if w == nil || name.n < 0 || name.n >= w.next {
		j.v.note(&j.v.invented, "%s: message %d of writer %d was never sent here", where, name.n, name.writer)
		return
	}
	if !bytes.Equal(m.data, name.body()) {
		j.v.note(&j.v.altered, "%s: message %d of writer %d has another body", where, name.n, name.writer)
		return
	}
	switch {
	case w.found[name.n]:
		j.v.note(&j.v.doubled, "%s: message %d of writer %d again", where, name.n, name.writer)
		return
	case name.n < w.last:
		j.v.note(&j.v.reordered, "%s: message %d of writer %d after its %d", where, name.n, name.writer, w.last)
	}
	w.found[name.n] = true
	w.last = max(w.last, name.n)
	j.receive(w, name.n, m, where)
}

// receive compares a sound message with its receipt. Receipts are in the order of numbers, as the messages should be:
// one that is passed over has no message.
func (j *judge) receive(w *judged, n int64, m stored, where string) {
	for len(w.receipts) > 0 && w.receipts[0].n < n {
		j.lose(w)
	}
	if len(w.receipts) == 0 || w.receipts[0].n > n {
		j.v.kept++
		return
	}
	r := w.receipts[0]
	if r.offset != m.offset || r.id != m.id {
		j.v.note(&j.v.lost, "%s: message %d of writer %d with id %d was acknowledged at %d with id %d", where, n, w.number, m.id, r.offset, r.id)
	}
	w.receipts = w.receipts[1:]
}

func (j *judge) lose(w *judged) {
	r := w.receipts[0]
	w.receipts = w.receipts[1:]
	j.v.note(&j.v.lost, "%s at %d: message %d of writer %d, acknowledged with id %d, is not there", j.queue, r.offset, r.n, w.number, r.id)
}

// check compares a message with what the reader was given at its offset.
func (j *judge) check(m stored, where string) {
	for len(j.seen) > 0 && j.seen[0].offset < m.offset {
		j.v.note(&j.v.dirty, "%s at %d: a reader was given a message that is not there", j.queue, j.seen[0].offset)
		j.seen = j.seen[1:]
	}
	if len(j.seen) == 0 || j.seen[0].offset > m.offset {
		return
	}
	if s := j.seen[0]; s.id != m.id || s.sum != crc32.ChecksumIEEE(m.data) {
		j.v.note(&j.v.dirty, "%s: a reader was given another message", where)
	}
	j.seen = j.seen[1:]
}

// finish counts what was never found.
func (j *judge) finish() {
	for _, w := range j.writers {
		for len(w.receipts) > 0 {
			j.lose(w)
		}
		j.v.unknown += int(w.next) - len(w.writer.receipts)
	}
	for _, s := range j.seen {
		j.v.note(&j.v.dirty, "%s at %d: a reader was given a message that is not there", j.queue, s.offset)
	}
}
