package store

import (
	"bytes"
	"runtime/debug"
)

// region is a part of the log in which no sound frame begins.
type region struct {
	from, to int64 // log positions
	reason   string
	last     bool // there is nothing sound behind it in its segment
}

const (
	reasonBehindEnd  = "the log ends here, but there is something behind it"
	reasonUnreadable = "the disk cannot read it"
)

// walkFrames calls visit for each sound frame of a segment before position end, and damaged for whatever else is there, in the order of
// the file. It returns where the log ends in the segment: zeros from there on. A disk that cannot be read is damage like any other.
func walkFrames(g *segment, end int64, visit func(header, []byte), damaged func(region)) int64 {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	end = min(end, g.limit)
	pos := g.base
	for pos < end {
		h, body, reason := g.frame(pos, end)
		if reason == "" {
			visit(h, body)
			pos += align(int64(h.size))
			continue
		}
		if reason == "end" {
			if g.zeroFrom(pos, end) {
				return pos
			}
			reason = reasonBehindEnd
		}
		next := g.nextFrame(pos, end)
		if next < 0 {
			to := min(align(pos+g.usedFrom(pos, end)), end)
			damaged(region{from: pos, to: to, reason: reason, last: true})
			return to
		}
		damaged(region{from: pos, to: next, reason: reason})
		pos = next
	}
	return end
}

// onFault turns a fault on a mapping into a result; the caller has set debug.SetPanicOnFault.
func onFault(do func()) {
	r := recover()
	if r == nil {
		return
	}
	if _, ok := r.(interface{ Addr() uintptr }); !ok {
		panic(r)
	}
	do()
}

// frame is frameAt for a position of the segment that may be on a part of the disk that cannot be read.
func (g *segment) frame(pos, end int64) (h header, body []byte, reason string) {
	defer onFault(func() { reason = reasonUnreadable })
	return g.frameIn(g.bytes(pos)[:end-pos], pos)
}

func (g *segment) zeroFrom(pos, end int64) (zero bool) {
	defer onFault(func() { zero = false })
	return allZero(g.bytes(pos)[:end-pos])
}

// usedFrom is how many bytes behind pos come before the zeros.
func (g *segment) usedFrom(pos, end int64) (n int64) {
	defer onFault(func() { n = end - pos })
	return int64(len(bytes.TrimRight(g.bytes(pos)[:end-pos], "\x00")))
}

// nextFrame finds the first sound frame behind a bad one, -1 if there is none. What the bad one says about its size is believed if it
// leads to a sound frame: what looks like a frame inside of it is then a part of a message.
func (g *segment) nextFrame(pos, end int64) int64 {
	if size := g.sizeAt(pos, end); size >= frameHeader && pos+align(size) < end {
		if _, _, reason := g.frame(pos+align(size), end); reason == "" {
			return pos + align(size)
		}
	}
	for p := align(pos) + frameAlign; p+frameHeader <= end; p += frameAlign {
		p = g.candidate(p, end)
		if p+frameHeader > end {
			break
		}
		if _, _, reason := g.frame(p, end); reason == "" {
			return p
		}
	}
	return -1
}

func (g *segment) sizeAt(pos, end int64) (size int64) {
	defer onFault(func() { size = 0 })
	if pos+frameHeader > end {
		return 0
	}
	return int64(le.Uint32(g.bytes(pos)))
}

// candidate is the first place from p on that says of itself that it is a frame, end if there is none. Pages that cannot be read are
// stepped over.
func (g *segment) candidate(p, end int64) int64 {
	for p+frameHeader <= end {
		at, ok := g.scan(p, end)
		if ok {
			return at
		}
		const page = 4096
		p = g.base + (at-g.base)/page*page + page
	}
	return end
}

// scan is candidate up to a page that cannot be read, where ok is false.
func (g *segment) scan(from, end int64) (at int64, ok bool) {
	defer onFault(func() { ok = false })
	b := g.bytes(g.base)
	for at = from; at+frameHeader <= end; at += frameAlign {
		i := at - g.base
		if g.owns(int64(le.Uint64(b[i+24:])), at) && le.Uint32(b[i:]) != 0 && (!g.clustered || couldMove(b[i:])) {
			break
		}
	}
	return at, true
}

// couldMove says whether a header could be one of a rewritten segment. There the position says little: many numbers in messages could be one,
// and each would cost the checksum of as much as it says is its size.
func couldMove(b []byte) bool {
	switch kind(b[8]) {
	case kindMessage, kindQueue, kindOffset, kindTrim, kindDrop:
		return b[9] == formatVersion && le.Uint64(b[24:])%frameAlign == 0
	}
	return false
}

// survivors counts the sound frames behind a bad place of the log. safe is the position up to which these prove that everything was
// safe on disk when they were written.
func survivors(tail []*segment, pos int64) (count int, safe int64) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for _, g := range tail {
		for p := align(max(pos, g.base)); p+frameHeader <= g.limit; p += frameAlign {
			if p = g.candidate(p, g.limit); p+frameHeader > g.limit {
				break
			}
			if h, _, reason := g.frame(p, g.limit); reason == "" {
				count++
				safe = max(safe, h.flushed())
			}
		}
	}
	return count, safe
}
