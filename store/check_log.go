package store

import (
	"errors"
	"fmt"
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
		g, err := openSegment(c.FS, c.Dir, base)
		if err != nil {
			return err
		}
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

// findDrops looks for segments that were removed since the checkpoint.
func (c *checker) findDrops(start int64) {
	for _, g := range c.tail {
		whole := g.base == start
		start = walkFrames(g, g.limit, func(h header, _ []byte) {
			if whole && h.kind == kindDrop {
				c.dropped[h.logical] = true
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
		c.damage, c.gapKnown = n, true
		if x, err := openIndex(c.FS, indexName(name), need); err == nil {
			if x.check() == nil {
				c.loseEntries(n, x, need, math.MaxInt64)
			}
			x.mapping.Unmap()
		}
	}
}

// loseEntries adds the runs of an index between two positions to what a finding has lost, and goes on behind them.
func (c *checker) loseEntries(finding int, x *sealedIndex, from, to int64) {
	for i := range x.queues {
		queue, r := le.Uint32(x.dir[i*indexDirRecord:]), x.runsAt(i)
		for j := range r.len() {
			if e := r.at(j); e.pos-frameHeader >= from && e.pos-frameHeader < to {
				c.lose(finding, queue, e.logical, e.logical+int64(e.bytes), int64(e.count))
				c.ends[queue] = e.logical + int64(e.bytes)
			}
		}
	}
}

// checkSealed reads a segment whose frames are behind an index, up to position next at most.
func (c *checker) checkSealed(base, next int64) error {
	if base != c.at && !c.gapKnown {
		clear(c.ends) // what lay between was dropped, and the queues went on in it
		c.damage = -1
	}
	c.gapKnown = false
	g, err := openSegment(c.FS, c.Dir, base)
	if err != nil {
		return err
	}
	defer g.close()
	x, indexErr := openIndex(c.FS, indexName(g.name), base)
	if indexErr == nil {
		defer x.mapping.Unmap()
		indexErr = x.check()
	}
	if indexErr != nil {
		x = nil
	}
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
	}
	switch {
	case indexErr == nil:
		if reason := compareIndex(x, built, c.spans); reason != "" {
			c.findIndex(g, &CorruptError{Reason: reason}, built)
		}
	case isNotExist(indexErr) && c.blind: // it may be one that was not sealed
	default:
		c.findIndex(g, indexErr, built)
	}
	return nil
}

func (c *checker) findIndex(g *segment, err error, built indexBuilder) {
	f := Finding{Severity: SeverityDamage, Area: AreaIndex, File: indexName(g.name), Reason: err.Error(), Action: "make it again from the segment: nothing is lost"}
	var corrupt *CorruptError
	switch {
	case errors.As(err, &corrupt):
		f.Offset, f.Reason = corrupt.Offset, corrupt.Reason
	case isNotExist(err):
		f.Reason = "missing"
	}
	data := built.encode(g.base)
	f.fix = func() error { return c.replace(f.File, data) }
	c.find(f)
}

// damagedSealed reports a bad place before the checkpoint. It stays as it is: a read of it is an error, and only that.
func (c *checker) damagedSealed(g *segment, x *sealedIndex, r region) {
	n := c.find(Finding{Severity: SeverityDamage, Area: AreaFrame, File: g.name, Offset: r.from - g.base, Bytes: r.to - r.from, Reason: r.reason,
		Action: "left as it is: reads of what is lost give an error, everything else is served. Restore the file from a replica or a backup"})
	c.damage = n
	c.spans = append(c.spans, span{r.from, r.to, n})
	if x != nil {
		c.loseEntries(n, x, r.from, r.to)
	} else if h, ok := c.guess(g, r); ok {
		c.lose(n, h.queue, h.logical, h.logical+int64(h.size)-frameHeader, int64(h.count))
		c.ends[h.queue] = h.logical + int64(h.size) - frameHeader
	}
}

// checkCut finds out from the index whether the end of a segment is gone.
func (c *checker) checkCut(g *segment, x *sealedIndex) {
	end := int64(0)
	for i := range x.queues {
		for j, r := 0, x.runsAt(i); j < r.len(); j++ {
			if e := r.at(j); e.pos >= g.base {
				end = max(end, e.pos+int64(e.bytes))
			}
		}
	}
	if end = align(end); end <= c.at {
		return
	}
	from := c.at
	n := c.find(Finding{Severity: SeverityDamage, Area: AreaSegment, File: g.name, Offset: from - g.base, Bytes: end - from,
		Reason: "the segment ends here, but its index knows of more",
		Action: "left as it is: reads of what is lost give an error, everything else is served. Restore the file from a replica or a backup"})
	c.damage = n
	c.spans = append(c.spans, span{from, end, n})
	c.loseEntries(n, x, from, end)
	c.at = end
}

// compareIndex says how an index differs from the frames of its segment, "" if it does not. Runs in damaged places are only in the index.
func compareIndex(x *sealedIndex, built indexBuilder, spans []span) string {
	const differs = "it does not fit the segment"
	count := 0
	for i := range x.queues {
		queue, r := le.Uint32(x.dir[i*indexDirRecord:]), x.runsAt(i)
		have := built[queue]
		count += len(have)
		for j := range r.len() {
			e := r.at(j)
			if len(have) > 0 && have[0].pos == e.pos && have[0].logical == e.logical && have[0].bytes == e.bytes && have[0].count == e.count {
				have = have[1:]
				continue
			}
			if !slices.ContainsFunc(spans, func(s span) bool { return e.pos >= s.from && e.pos < s.to }) {
				return differs
			}
		}
		if len(have) > 0 {
			return differs
		}
	}
	for _, list := range built {
		count -= len(list)
	}
	if count != 0 {
		return differs
	}
	return ""
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
		if _, partition, topic, ok := parseQueueBody(body); ok {
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
			c.nameLost(q.queue)
			c.goOn(g, h, q)
		}
	case kindPublish:
		list, ok := parsePublishedRuns(body)
		if !ok {
			c.order(g, h, "a publish frame that makes no sense")
		}
		for _, r := range list {
			c.run(g, h, r.queue, entry{logical: r.logical, pos: r.pos, bytes: r.bytes, count: r.count})
			for _, s := range c.spans {
				if r.pos >= s.from && r.pos < s.to {
					c.lose(s.finding, r.queue, r.logical, r.logical+int64(r.bytes), int64(r.count))
				}
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
	c.find(Finding{Severity: SeverityDamage, Area: AreaOrder, File: g.name, Offset: h.pos - g.base, Bytes: int64(h.size), Reason: reason,
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
			c.find(Finding{Severity: SeverityDamage, Area: AreaRecord, File: g.name, Offset: h.pos - g.base + frameHeader + int64(at), Bytes: int64(size),
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
	switch {
	case known && e.logical > end && c.damage >= 0:
		c.lose(c.damage, queue, end, e.logical, -1)
		c.fillHole(queue, e.logical)
	case known && e.logical != end:
		c.order(g, h, fmt.Sprintf("%s goes on at offset %d instead of %d", c.name(queue), e.logical, end))
	}
	c.ends[queue] = e.logical + int64(e.bytes)
	c.seen[queue] = h.pos
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
	if h.pos != r.from || h.kind != kindMessage || h.version != formatVersion || align(int64(h.size)) != r.to-r.from || !known || h.logical != end {
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
