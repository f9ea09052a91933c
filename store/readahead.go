package store

import (
	"slices"

	"github.com/metaq/metaq/store/vfs"
)

const (
	// Runs of a queue that lie so near to each other are read with what lies between: for the disk that is one read, and mostly others want
	// the rest of it soon.
	readGap = 64 << 10
	// firstRead is what of a file is read to know what it is.
	firstRead = 16 << 10
	// maxAhead bounds what is read ahead of a reader, in bytes of its queue.
	maxAhead = 1 << 20
	// maxReads bounds the reads that one answer gives the disk at a time.
	maxReads = 256
)

// piece is a part of a file.
type piece struct{ from, to int64 }

// pieces are the parts of the segment in which the next bytes of the queue lie from run n on, near ones together. next is the run behind.
func (f *found) pieces(list []piece, n int, bytes int64) (_ []piece, next int) {
	g := f.segment
	for ; n < f.runs.len() && bytes > 0 && len(list) < maxReads; n++ {
		e := f.runs.at(n)
		if e.pos < g.base || e.pos >= g.limit {
			break
		}
		from, to := e.pos-frameHeader-g.base, e.pos-g.base+int64(e.bytes)
		if last := len(list) - 1; last >= 0 && from >= list[last].from && from-list[last].to <= readGap {
			list[last].to = max(list[last].to, to)
		} else {
			list = append(list, piece{from, to})
		}
		bytes -= int64(e.bytes)
	}
	return list, n
}

// bring reads what an answer needs, from run n of the segment on, and has the disk begin with what its reader will ask for next, which may lie in
// the next segment. Small reads are all on their way before the first is waited for.
func (q *Queue) bring(f *found, answer int64) {
	var room, more [16]piece
	now, next := f.pieces(room[:0], f.n, answer)
	later, next := f.pieces(more[:0], next, min(answer, maxAhead))
	d := f.segment.demanded()
	how := d.begin(f.queue, now, later)
	if next == f.runs.len() && f.inFile == f.segment {
		q.bringNext(f, min(answer, maxAhead), d.readsBlocks(nil))
	}
	d.finish(now, how)
}

// cached says whether pieces are in memory: to find that out costs a fraction of what it costs to ask for them once more.
func cached(m vfs.Mapping, list []piece) bool {
	for _, p := range list {
		if m.Cached(p.from, p.to-p.from) < p.to-p.from {
			return false
		}
	}
	return true
}

// bringNext has the disk begin with the first bytes of the queue in the segment behind the one that is read. If that one is read in blocks, so will
// this one be soon, and small reads are only counted.
func (q *Queue) bringNext(f *found, bytes int64, blocks bool) {
	i := slices.Index(f.segments, f.segment) + 1
	if i == len(f.segments) {
		return
	}
	g := f.segments[i]
	var room [16]piece
	list := room[:0]
	if err := q.sealedRuns(g, false, func(r *runs) {
		if g.mapping != nil {
			list, _ = (&found{runs: *r, segment: g}).pieces(room[:0], 0, bytes)
		}
	}); err != nil {
		return // whoever reads it will say so
	}
	defer g.unpin()
	switch {
	case g.mapping == nil:
	case blocks:
		g.demanded().pay(f.queue, list)
	default:
		g.demanded().begin(f.queue, nil, list)
	}
}
