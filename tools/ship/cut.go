//go:build linux

package ship

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
)

// A cutting is what the rest of a line or an event that was too long means for what follows. It belongs to a position in a file.
type cutting uint8

const (
	whole     cutting = iota
	inLine            // up to the next newline it is the rest of a line that was cut
	inEvent           // up to the line that begins an event it is the rest of one that was cut
	cuttings          // how many there are
	maxMarker = 100   // bytes by which the marker of a cut line may exceed the limit
)

// cutter cuts the bytes of one file into messages.
type cutter struct {
	charset
	input *Input
	max   int // bytes of a message
}

// piece is what a cutter has made of some bytes.
type piece struct {
	bodies  [][]byte
	used    int     // bytes that are done with; the rest is an incomplete line or event
	after   cutting // what the bytes behind them are
	cut     int     // messages that were cut
	dropped int64   // bytes that are in no message because of that
	pending bool    // the rest is an event of whole lines, which another line may belong to
}

// limits are how far a cutter goes.
type limits struct {
	messages int
	events   bool // no line will come that belongs to the last event
	final    bool // nothing will come: an incomplete line is one
}

// cut cuts b, of which before says how it begins. The bodies may be parts of b.
func (c *cutter) cut(b []byte, before cutting, l limits) piece {
	p := piece{after: before, bodies: make([][]byte, 0, min(l.messages, len(b)/64+1))}
	if c.input.event() {
		c.events(b, l, &p)
	} else {
		c.lines(b, l, &p)
	}
	if l.final && p.used == 0 { // half a character, or the end of what was cut
		p.dropped += int64(len(b))
		p.used = len(b)
	}
	return p
}

func (c *cutter) lines(b []byte, l limits, p *piece) {
	for len(p.bodies) < l.messages {
		rest := b[p.used:]
		if len(rest) == 0 {
			return
		}
		i := c.index(rest)
		switch {
		case i >= 0 && p.after == inLine:
			p.dropped += int64(i)
			p.after = whole
			p.used += i + c.width
		case i >= 0:
			c.add(p, rest[:i], i > c.max)
			p.used += i + c.width
		case p.after == inLine:
			p.dropped += c.useAll(p, rest)
			return
		case len(rest) > c.max:
			c.add(p, rest, true)
			c.useAll(p, rest)
			p.after = inLine
			return
		case l.final:
			c.add(p, rest, false)
			p.used = len(b)
			return
		default:
			return
		}
	}
}

// useAll uses the rest up to its last whole unit.
func (c *cutter) useAll(p *piece, rest []byte) int64 {
	n := len(rest) - len(rest)%c.width
	p.used += n
	return int64(n)
}

// events puts lines together.
func (c *cutter) events(b []byte, l limits, p *piece) {
	end := p.used // of the last whole line
	emit := func() {
		if end > p.used {
			c.add(p, b[p.used:end-c.width], end-c.width-p.used > c.max)
			p.used = end
		}
	}
	for len(p.bodies) < l.messages {
		rest := b[end:]
		i := c.index(rest)
		if i < 0 {
			c.eventsEnd(b, end, l, p)
			return
		}
		line, next := rest[:i], end+i+c.width
		switch {
		case p.after == inLine:
			p.dropped += int64(i)
			p.after, p.used = inEvent, next
		case p.after == inEvent && !c.input.begins(c.decode(line)):
			p.dropped += int64(i + c.width)
			p.used = next
		case c.input.begins(c.decode(line)):
			emit()
			if len(p.bodies) == l.messages {
				return
			}
			p.after = whole
		}
		end = next
	}
}

// eventsEnd sees to what is left behind the last newline, and to the event before it.
func (c *cutter) eventsEnd(b []byte, end int, l limits, p *piece) {
	open, rest := b[p.used:], b[end:]
	switch {
	case p.after == inLine:
		p.dropped += c.useAll(p, rest)
	case p.after == inEvent && len(rest) > c.max:
		p.dropped += c.useAll(p, rest)
		p.after = inLine
	case p.after == inEvent && l.final:
		p.dropped += int64(len(rest))
		p.used = len(b)
	case p.after == inEvent:
	case len(open) > c.max:
		c.add(p, open, true)
		c.useAll(p, open)
		p.after = inLine
		if len(rest) == 0 {
			p.after = inEvent
		}
	case l.final && len(open) > 0:
		if len(rest) == 0 {
			open = open[:len(open)-c.width]
		}
		c.add(p, open, false)
		p.used = len(b)
	case l.events && end > p.used:
		c.add(p, b[p.used:end-c.width], false)
		p.used = end
	default:
		p.pending = end > p.used
	}
}

// border is where a line that is too long is cut: at the limit, or a few bytes before it, between two characters.
func (c *cutter) border(raw []byte) int {
	most := c.max - c.max%c.width
	if c.text == nil || c.text == unicode.UTF8 {
		return runeBorder(raw, most)
	}
	best, broken := most, len(raw)
	for n := most; n > most-utf8.UTFMax; n -= c.width {
		if b := bytes.Count(c.decode(raw[:n]), []byte(replacement)); b < broken {
			best, broken = n, b
		}
	}
	return best
}

// runeBorder is where the character begins that goes over the limit. b is longer than that.
func runeBorder(b []byte, limit int) int {
	for n := limit; n > 0 && n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(b[n]) {
			return n
		}
	}
	return limit // it is no UTF-8
}

// add adds a message, cut to the limit.
func (c *cutter) add(p *piece, raw []byte, tooLong bool) {
	if tooLong {
		n := c.border(raw)
		p.dropped += int64(len(raw) - n)
		raw = raw[:n]
	}
	body := c.decode(raw)
	if len(body) > c.max {
		tooLong = true // UTF-8 takes more bytes
	}
	if tooLong {
		n := len(body)
		if n > c.max {
			n = runeBorder(body, c.max)
		}
		body = fmt.Appendf(append(make([]byte, 0, n+maxMarker), body[:n]...), " [cut: the line is longer than %d bytes]", c.max)
		p.cut++
	}
	p.bodies = append(p.bodies, body)
}
