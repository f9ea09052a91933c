package crash

import (
	"hash/crc32"
	"slices"
	"testing"
)

var testQueue = queue{"t", 0}

// run is a small history: a writer that sent four messages, three of them acknowledged, and a reader that saw two.
type run struct {
	writers []*writer
	reader  *reader
	stored  []stored
}

func newRun() *run {
	w := &writer{number: 3, queue: testQueue, next: 4}
	r := &reader{queue: testQueue}
	var messages []stored
	var offset int64
	for n := range int64(4) {
		m := stored{offset: offset, id: 100 + n, data: number{3, n}.body()}
		messages = append(messages, m)
		if n < 3 {
			w.receipts = append(w.receipts, receipt{n, m.id, m.offset})
		}
		if n < 2 {
			r.seen = append(r.seen, sight{m.offset, m.id, crc32.ChecksumIEEE(m.data)})
		}
		offset += header + int64(len(m.data))
	}
	return &run{writers: []*writer{w}, reader: r, stored: messages}
}

func (r *run) judge() *verdict {
	v := new(verdict)
	j := newJudge(v, testQueue, r.writers, r.reader)
	for _, m := range r.stored {
		j.visit(m, nil)
	}
	j.finish()
	return v
}

// The judge is worth something only if it convicts: each case spoils a good run in one way.
func TestJudgeConvicts(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(*run)
		want  verdict // the counts that must come out, all others 0
	}{
		{"a good run", func(*run) {}, verdict{acknowledged: 3, unknown: 1, kept: 1}},
		{"answers that were overtaken", func(r *run) { slices.Reverse(r.writers[0].receipts) }, verdict{acknowledged: 3, unknown: 1, kept: 1}},
		{"the unanswered one is not stored", func(r *run) { r.stored = r.stored[:3] }, verdict{acknowledged: 3, unknown: 1}},
		{"one in the middle is gone", func(r *run) { r.stored = slices.Delete(r.stored, 2, 3) }, verdict{acknowledged: 3, unknown: 1, kept: 1, lost: 1}},
		{"the tail is gone", func(r *run) { r.stored = r.stored[:2] }, verdict{acknowledged: 3, unknown: 1, lost: 1}},
		{"everything is gone", func(r *run) { r.stored = nil }, verdict{acknowledged: 3, unknown: 1, lost: 3, dirty: 2}},
		{"one that was read is gone", func(r *run) { r.stored = slices.Delete(r.stored, 1, 2) }, verdict{acknowledged: 3, unknown: 1, kept: 1, lost: 1, dirty: 1}},
		{"another offset", func(r *run) { r.stored[2].offset++ }, verdict{acknowledged: 3, unknown: 1, kept: 1, lost: 1}},
		{"another id", func(r *run) { r.stored[2].id = 150; r.stored[3].id = 151 }, verdict{acknowledged: 3, unknown: 1, kept: 1, lost: 1}},
		{"an id that does not rise", func(r *run) { r.stored[3].id = 102 }, verdict{acknowledged: 3, unknown: 1, kept: 1, ids: 1}},
		{"a bit of the body", func(r *run) { r.stored[2].data[len(r.stored[2].data)-1] ^= 1 }, verdict{acknowledged: 3, unknown: 1, kept: 1, altered: 1, lost: 1}},
		{"a bit of what was read", func(r *run) { r.stored[1].data[len(r.stored[1].data)-1] ^= 1 }, verdict{acknowledged: 3, unknown: 1, kept: 1, altered: 1, lost: 1, dirty: 1}},
		{"no number", func(r *run) { r.stored[3].data = nil }, verdict{acknowledged: 3, unknown: 1, altered: 1}},
		{"one that was not sent", func(r *run) { r.stored[3].data = number{3, 4}.body() }, verdict{acknowledged: 3, unknown: 1, invented: 1}},
		{"one of a stranger", func(r *run) { r.stored[3].data = number{4, 0}.body() }, verdict{acknowledged: 3, unknown: 1, invented: 1}},
		{"one twice", func(r *run) { r.stored[3].data = number{3, 2}.body() }, verdict{acknowledged: 3, unknown: 1, doubled: 1}},
		{"two exchanged", func(r *run) {
			r.stored[2].data, r.stored[3].data = r.stored[3].data, r.stored[2].data
		}, verdict{acknowledged: 3, unknown: 1, kept: 2, reordered: 1, lost: 1}},
	}
	for _, c := range cases {
		r := newRun()
		c.spoil(r)
		got := r.judge()
		examples := got.examples
		got.examples = nil
		if got.String() != c.want.String() {
			t.Errorf("%s:\n got %v\nwant %v\n%q", c.name, got, &c.want, examples)
		}
		if (got.bad() == 0) != (len(examples) == 0) {
			t.Errorf("%s: %d faults, examples %q", c.name, got.bad(), examples)
		}
	}
}

func TestParseStoredRefusesDamage(t *testing.T) {
	good := append([]byte{
		0, 0, 0, 5, 0x36, 0x10, 0xa6, 0x86, 0, 0, 0, 0, 0, 0x12, 0xd6, 0x87, 0, 0, 0, 0,
	}, "hello"...)
	m, size, err := parseStored(good)
	if err != nil || size != 25 || m.id != 1234567 || string(m.data) != "hello" {
		t.Fatalf("got %+v, %d, %v", m, size, err)
	}
	for cut := range len(good) {
		if _, size, err := parseStored(good[:cut]); size != 0 || err != nil {
			t.Errorf("cut at %d: size %d, %v", cut, size, err)
		}
	}
	for i := range good {
		if i >= 8 && i < 16 {
			continue // the id, which only the receipt can judge
		}
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if m, size, err := parseStored(bad); err == nil && size != 0 {
			t.Errorf("a bit of byte %d: %+v", i, m)
		}
	}
}
