package store

import (
	"fmt"
	"maps"
	"slices"
)

// fill is a damaged place behind the checkpoint. A repair puts a frame of kind lost there, so that a start can go on behind it.
type fill struct {
	base     int64 // of its segment
	from, to int64
	lost     int64 // bytes that may have been messages
	create   bool  // the segment's file is gone
	exact    bool  // what is lost is known
	list     []goOn
	listed   map[uint32]int // where a queue is in the list
}

// meetCheckpoint compares what was read with what the checkpoint says, and goes on with the latter.
func (c *checker) meetCheckpoint() {
	name := c.path(checkpointName)
	if c.point != c.last {
		name = c.path(checkpointPrev)
	}
	if c.at >= 0 && c.at < c.point.pos && !c.gapKnown {
		c.gaps = append(c.gaps, span{c.at, c.point.pos, -1})
	}
	for _, q := range c.point.queues {
		end, known := c.ends[q.id]
		switch {
		case !known || end == q.end:
		case end < q.end && c.cause(q.id) >= 0:
			c.lose(c.cause(q.id), q.id, end, q.end, -1)
		default:
			c.find(Finding{Severity: SeverityDamage, Area: AreaCheckpoint, File: name,
				Reason: fmt.Sprintf("it says that %s goes on at offset %d, in the log it is %d", c.name(q.id), q.end, end),
				Action: "left as it is. Restore the directory from a replica or a backup"})
		}
		c.ends[q.id] = q.end
	}
	c.damage, c.gapKnown, c.gaps = -1, false, nil
}

// checkTail reads what a start reads, and judges a bad place as a start does.
func (c *checker) checkTail(start int64) {
	c.inTail = true
	c.at = start
	if len(c.tail) == 0 {
		if c.point != nil && !c.point.clean {
			c.missingTail(start, max(c.noted, start+align(lostSize(len(c.names)))), unknownSize)
			c.finishFills()
		}
		return
	}
	if base := c.tail[0].base; base != start {
		c.missingTail(start, base, base-start)
	}
	for i, g := range c.tail {
		next := g.limit
		last := i+1 == len(c.tail)
		if !last {
			next = c.tail[i+1].base
		}
		if g.clustered {
			c.clusteredTail(g, next)
			continue
		}
		full := false
		c.at = walkFrames(g, next, func(h header, body []byte) {
			if c.torn >= 0 {
				c.frameBehindTorn(h, body)
				return
			}
			c.frame(g, h, body)
		}, func(r region) {
			switch {
			case r.last && !last:
				r.to, full = next, true
			case r.last:
				r.to = max(r.to, c.noted)
			}
			c.damagedTail(g, i, r)
		})
		if last && c.at < c.noted && (len(c.fills) == 0 || c.fills[len(c.fills)-1].to < c.noted) {
			c.damagedTail(g, i, region{from: c.at, to: c.noted, reason: "the log ends here, but it was flushed further"})
		}
		if last && c.torn < 0 {
			c.at = max(c.at, c.noted)
		}
		if !last && c.at < next && !full {
			c.damagedTail(g, i, region{from: c.at, to: next, reason: reasonBehindEnd})
		}
		if !last {
			c.at = next
		}
		c.progress(len(c.bases) - len(c.tail) + i + 1)
	}
	c.finishFills()
}

// unknownSize stands for the size of a segment that is gone with everything behind it. Queues go on that far behind their end, so that
// no offset is given twice.
const unknownSize = 1 << 30

// missingTail: the segment in which the log goes on is gone.
func (c *checker) missingTail(from, to, lost int64) {
	n := c.find(Finding{Severity: SeverityDamage, Area: AreaSegment, File: segmentName(c.Dir, from), Reason: "the segment is missing",
		Action: "make one that says that its messages are lost; the queues go on behind them. Restore the file if you can"})
	c.addFill(n, &fill{base: from, from: from, to: to, lost: lost, create: true})
}

func (c *checker) addFill(finding int, f *fill) {
	c.damage = finding
	c.spans = append(c.spans, span{f.from, f.to, finding})
	c.fills = append(c.fills, f)
	c.report.Findings[finding].fix = func() error { return c.fill(f) }
	c.report.Findings[finding].Fixable = true
}

// clusteredTail reads a segment that is in the order of its queues although a start has to replay it: both checkpoints are gone. A start puts
// it back into the order of the log; so does a repair, which it needs if something in it is damaged.
func (c *checker) clusteredTail(g *segment, next int64) {
	frames := map[int64]int64{} // places by position
	back := func() error {
		if err := c.keep(g.name); err != nil {
			return err
		}
		return restoreOrder(c.FS, c.Dir, g.base, c.salt, func(region) error { return nil })
	}
	walkFrames(g, next, func(h header, _ []byte) { frames[h.pos] = h.place }, func(r region) {
		c.damage = c.find(Finding{Severity: SeverityDamage, Area: AreaFrame, File: g.name, Offset: r.from - g.base, Bytes: r.to - r.from, Reason: r.reason,
			Action: "put the segment back into the order of the log, which is read from its beginning. Then check and repair again", fix: back})
		c.spans = append(c.spans, span{r.from, r.to, c.damage})
	})
	c.find(Finding{Severity: SeverityNote, Area: AreaSegment, File: g.name, Reason: "it is in the order of its queues, and has to be read in that of the log",
		Action: "the next start puts it back into that order"})
	for _, pos := range slices.Sorted(maps.Keys(frames)) {
		if h, body, reason := g.frame(frames[pos], next); reason == "" {
			c.frame(g, h, body)
		}
	}
	c.at = next
}

