package store

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/metaq/metaq/protocol"
)

// checkLog reads all segments, oldest first: the sealed ones up to the checkpoint, then the tail that a start reads.
func (c *checker) checkLog() error {
	start := int64(0)
	switch {
	case c.point != nil:
		start = c.point.pos
	case c.blind:
		start = math.MaxInt64
	}
	sealed, _ := slices.BinarySearch(c.bases, start)
	for _, base := range c.bases[sealed:] {
		g, err := openSegment(c.FS, c.Dir, base, c.salt)
		if err != nil {
			return err
		}
		g.findOrder(math.MaxInt64)
		c.tail = append(c.tail, g)
	}
	c.findDrops(start)
	for i, base := range c.bases[:sealed] {
		next := start
		if i+1 < sealed {
			next = c.bases[i+1]
		}
		c.checkMissing(base)
		if err := c.checkSealed(base, next); err != nil {
			return err
		}
		c.progress(i + 1)
	}
	if c.point != nil {
		c.checkMissing(start)
		c.meetCheckpoint()
	}
	if !c.blind {
		c.checkTail(start)
	}
	c.progress(len(c.bases))
	return nil
}

func (c *checker) progress(done int) {
	if c.Progress != nil {
		c.Progress(done, len(c.bases))
	}
}

// findDrops looks for what was removed since the checkpoint.
func (c *checker) findDrops(start int64) {
	for _, g := range c.tail {
		whole := g.base == start
		start = walkFrames(g, g.limit, func(h header, _ []byte) {
			switch {
			case !whole:
			case h.kind == kindDrop:
				c.dropped[h.logical] = true
			case h.kind == kindTrim:
				c.mins[h.queue] = max(c.mins[h.queue], h.logical)
			}
		}, func(region) { whole = false })
		if !whole {
			return // a start may stop here
		}
	}
}

// checkMissing reports the segments before position base that the checkpoint needs and that are not there.
func (c *checker) checkMissing(base int64) {
	if c.point == nil {
		return
	}
	for _, need := range c.point.segments {
		if need < c.at || need >= base || slices.Contains(c.bases, need) || c.dropped[need] {
			continue
		}
		name := segmentName(c.Dir, need)
		n := c.find(Finding{Severity: SeverityDamage, Area: AreaSegment, File: name, Reason: "the segment is missing",
			Action: "strike it from the checkpoint, so that a broker starts: reads of what it held give an error. Restore the file if you can",
			fix:    func() error { return c.strike(need) }})
		c.gapKnown = true
		c.spans = append(c.spans, span{need, base, n}) // for what was published of it later
		if x, err := openIndex(c.FS, indexName(name), need, c.salt); err == nil {
			if x.check() == nil {
				c.loseEntries(n, x, need, math.MaxInt64)
			}
			x.mapping.Unmap()
		}
		c.damage = n
	}
}

// checkSealed reads a segment whose frames are behind an index, up to position next at most.
func (c *checker) checkSealed(base, next int64) error {
	if base != c.at && !c.gapKnown {
		// What lay between was dropped, because none of it was readable any more.
		maps.DeleteFunc(c.ends, func(queue uint32, end int64) bool { return end < c.mins[queue] })
		c.gaps = append(c.gaps, span{max(c.at, 0), base, -1})
	}
	c.gapKnown = false
	g, err := openSegment(c.FS, c.Dir, base, c.salt)
	if err != nil {
		return err
	}
	defer g.close()
	g.findOrder(next)
	var stale error
	x, indexErr := openIndex(c.FS, indexName(g.name), base, c.salt)
	if indexErr == nil {
		defer x.mapping.Unmap()
		indexErr = x.check()
	}
	if indexErr == nil {
		stale = x.fits(g)
		indexErr = stale
	}
	if indexErr != nil {
		x = nil
	}
	c.index = x
	built := indexBuilder{}
	c.at = walkFrames(g, next, func(h header, body []byte) {
		built.add(h, body)
		c.frame(g, h, body)
	}, func(r region) {
		if r.last && g.limit == next {
			r.to = next
		}
		c.damagedSealed(g, x, r)
	})
	if c.at < next && g.limit == next {
		// It was cut to its length when it was sealed, so it should be full.
		if len(c.spans) == 0 || c.spans[len(c.spans)-1].to != next {
			c.damagedSealed(g, x, region{from: c.at, to: next, reason: "zeros where the segment should have frames"})
		}
		c.at = next
	}
	if x != nil {
		c.checkCut(g, x)
		c.followIndex(x)
	}
	c.index = nil
	switch {
	case indexErr == nil:
		if reason := c.compareIndex(g, x, built); reason != "" {
			c.findIndex(g, &CorruptError{Reason: reason}, built)
		}
	case stale != nil:
		c.staleIndex(g, stale.Error(), built)
	case isNotExist(indexErr) && c.blind: // it may be one that was not sealed
	case isNotExist(indexErr) && c.wasDropped(base):
		c.find(Finding{Severity: SeverityNote, Area: AreaLeftover, File: g.name, Reason: "a segment that was dropped and has no index any more: a crash fell into its removal",
			Action: "the broker removes it with the next ones"})
	default:
		c.findIndex(g, indexErr, built)
	}
	return nil
}

