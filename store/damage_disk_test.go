package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// damageDisk is a data directory with some of everything, and what was put into it: data by queue and offset.
type damageDisk struct {
	fs   *vfs.Mem
	want map[string]map[int64]string
	ends map[string]int64 // of each queue
	o    Options
}

const damageBoot = "boot-1"

// newDamageDisk fills a directory: three queues, several sealed segments, a hidden group published in a later segment, and an open segment.
// It is left as a killed process leaves it, or closed.
func newDamageDisk(t testing.TB, closed bool) *damageDisk {
	t.Helper()
	d := &damageDisk{fs: vfs.NewMem(), want: map[string]map[int64]string{}, ends: map[string]int64{}}
	d.o = testOptions(d.fs, groupCommit)
	d.o.LogSegmentSize = 4 << 10
	s := mustOpen(t, d.o)
	var queues []*Queue
	for i, topic := range []string{"a", "b", "topic-c"} {
		queues = append(queues, mustQueue(t, s, topic, int32(i)))
	}
	n := 0
	batch := func(list ...*Queue) *Batch {
		var b Batch
		for _, q := range list {
			n++
			b.Add(q, 0, fmt.Appendf(nil, "%d %s", n, strings.Repeat(string(rune('a'+n%26)), n%90)))
		}
		return &b
	}
	note := func(b *Batch, list ...*Queue) {
		for i, q := range list {
			_, offset := b.Receipt(i)
			r := b.buf[b.receipts[i].at:]
			d.note(q, offset, string(r[protocol.RecordHeader:recordSize(r)]))
		}
	}
	hidden := batch(queues[1], queues[1])
	if _, err := s.AppendHidden(5, hidden); err != nil {
		t.Fatal(err)
	}
	for round := range 80 {
		q := queues[round%3]
		list := []*Queue{q, q, queues[(round+1)%3]}
		b := batch(list...)
		ack, err := s.Append(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.wait(ack); err != nil {
			t.Fatal(err)
		}
		note(b, list...)
		if round == 50 {
			d.publish(t, s, 5, hidden)
		}
		if round%20 == 7 {
			pos, err := s.CommitOffset("a", "group", 0, int64(round))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.wait(pos); err != nil {
				t.Fatal(err)
			}
		}
	}
	waitFor(t, "the full segments to be sealed", s.sealedUpTo)
	for _, q := range queues {
		d.ends[queueKey(q)] = q.Stat().End
	}
	if closed {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return d.copy()
}

func (d *damageDisk) note(q *Queue, offset int64, data string) {
	if d.want[queueKey(q)] == nil {
		d.want[queueKey(q)] = map[int64]string{}
	}
	d.want[queueKey(q)][offset] = data
}

func (d *damageDisk) publish(t testing.TB, s *Store, group int64, b *Batch) {
	t.Helper()
	q := b.frames[0].queue
	offset := q.end
	ack, err := s.Publish(group)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.wait(ack); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.receipts {
		rec := b.buf[r.at:]
		d.note(q, offset, string(rec[protocol.RecordHeader:recordSize(rec)]))
		offset += recordSize(rec)
	}
}

func splitKey(key string) (topic string, partition int32) {
	i := strings.LastIndex(key, "-")
	return key[:i], int32(key[i+1] - '0')
}

func queueKey(q *Queue) string { return fmt.Sprintf("%s-%d", q.topic, q.partition) }

// copy is the disk for one try.
func (d *damageDisk) copy() *damageDisk {
	c := *d
	c.fs = d.fs.KillClone()
	c.o.FS = c.fs
	return &c
}

func (d *damageDisk) size(t testing.TB, name string) int64 {
	t.Helper()
	n, err := d.fs.Stat(filepath.Join("data", name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// change lets fn change the bytes of a file.
func (d *damageDisk) change(t testing.TB, name string, fn func([]byte) []byte) {
	t.Helper()
	name = filepath.Join("data", name)
	b, err := d.fs.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b = fn(b)
	if err := f.Truncate(int64(len(b))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func (d *damageDisk) flip(t testing.TB, name string, at int64, bit int) {
	t.Helper()
	d.change(t, name, func(b []byte) []byte { b[at] ^= 1 << bit; return b })
}

// segments are the names of the segment files, oldest first.
func (d *damageDisk) segments(t testing.TB) []string {
	t.Helper()
	bases, _, err := segmentBases(d.fs, "data")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range bases {
		names = append(names, filepath.Join("log", fmt.Sprintf("%020d.log", b)))
	}
	return names
}

// check runs Check and says what it must.
func (d *damageDisk) check(t testing.TB, repair bool) CheckReport {
	t.Helper()
	r, err := Check(CheckOptions{FS: d.fs, Dir: "data", BootID: d.o.BootID, Repair: repair})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return r
}

// outcome is what is left of a damaged directory.
type outcome struct {
	served int
	lost   map[string]map[int64]bool // offsets that are not served
}

// read reads each message that was ever put. A wrong byte fails the test; a message that is not served counts as lost.
func (d *damageDisk) read(t testing.TB, s *Store) outcome {
	t.Helper()
	out := outcome{lost: map[string]map[int64]bool{}}
	for key, messages := range d.want {
		topic, partition := splitKey(key)
		q := s.Queue([]byte(topic), partition)
		for offset, want := range messages {
			var b []byte
			err := error(ErrEnd)
			if q != nil {
				b, err = q.Read(nil, offset, 1<<20, 1, false)
			}
			var corrupt *CorruptError
			var moved *MovedError
			switch {
			case err == nil && string(b[protocol.RecordHeader:]) != want:
				t.Fatalf("%s at %d: served %q, put %q", key, offset, b[protocol.RecordHeader:], want)
			case err == nil:
				out.served++
			case errors.As(err, &corrupt), errors.As(err, &moved), errors.Is(err, ErrEnd):
				if out.lost[key] == nil {
					out.lost[key] = map[int64]bool{}
				}
				out.lost[key][offset] = true
			default:
				t.Fatalf("%s at %d: %v", key, offset, err)
			}
			if hot, err := readHot(q, offset); err == nil && string(hot[protocol.RecordHeader:]) != want {
				t.Fatalf("%s at %d: served %q on the event loop, put %q", key, offset, hot, want)
			}
		}
		if q != nil {
			d.readThrough(t, q, key)
		}
	}
	return out
}

func readHot(q *Queue, offset int64) ([]byte, error) {
	if q == nil {
		return nil, ErrEnd
	}
	return q.Read(nil, offset, 1<<20, 1, true)
}

// readThrough reads a queue as a consumer does: on at each moved offset, until the end or an error.
func (d *damageDisk) readThrough(t testing.TB, q *Queue, key string) {
	t.Helper()
	offset := q.Stat().Min
	for {
		b, err := q.Read(nil, offset, 300, 300, false)
		var moved *MovedError
		if errors.As(err, &moved) && moved.Offset > offset {
			offset = moved.Offset
			continue
		}
		if err != nil {
			return
		}
		for len(b) >= protocol.RecordHeader && recordSize(b) <= int64(len(b)) {
			n := recordSize(b)
			if want, ok := d.want[key][offset]; !ok || string(b[protocol.RecordHeader:n]) != want {
				t.Fatalf("%s at %d: read through %q, put %q", key, offset, b[protocol.RecordHeader:n], want)
			}
			b, offset = b[n:], offset+n
		}
	}
}

func (o outcome) count() int {
	n := 0
	for _, m := range o.lost {
		n += len(m)
	}
	return n
}

// explained fails the test if a message is lost that no finding of the report speaks of.
func (d *damageDisk) explained(t testing.TB, r CheckReport, o outcome) {
	t.Helper()
	for key, offsets := range o.lost {
	next:
		for offset := range offsets {
			for _, f := range r.Findings {
				for _, l := range f.Lost {
					if fmt.Sprintf("%s-%d", l.Topic, l.Partition) == key && offset >= l.From && offset < l.To {
						continue next
					}
				}
			}
			t.Fatalf("%s at %d is lost, and no finding says so: %s", key, offset, describe(r))
		}
	}
}

// exact fails the test if the report calls something lost that is served.
func (d *damageDisk) exact(t testing.TB, r CheckReport, o outcome) {
	t.Helper()
	for _, f := range r.Findings {
		for _, l := range f.Lost {
			key := fmt.Sprintf("%s-%d", l.Topic, l.Partition)
			for offset := range d.want[key] {
				if !l.Possible && offset >= l.From && offset < l.To && !o.lost[key][offset] {
					t.Fatalf("%s at %d is served, but a finding calls it lost: %s", key, offset, describe(r))
				}
			}
		}
	}
}

// damages are the findings that are more than notes.
func damages(r CheckReport) []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Severity == SeverityNote })
}

func describe(r CheckReport) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n  %s %s %s+%d (%d bytes): %s; lost %+v; fixable %v repaired %v", f.Severity, f.Area, f.File, f.Offset, f.Bytes, f.Reason, f.Lost, f.Fixable, f.Repaired)
	}
	return b.String()
}

// putAgain appends one message to each queue after a repair: no offset may have been given before.
func (d *damageDisk) putAgain(t testing.TB, s *Store) {
	t.Helper()
	for key, end := range d.ends {
		topic, partition := splitKey(key)
		q := s.Queue([]byte(topic), partition)
		if q == nil {
			continue
		}
		if got := put(t, s, q, "again")[0]; got < end {
			t.Fatalf("%s: a new message got the offset %d, which was given before: the end was %d", key, got, end)
		}
	}
}