// damagedTail judges a bad place behind the checkpoint: a torn end, or damage. See Store.broken, whose rule it is.
func (c *checker) damagedTail(g *segment, i int, r region) {
	if c.torn >= 0 {
		return
	}
	behind, safe := survivors(c.tail[i:], r.from)
	safe = max(safe, c.noted)
	samePower := c.point == nil || c.point.bootID == c.BootID
	if safe <= r.from && (behind == 0 || !samePower) {
		c.tornBase, c.tornAt = g.base, r.from
		c.torn = c.find(Finding{Severity: SeverityNote, Area: AreaTail, File: g.name, Offset: r.from - g.base, Bytes: r.to - r.from, Reason: r.reason,
			Action: "a torn end, as a crash leaves it. The next start cuts it and keeps it in the folder aside"})
		return
	}
	action := "put a frame there that says that something is lost. Restore the file if you can"
	if behind > 0 {
		action = fmt.Sprintf("put a frame there that says that something is lost; the %d sound frames behind it are kept. Restore the file if you can", behind)
	}
	n := c.find(Finding{Severity: SeverityDamage, Area: AreaFrame, File: g.name, Offset: r.from - g.base, Bytes: r.to - r.from, Reason: r.reason, Action: action})
	f := &fill{base: g.base, from: r.from, to: r.to, lost: r.to - r.from}
	c.addFill(n, f)
	if h, ok := c.guess(g, r); ok {
		end := h.logical + int64(h.size) - frameHeader
		c.lose(n, h.queue, h.logical, end, int64(h.count))
		f.exact, f.list = true, []goOn{{h.queue, end}}
		c.ends[h.queue] = end
	}
}

// frameBehindTorn counts what goes with a torn end.
func (c *checker) frameBehindTorn(h header, body []byte) {
	if h.kind == kindMessage {
		c.lose(c.torn, h.queue, h.logical, h.logical+int64(len(body)), int64(h.count))
	}
}

// made says whether the queue of a frame exists. If a queue's own frame is lost, the repair makes it, without its name.
func (c *checker) made(h header) bool {
	queue := h.queue
	switch h.kind {
	case kindMessage, kindTrim, kindGap, kindHidden:
	case kindQueue:
		queue-- // those before it exist
	default:
		return true
	}
	if int(queue) <= len(c.names) {
		return h.queue > 0
	}
	room := int64(0)
	for _, f := range c.fills {
		room += f.lost / frameHeader
	}
	if int64(queue)-int64(len(c.names)) > room || queue >= maxPartition {
		return false
	}
	for id := uint32(len(c.names) + 1); id <= queue; id++ {
		c.nameLost(id)
		c.ends[id] = 0
		c.fillHole(id, 0)
		c.lose(c.damage, id, 0, 0, -1)
	}
	return true
}

func (c *checker) nameLost(queue uint32) {
	if _, known := c.names[queue]; !known {
		c.names[queue] = queueName{lostTopic, int32(queue)}
	}
}

// fillHole lets a queue go on behind the last damaged place.
func (c *checker) fillHole(queue uint32, logical int64) {
	if len(c.fills) == 0 {
		return
	}
	f := c.fills[len(c.fills)-1]
	if i, listed := f.listed[queue]; listed {
		f.list[i].logical = logical
		return
	}
	if f.listed == nil {
		f.listed = map[uint32]int{}
	}
	f.listed[queue] = len(f.list)
	f.list = append(f.list, goOn{queue, logical})
}

// finishFills completes the frames that a repair is to write.
func (c *checker) finishFills() {
	c.goOnBehindUnknown()
	for _, f := range c.fills {
		if f.to-f.from < lostSize(len(f.list)) {
			// No frames that were ever there leave so little room.
			bad := &c.report.Findings[c.spanOf(f.from)]
			bad.fix, bad.Fixable, bad.Action = nil, false, "left as it is. Restore the directory from a replica or a backup"
		}
	}
}

// goOnBehindUnknown: where it is not known what was lost, it may have been the last messages of any queue that has none behind. Those queues
// go on further up too, so that an offset never gives two different messages.
func (c *checker) goOnBehindUnknown() {
	var last *fill
	total, lastFinding := int64(0), -1
	for _, f := range c.fills {
		if !f.exact {
			last, lastFinding = f, c.spanOf(f.from)
			total += f.lost
		}
	}
	if last == nil {
		return
	}
	var list []goOn
	for _, queue := range slices.Sorted(maps.Keys(c.names)) {
		if c.seen[queue] < last.to {
			end := c.ends[queue]
			list = append(list, goOn{queue, end + total})
			name := c.names[queue]
			f := &c.report.Findings[lastFinding]
			f.Lost = append(f.Lost, Loss{Topic: name.topic, Partition: name.partition, Queue: queue, From: end, To: end + total, Messages: -1, Possible: true})
		}
	}
	if lostSize(len(last.list)+len(list)) <= last.to-last.from {
		last.list = append(last.list, list...)
		return
	}
	end := &fill{base: c.tail[len(c.tail)-1].base, from: c.at}
	if c.torn >= 0 {
		end.base, end.from = c.tornBase, c.tornAt // over the beginning of what the next start cuts
	}
	end.to, end.list = end.from+align(lostSize(len(list))), list
	fix := c.report.Findings[lastFinding].fix
	c.report.Findings[lastFinding].fix = func() error {
		if err := fix(); err != nil {
			return err
		}
		return c.fill(end)
	}
}
