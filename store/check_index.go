package store

import (
	"errors"
	"slices"
)

// findIndex reports a bad index. Nothing hangs on it: all that it says is in the segment.
func (c *checker) findIndex(g *segment, err error, built indexBuilder) {
	f := Finding{Severity: SeverityDamage, Area: AreaIndex, File: indexName(g.name), Reason: err.Error(), Action: "make it again from the segment: nothing is lost"}
	var corrupt *CorruptError
	switch {
	case errors.As(err, &corrupt):
		f.Offset, f.Reason = corrupt.Offset, corrupt.Reason
	case isNotExist(err):
		f.Reason = "missing"
	}
	data := built.encode(g.base, g.clustered, c.salt)
	f.fix = func() error { return c.replace(f.File, data) }
	c.find(f)
}

// follow goes on from an offset in an index as long as one run begins where another ends, up to an offset.
func (x *sealedIndex) follow(queue uint32, from, to int64) int64 {
	r, err := x.lookup(queue)
	if err != nil {
		return from
	}
	for i := max(r.find(from), 0); i < r.len() && from < to; i++ {
		if e := r.at(i); e.logical == from {
			from += int64(e.bytes)
		}
	}
	return from
}

// followIndex goes on where the index of a segment ends: a frame that published runs of earlier segments may be among the damaged.
func (c *checker) followIndex(x *sealedIndex) {
	for i := range x.queues {
		queue, r := le.Uint32(x.dir[i*indexDirRecord:]), x.runsAt(i)
		if end, known := c.ends[queue]; known && r.len() > 0 {
			last := r.at(r.len() - 1)
			c.ends[queue] = max(end, x.follow(queue, end, last.logical+int64(last.bytes)))
		}
	}
}

// compareIndex says how an index differs from the frames of its segment, "" if it does not. What lies in damaged places, and what a
// damaged frame published, is only in the index.
func (c *checker) compareIndex(g *segment, x *sealedIndex, built indexBuilder) string {
	const differs = "it does not fit the segment"
	damaged := slices.ContainsFunc(c.spans, func(s span) bool { return s.from >= g.base && s.from <= g.limit })
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
			n := c.spanOf(e.pos)
			switch {
			case !damaged:
				return differs
			case n >= 0 && e.pos < g.base: // published by a damaged frame, and damaged itself
				c.lose(n, queue, e.logical, e.logical+int64(e.bytes), int64(e.count))
			case n < 0 && e.pos >= g.base && !publishedHere(g, e):
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

// staleIndex reports an index of the order that the segment had before it was rewritten: a crash was between the two renames.
func (c *checker) staleIndex(g *segment, reason string, built indexBuilder) {
	f := Finding{Severity: SeverityNote, Area: AreaIndex, File: indexName(g.name), Reason: reason, Action: "as a crash leaves it; it is made again when it is first read"}
	data := built.encode(g.base, g.clustered, c.salt)
	f.fix = func() error { return c.replace(f.File, data) }
	c.find(f)
}

// publishedHere says whether a run is a sound hidden frame of this segment, so that a damaged frame may have published it.
func publishedHere(g *segment, e entry) bool {
	h, body, reason := g.frame(e.pos-frameHeader, g.limit)
	return reason == "" && h.kind == kindHidden && len(body) == int(e.bytes)
}

// loseEntries adds the runs of an index between two positions to what a finding has lost, and goes on behind them. It comes before the
// finding is the cause of what else is missing.
func (c *checker) loseEntries(finding int, x *sealedIndex, from, to int64) {
	for i := range x.queues {
		queue, r := le.Uint32(x.dir[i*indexDirRecord:]), x.runsAt(i)
		for j := range r.len() {
			if e := r.at(j); e.pos-frameHeader >= from && e.pos-frameHeader < to {
				if end, known := c.ends[queue]; known {
					if end = x.follow(queue, end, e.logical); end < e.logical && c.cause(queue) >= 0 {
						c.lose(c.cause(queue), queue, end, e.logical, -1)
					}
				}
				c.lose(finding, queue, e.logical, e.logical+int64(e.bytes), int64(e.count))
				c.ends[queue] = e.logical + int64(e.bytes)
			}
		}
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
	c.spans = append(c.spans, span{from, end, n})
	c.loseEntries(n, x, from, end)
	c.damage = n
	c.at = end
}
