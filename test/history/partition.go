package history

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// log is what a history says about one partition.
type log struct {
	name     partition
	acked    map[string]int64 // by proc: the end of what it had acknowledged so far
	end      int64            // the highest end that anybody has seen so far
	asked    map[string]int64 // by proc: end when it asked for the end
	reads    []sight          // of readers
	groups   map[string]*group
	next     map[string]int64 // by proc: where its next read has to begin
	final    []Message
	finalTo  int64 // where the final read has come to
	first    int64 // where it began: what is before has expired
	finished bool
}

// sight is a message that a reader was given, and when.
type sight struct {
	Message
	t int64
}

// group is what a group of readers was given.
type group struct {
	from, to int64 // offsets of the first and behind the last message
	got      map[int64]bool
}

func newLog(p partition) *log {
	return &log{name: p, acked: map[string]int64{}, asked: map[string]int64{}, groups: map[string]*group{}, next: map[string]int64{}, finalTo: -1}
}

// read takes an answer to a get.
func (l *log) read(j *judge, e Event) {
	if e.Type != OK {
		return
	}
	at := e.Off
	if e.F == Get {
		if next, known := l.next[e.Proc]; known && at != next {
			j.v.convict("framing", "%s: %s reads at %d after it came to %d", l.name, e.Proc, at, next)
		}
	} else if l.finalTo < 0 {
		l.first, l.finalTo = at, at
	}
	if e.Status == 301 {
		l.moved(j, e)
		return
	}
	for _, m := range e.Got {
		if m.Off != at {
			j.v.convict("framing", "%s: %s was given a message at %d, the one before it ended at %d", l.name, e.Proc, m.Off, at)
		}
		at = m.end()
		if e.F == Final {
			l.final = append(l.final, m)
			continue
		}
		l.reads = append(l.reads, sight{m, e.T})
		l.group(e.Group, m)
	}
	if e.F == Final {
		l.finalTo = at
		l.finished = l.finished || e.Status == 404
		return
	}
	l.next[e.Proc] = at
	if len(e.Got) > 0 {
		l.end = max(l.end, at)
	}
}

// moved takes an answer that says where to go on. Only retention and the gap after a power cut give one: forward.
func (l *log) moved(j *judge, e Event) {
	from, to := e.Off, e.To
	if e.F == Get {
		l.next[e.Proc] = to
	} else {
		if len(l.final) == 0 {
			l.first = to
		}
		l.finalTo = to
	}
	if to < from {
		j.v.convict("framing", "%s: %s is sent back from %d to %d", l.name, e.Proc, from, to)
	}
}

func (l *log) group(name string, m Message) {
	g := l.groups[name]
	if g == nil {
		g = &group{from: m.Off, got: map[int64]bool{}}
		l.groups[name] = g
	}
	g.got[m.Off] = true
	g.to = max(g.to, m.end())
}

// watermark takes a look at the readable end. What was seen before it was asked for must be in it.
func (l *log) watermark(v *Verdict, e Event) {
	switch e.Type {
	case Invoke:
		l.asked[e.Proc] = l.end
	case OK:
		if e.Off < l.asked[e.Proc] {
			v.convict("watermark", "%s: %s is told the end %d, after %d had been seen", l.name, e.Proc, e.Off, l.asked[e.Proc])
		}
		l.end = max(l.end, e.Off)
	}
}

// compare goes through the final read.
func (l *log) compare(j *judge) {
	last := map[string]int64{} // by proc: the highest number found
	lastMID, to := int64(-1<<63), l.first
	for i, m := range l.final {
		where := fmt.Sprintf("%s at %d", l.name, m.Off)
		if m.MID <= lastMID {
			j.v.convict("order", "%s: message id %d after %d", where, m.MID, lastMID)
		}
		lastMID = m.MID
		if i > 0 && m.Off < to {
			j.v.convict("framing", "%s: the final read went back, from %d", where, to)
		}
		to = m.end()
		j.v.Stored++
		j.v.Bytes += RecordHeader + int64(m.Len)
		p := j.known(m, l.name, where)
		if p == nil {
			continue
		}
		p.found++
		p.atPlace = p.atPlace || p.state == OK && m.Off == p.off && m.MID == p.mid
		switch {
		case p.found > 1 && p.attempts == 1 && p.state == OK:
			j.v.convict("duplicate", "%s: %s again", where, m.ID)
		case p.found > 1:
			j.v.Again++
		case m.Off != p.off && p.state == OK && p.attempts == 1:
			// Not where it was acknowledged: losses tells that.
		case p.number < last[p.proc] && p.attempts == 1:
			j.v.convict("order", "%s: %s after number %d of %s", where, m.ID, last[p.proc], p.proc)
		}
		last[p.proc] = max(last[p.proc], p.number)
	}
	l.divergence(j)
}

// known is the put that a message came from, nil if it came from none.
func (j *judge) known(m Message, at partition, where string) *put {
	if m.Bad != "" {
		j.v.convict("invented", "%s: %s: %s", where, m.ID, m.Bad)
		return nil
	}
	p := j.puts[m.ID]
	switch {
	case p == nil:
		j.v.convict("invented", "%s: %q was never put", where, m.ID)
	case p.at != at:
		j.v.convict("invented", "%s: %s was put to %s", where, m.ID, p.at)
	case p.state == Fail:
		j.v.convict("invented", "%s: the put of %s was refused", where, m.ID)
	case p.crc != m.CRC || p.len != m.Len:
		j.v.convict("invented", "%s: %s has %d bytes with the checksum %s, %d with %s were put", where, m.ID, m.Len, m.CRC, p.len, p.crc)
	default:
		return p
	}
	return nil
}

// divergence compares what readers were given with each other and with the final read. What is not there any more was a dirty read.
func (l *log) divergence(j *judge) {
	slices.SortStableFunc(l.reads, func(a, b sight) int { return cmp.Compare(a.Off, b.Off) })
	j.v.Read += len(l.reads)
	n := 0
	for i, r := range l.reads {
		where := fmt.Sprintf("%s at %d", l.name, r.Off)
		if i > 0 && l.reads[i-1].Off == r.Off {
			if l.reads[i-1].Message != r.Message {
				j.v.convict("divergence", "%s: %s was read, and then %s", where, l.reads[i-1].ID, r.ID)
			}
			continue
		}
		for n < len(l.final) && l.final[n].Off < r.Off {
			n++
		}
		there := n < len(l.final) && l.final[n].Off == r.Off
		switch {
		case there && l.final[n] != r.Message:
			j.v.convict("divergence", "%s: %s was read, and %s is there in the end", where, r.ID, l.final[n].ID)
		case there || r.Off < l.first && slices.Contains(j.head.Expires, l.name.topic):
		default:
			p := j.known(r.Message, l.name, where)
			if p != nil && !j.mayBeLost(p, r.t) {
				j.v.convict("dirty-read", "%s: %s was read and is not there in the end", where, r.ID)
			}
		}
	}
}

// readers tells what a group should have been given.
func (l *log) readers(j *judge) {
	var acked []*put
	for _, p := range j.puts {
		if p.at == l.name && p.state == OK && p.atPlace {
			acked = append(acked, p)
		}
	}
	sort.Slice(acked, func(a, b int) bool { return acked[a].off < acked[b].off })
	for name, g := range l.groups {
		for _, p := range acked {
			if p.off >= g.from && p.off < g.to && !g.got[p.off] {
				j.v.convict("unseen", "%s: group %s read on to %d and was not given %s-%d at %d", l.name, name, g.to, p.proc, p.number, p.off)
			}
		}
	}
}
