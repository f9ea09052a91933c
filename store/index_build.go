package store

import (
	"fmt"

	"github.com/metaq/metaq/store/vfs"
)

// indexBuilder collects the runs of a segment from its frames.
type indexBuilder map[uint32][]entry

func (x indexBuilder) add(h header, body []byte) {
	switch h.kind {
	case kindMessage:
		x[h.queue] = append(x[h.queue], runOf(h, body))
	case kindPublish:
		list, _ := parsePublishedRuns(body)
		for _, r := range list {
			x[r.queue] = append(x[r.queue], entry{logical: r.logical, pos: r.pos, time: h.time, bytes: r.bytes, count: r.count})
		}
	}
}

func runOf(h header, body []byte) entry {
	return entry{logical: h.logical, pos: h.place + frameHeader, time: h.time, bytes: uint32(len(body)), count: uint32(h.count)}
}

func (x indexBuilder) encode(base int64, clustered bool, with salt) []byte {
	list := make([]queueRuns, 0, len(x))
	for q, r := range x {
		list = append(list, queueRuns{queue: q, runs: r})
	}
	return encodeIndex(base, list, clustered, with)
}

// openOrder finds out in which order the frames of a sealed segment lie, which is mapped and followed by the one at next, and maps its index file, or
// makes it again.
func (s *Store) openOrder(seg *segment, next int64) (*sealedIndex, error) {
	if seg.mapping != nil {
		seg.mapping.Prefetch(0, firstRead) // the disk reads the beginnings of both files at a time
	}
	index, err := openIndex(s.fs, indexName(seg.name), seg.base, s.salt)
	seg.findOrder(next)
	if err == nil {
		if err = index.fits(seg); err == nil {
			return index, nil
		}
		index.unmap()
	}
	s.options.Log.Warn().Err(err).Str("segment", seg.name).Msg("the index cannot be used; rebuilding it from the segment")
	return s.rebuildIndex(seg)
}

// fits says whether the index is of the order that the segment is in. A crash between the two renames of a rewrite leaves one that is not.
func (x *sealedIndex) fits(g *segment) error {
	if x.clustered != g.clustered {
		return &CorruptError{File: x.file, Reason: "it is from before the segment was rewritten in another order"}
	}
	return nil
}

// rebuildIndex makes the index of a sealed segment again, from its frames. Those that are damaged are left out, and logged: a read of
// their offsets is an error, everything else is served.
func (s *Store) rebuildIndex(seg *segment) (*sealedIndex, error) {
	built := indexBuilder{}
	walkFrames(seg, seg.end, built.add, func(r region) {
		s.options.Log.Error().Str("segment", seg.name).Int64("at", r.from-seg.base).Int64("bytes", r.to-r.from).Str("reason", r.reason).
			Msg("the segment is damaged: what lies here cannot be read. See `metaq check`")
	})
	name, data := indexName(seg.name), built.encode(seg.base, seg.clustered, s.salt)
	if s.options.ReadOnly {
		return parseIndex(name, memory(data), seg.base, s.salt)
	}
	if err := writeFile(s.fs, name, data); err != nil {
		return nil, err
	}
	return openIndex(s.fs, name, seg.base, s.salt)
}

// healIndex replaces an index that turned out to be damaged while it was read. The segment is pinned.
// The old one stays mapped as long as the segment is: others may be reading it.
func (s *Store) healIndex(seg *segment, old *sealedIndex) (*sealedIndex, error) {
	s.healing.Lock()
	defer s.healing.Unlock()
	s.mu.Lock()
	now := seg.index
	s.mu.Unlock()
	if now != old {
		return now, nil
	}
	s.options.Log.Warn().Err(old.check()).Str("segment", seg.name).Msg("the index is damaged; rebuilding it from the segment")
	fresh, err := s.rebuildIndex(seg.whole())
	if err != nil {
		return nil, fmt.Errorf("rebuild the index of %s: %w", seg.name, err)
	}
	fresh.old = old
	s.mu.Lock()
	seg.index = fresh
	s.mu.Unlock()
	return fresh, nil
}

// memory is a mapping without a file.
type memory []byte

var _ vfs.Mapping = memory(nil)

func (m memory) Bytes() []byte                     { return m }
func (m memory) Advise(int64, int64)               {}
func (m memory) Prefetch(int64, int64)             {}
func (m memory) Load(int64, int64)                 {}
func (m memory) Cached(offset, length int64) int64 { return length }
func (m memory) Unmap() error                      { return nil }