// wasDropped says that a segment before the checkpoint was dropped.
func (c *checker) wasDropped(base int64) bool {
	return c.dropped[base] || c.point != nil && !slices.Contains(c.point.segments, base)
}

// damagedSealed reports a bad place before the checkpoint. It stays as it is: a read of it is an error, and only that.
func (c *checker) damagedSealed(g *segment, x *sealedIndex, r region) {
	n := c.find(Finding{Severity: SeverityDamage, Area: AreaFrame, File: g.name, Offset: r.from - g.base, Bytes: r.to - r.from, Reason: r.reason,
		Action: "left as it is: reads of what is lost give an error, everything else is served. Restore the file from a replica or a backup"})
	defer func() { c.damage = n }()
	c.spans = append(c.spans, span{r.from, r.to, n})
	if x != nil {
		c.loseEntries(n, x, r.from, r.to)
	} else if h, ok := c.guess(g, r); ok {
		c.lose(n, h.queue, h.logical, h.logical+int64(h.size)-frameHeader, int64(h.count))
		c.ends[h.queue] = h.logical + int64(h.size) - frameHeader
	}
}

// spanOf is the finding of the damaged place that a position lies in, -1 if it lies in none.
func (c *checker) spanOf(pos int64) int {
	for _, s := range c.spans {
		if pos >= s.from && pos < s.to {
			return s.finding
		}
	}
	return -1
}

// frame checks what follows from a sound frame.
func (c *checker) frame(g *segment, h header, body []byte) {
	c.report.Frames++
	c.report.Bytes += int64(h.size)
	if c.inTail && !c.made(h) {
		c.order(g, h, fmt.Sprintf("a %s frame of queue %d, which was never made", h.kind, h.queue))
		return
	}
	switch h.kind {
	case kindMessage:
		c.records(g, h, body)
		c.run(g, h, h.queue, runOf(h, body))
	case kindHidden:
		c.records(g, h, body)
	case kindQueue:
		if _, partition, topic, ok := parseQueueBody(body); ok && partition >= 0 && partition < maxPartition && h.queue > 0 {
			c.names[h.queue] = queueName{protocol.Topic(topic), partition}
			if _, known := c.ends[h.queue]; !known && c.inTail {
				c.ends[h.queue] = 0
			}
		} else {
			c.order(g, h, "a queue frame that makes no sense")
		}
	case kindGap:
		c.goOn(g, h, goOn{h.queue, h.logical})
	case kindLost:
		list, ok := parseLost(h, body)
		if !ok {
			c.order(g, h, "a lost frame that makes no sense")
		}
		for _, q := range list {
			if q.queue == 0 || c.inTail && int(q.queue) > len(c.names)+1 {
				c.order(g, h, fmt.Sprintf("a lost frame of queue %d, which was never made", q.queue))
				break
			}
			c.nameLost(q.queue)
			if _, known := c.ends[q.queue]; !known && c.inTail {
				c.ends[q.queue] = 0
			}
			c.goOn(g, h, q)
		}
	case kindPublish:
		list, ok := parsePublishedRuns(body)
		if !ok {
			c.order(g, h, "a publish frame that makes no sense")
		}
		for _, r := range list {
			if c.inTail && !c.made(header{kind: kindMessage, queue: r.queue}) {
				c.order(g, h, fmt.Sprintf("a publish frame of queue %d, which was never made", r.queue))
				break
			}
			c.run(g, h, r.queue, entry{logical: r.logical, pos: r.pos, bytes: r.bytes, count: r.count})
			if n := c.spanOf(r.pos); n >= 0 {
				c.lose(n, r.queue, r.logical, r.logical+int64(r.bytes), int64(r.count))
			}
		}
	case kindOffset:
		if _, _, _, ok := parseOffsetKey(string(body)); !ok {
			c.order(g, h, "an offset frame that makes no sense")
		}
	case kindTrim:
		if end, known := c.ends[h.queue]; known && h.logical > end {
			c.run(g, h, h.queue, entry{logical: h.logical})
		}
	case kindDiscard, kindDrop:
	default:
		c.order(g, h, fmt.Sprintf("a frame of kind %d, which this program does not know", h.kind))
	}
}

