package history

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Judge reads a history and tells what it shows. The error is that it cannot be judged, not that it is bad.
func Judge(name string) (*Verdict, error) {
	j := &judge{
		v: newVerdict(), puts: map[string]*put{}, parts: map[partition]*log{},
		registers: map[register]*values{}, pending: map[string]int{},
	}
	if err := Read(name, &j.head, j.take); err != nil {
		return nil, err
	}
	j.v.Test, j.v.Seed = j.head.Test, j.head.Seed
	if err := j.finish(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	j.v.Good = len(j.v.Convicted()) == 0
	return j.v, nil
}

// judge holds what a history has said so far.
type judge struct {
	v    *Verdict
	head Header

	puts      map[string]*put
	parts     map[partition]*log
	registers map[register]*values
	live      liveness
	pending   map[string]int // operations that have not ended: the line where they began
	cuts      []cut          // power cuts, in their order
}

// cut is a power cut: it happened after begun, and before healed. What a client was answered before it may be noted after begun.
type cut struct{ begun, healed int64 }

// put is a message that somebody sent, at least once.
type put struct {
	at       partition
	proc     string
	number   int64
	len      int
	crc      string
	level    string
	state    string // the best of its attempts: OK, else Info, else Fail; Invoke while it runs
	attempts int
	floor    int64 // what the same proc had acknowledged here before it began: the end of that
	off, mid int64 // of the ok
	begun    int64 // time of the first invoke
	acked    int64 // time of the ok
	found    int   // how often it is in the final read
	atPlace  bool  // it is there where the ok said
	lost     bool
}

func (j *judge) take(line int, e Event) error {
	j.endsOrBegins(line, e)
	switch e.F {
	case Put:
		return j.takePut(e)
	case Get, Final:
		j.log(e.partition()).read(j, e)
	case End:
		j.log(e.partition()).watermark(j.v, e)
	case Commit, Position:
		return j.takeOffset(e)
	case Nemesis:
		j.takeFault(e)
	case Phase:
	default:
		return fmt.Errorf("an event of the unknown function %q", e.F)
	}
	return nil
}

func (j *judge) takeFault(e Event) {
	j.live.nemesis(e)
	if e.Type == Invoke {
		j.v.Faults[e.ID]++
	}
	if e.ID != PowerCut {
		return
	}
	if e.Type == Invoke {
		j.cuts = append(j.cuts, cut{e.T, math.MaxInt64})
		return
	}
	if n := len(j.cuts); n > 0 {
		j.cuts[n-1].healed = e.T
		for _, r := range j.registers {
			r.cut(j.cuts[n-1].begun - j.head.Window.Nanoseconds())
		}
	}
}

// endsOrBegins keeps the list of operations that run. A proc has one of a kind at a time, except that puts are known by their message.
func (j *judge) endsOrBegins(line int, e Event) {
	if e.F == Nemesis || e.F == Phase {
		return
	}
	key := e.Proc + " " + e.F + " " + e.ID
	if e.Type == Invoke {
		j.pending[key] = line
	} else {
		delete(j.pending, key)
	}
}

func (j *judge) log(p partition) *log {
	l := j.parts[p]
	if l == nil {
		l = newLog(p)
		j.parts[p] = l
	}
	return l
}

func (j *judge) takePut(e Event) error {
	p := j.puts[e.ID]
	l := j.log(e.partition())
	if e.Type == Invoke {
		if p == nil {
			_, digits, _ := strings.Cut(e.ID, "-")
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil {
				return fmt.Errorf("the id %q of a message is not PROC-NUMBER", e.ID)
			}
			p = &put{at: e.partition(), proc: e.Proc, number: n, len: e.Len, crc: e.CRC, level: e.Level, begun: e.T, floor: l.acked[e.Proc]}
			j.puts[e.ID] = p
		}
		p.attempts++
		if p.state != OK && p.state != Info {
			p.state = Invoke
		}
		return nil
	}
	if p == nil {
		return fmt.Errorf("put %s ends and never began", e.ID)
	}
	switch {
	case e.Type == OK && p.state != OK:
		p.state, p.off, p.mid, p.acked = OK, e.Off, e.MID, e.T
		if p.attempts == 1 && e.Off < p.floor {
			j.v.convict("order", "%s: %s is stored at %d, before what %s had acknowledged up to %d when it sent it", p.at, e.ID, e.Off, p.proc, p.floor)
		}
		end := e.Off + RecordHeader + int64(p.len)
		l.acked[p.proc] = max(l.acked[p.proc], end)
		l.end = max(l.end, end)
		j.v.AckedAtLevel[p.level]++
		j.recovered(e.T)
	case e.Type == Info && p.state != OK:
		p.state = Info
	case e.Type == Fail && p.state == Invoke:
		p.state = Fail
	}
	return nil
}

// finish judges what only the whole history shows.
func (j *judge) finish() error {
	for key := range j.parts {
		l := j.parts[key]
		if !l.finished && len(l.acked) > 0 {
			return fmt.Errorf("%s was not read to its end after the last fault: the run proves nothing", key)
		}
	}
	names := make([]partition, 0, len(j.parts))
	for key := range j.parts {
		names = append(names, key)
	}
	slices.SortFunc(names, func(a, b partition) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range names {
		j.parts[key].compare(j)
	}
	j.losses()
	for _, key := range names {
		j.parts[key].readers(j)
	}
	for key, r := range j.registers {
		r.check(j.v, key)
	}
	j.live.finish(j)
	if j.v.Puts[OK] == 0 {
		return errors.New("no put was acknowledged: the run proves nothing")
	}
	return nil
}
