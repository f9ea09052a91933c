package history

import (
	"cmp"
	"fmt"
	"slices"
)

// register is the committed offset of a group in a partition.
type register struct {
	partition
	group string
}

// values is what a history says about a register. One proc alone commits, one after the other, and each value is larger than the one before:
// so a value is a version, and whether the reads fit to one order of all operations is seen at once.
type values struct {
	writer  string
	level   string
	written map[int64]string // how the commit of a value ended
	acked   []acked          // in their order
	last    int64            // that was written
	done    int64            // the last that was acknowledged
	read    int64            // the highest that was read
	reads   map[string]begun // by proc
	stale   []string
}

// acked is a value and when it was acknowledged.
type acked struct{ value, t int64 }

// noValue is that of a register before the first commit.
const noValue = -1

// begun is what had happened when a read began.
type begun struct {
	done int64 // the value of the last commit that was acknowledged
	read int64 // the highest value that a read had given
}

func (j *judge) takeOffset(e Event) error {
	key := register{e.partition(), e.Group}
	r := j.registers[key]
	if r == nil {
		r = &values{written: map[int64]string{}, last: noValue, done: noValue, read: noValue, reads: map[string]begun{}}
		j.registers[key] = r
	}
	if e.F == Commit {
		if e.Type == OK {
			j.v.Commits++
		}
		return r.commit(e, key)
	}
	switch e.Type {
	case Invoke:
		r.reads[e.Proc] = begun{r.done, r.read}
	case OK:
		r.take(e)
	}
	return nil
}

func (r *values) commit(e Event, key register) error {
	if r.writer == "" {
		r.writer, r.level = e.Proc, e.Level
	}
	switch {
	case r.writer != e.Proc:
		return fmt.Errorf("%s and %s both commit for group %s in %s: only one writer of a register can be judged", r.writer, e.Proc, key.group, key.partition)
	case e.Type == Invoke && e.Off <= r.last:
		return fmt.Errorf("commit %d of group %s in %s is not larger than the one before", e.Off, key.group, key.partition)
	case e.Type != Invoke && e.Off != r.last:
		return fmt.Errorf("a commit of %d of group %s in %s ends and did not begin", e.Off, key.group, key.partition)
	}
	r.written[e.Off], r.last = e.Type, e.Off
	if e.Type == OK {
		r.done = e.Off
		r.acked = append(r.acked, acked{e.Off, e.T})
	}
	return nil
}

// cut is a power cut: of what was acknowledged, or read, unflushed after a time, anything may be lost.
func (r *values) cut(safe int64) {
	if r.level != Accepted {
		return
	}
	i, _ := slices.BinarySearchFunc(r.acked, safe, func(a acked, t int64) int { return cmp.Compare(a.t, t) })
	r.acked = r.acked[:i]
	r.done = noValue
	if i > 0 {
		r.done = r.acked[i-1].value
	}
	r.read = r.done
}

// take takes a value that was read: it was committed, it is not older than what was acknowledged when the read began, and not older
// than what another read had given by then.
func (r *values) take(e Event) {
	value := e.Off
	if e.Status == 404 {
		value = noValue
	}
	b := r.reads[e.Proc]
	state, known := r.written[value]
	switch {
	case value != noValue && (!known || state == Fail):
		r.stale = append(r.stale, fmt.Sprintf("%s read %d, which was never committed", e.Proc, value))
	case value < b.done:
		r.stale = append(r.stale, fmt.Sprintf("%s read %d after %d was committed and acknowledged", e.Proc, value, b.done))
	case value < b.read:
		r.stale = append(r.stale, fmt.Sprintf("%s read %d after %d had been read", e.Proc, value, b.read))
	}
	r.read = max(r.read, value)
}

func (r *values) check(v *Verdict, key register) {
	for _, s := range r.stale {
		v.convict("offset-register", "group %s in %s: %s", key.group, key.partition, s)
	}
}