// order reports a sound frame that should not be where it is. Nothing is done about it: it was written so.
func (c *checker) order(g *segment, h header, reason string) {
	c.find(Finding{Severity: SeverityDamage, Area: AreaOrder, File: g.name, Offset: h.place - g.base, Bytes: int64(h.size), Reason: reason,
		Action: "left as it is. Restore the directory from a replica or a backup"})
}

// records checks each message of a run by itself.
func (c *checker) records(g *segment, h header, body []byte) {
	at, count := 0, 0
	for at < len(body) {
		_, size, err := protocol.DecodeMessage(body[at:])
		reason := ""
		switch {
		case err != nil:
			reason = err.Error()
		case size == 0:
			reason = "a message that goes beyond its frame"
		}
		if reason != "" {
			c.find(Finding{Severity: SeverityDamage, Area: AreaRecord, File: g.name, Offset: h.place - g.base + frameHeader + int64(at), Bytes: int64(size),
				Reason: fmt.Sprintf("%s (message %d of its frame)", reason, count), Action: "left as it is: clients see the checksum that does not match"})
		}
		if size == 0 {
			return
		}
		at += size
		count++
	}
	c.report.Messages += int64(count)
	if count != int(h.count) {
		c.order(g, h, fmt.Sprintf("the frame says that it has %d messages, it has %d", h.count, count))
	}
}

// run checks that a run goes on where its queue ended.
func (c *checker) run(g *segment, h header, queue uint32, e entry) {
	end, known := c.ends[queue]
	if min, ok := c.mins[queue]; ok && !known {
		end, known = min, true // what is not needed any more may be gone, the rest must be there
		if end > e.logical {
			end = e.logical
		}
	}
	if known && c.index != nil {
		end = c.index.follow(queue, end, e.logical)
	}
	switch {
	case known && e.logical > end && c.cause(queue) >= 0:
		c.lose(c.cause(queue), queue, end, e.logical, -1)
		c.fillHole(queue, e.logical)
	case known && e.logical != end:
		c.order(g, h, fmt.Sprintf("%s goes on at offset %d instead of %d", c.name(queue), e.logical, end))
	}
	c.ends[queue] = e.logical + int64(e.bytes)
	c.seen[queue] = h.pos
}

// cause is the finding that is why something of a queue is missing, -1 if there is none.
func (c *checker) cause(queue uint32) int {
	if n := len(c.gaps); n > 0 && c.gaps[n-1].to > c.seen[queue] {
		g := &c.gaps[n-1]
		if g.finding < 0 {
			g.finding = c.find(Finding{Severity: SeverityNote, Area: AreaSegment, File: segmentName(c.Dir, g.from),
				Reason: "a segment is missing that the checkpoint does not ask for", Action: "none: this is what a repair leaves. Reads of what it held give an error"})
		}
		return g.finding
	}
	return c.damage
}

func (c *checker) goOn(g *segment, h header, q goOn) {
	if end, known := c.ends[q.queue]; known && q.logical < end {
		c.order(g, h, fmt.Sprintf("%s goes back from offset %d to %d", c.name(q.queue), end, q.logical))
	}
	c.ends[q.queue] = q.logical
	c.seen[q.queue] = h.pos
}

func (c *checker) name(queue uint32) string {
	if n, ok := c.names[queue]; ok {
		return fmt.Sprintf("%s-%d", n.topic, n.partition)
	}
	return fmt.Sprintf("queue %d", queue)
}

// guess reads a damaged place as one frame of messages of which only something inside is wrong: it begins where it says that it begins,
// ends where a sound one begins, and its messages go on where their queue ended.
func (c *checker) guess(g *segment, r region) (h header, ok bool) {
	defer onFault(func() { ok = false })
	if r.to > g.limit || r.to-r.from < frameHeader {
		return h, false
	}
	b := g.bytes(r.from)[:r.to-r.from]
	h = readHeader(b)
	end, known := c.ends[h.queue]
	if !g.owns(h.pos, r.from) || h.kind != kindMessage || h.version != formatVersion || align(int64(h.size)) != r.to-r.from || !known || h.logical != end {
		return h, false
	}
	body, count := b[frameHeader:h.size], 0
	for len(body) > 0 {
		n := recordSize(body)
		if n > int64(len(body)) {
			return h, false
		}
		body = body[n:]
		count++
	}
	return h, count == int(h.count)
}
