package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/fault"
)

// load brings the store into the state of the directory.
func (s *Store) load() error {
	if err := s.loadIdentity(); err != nil {
		return err
	}
	if err := s.loadFlushed(); err != nil {
		return err
	}
	if !s.options.ReadOnly {
		if err := s.removeLeftovers(); err != nil {
			return err
		}
	}
	c, prev, err := s.readCheckpoint()
	if err != nil {
		return fmt.Errorf("no sound checkpoint: %w", err)
	}
	if prev {
		c.clean = false // the log was written since
		s.options.Log.Warn().Msg("the last checkpoint is damaged or missing; going on from the one before")
	}
	s.checkpointSound = c != nil && !prev
	bases, indexed, err := segmentBases(s.fs, s.options.Dir)
	if err != nil {
		return err
	}
	if c == nil {
		if len(bases) > 0 && bases[0] != 0 {
			return &CorruptError{File: s.path(checkpointName), Reason: "missing, and the log does not begin at 0, so the queues cannot be rebuilt from it"}
		}
		c = &checkpoint{offsets: map[string]int64{}, hidden: map[int64]*hiddenGroup{}, bootID: s.options.BootID}
	} else {
		s.restore(c)
		s.checkpointedNext = c.pos
	}
	tail, err := s.openSegments(c, bases, indexed)
	if err != nil {
		return err
	}
	fault.Point("recovery.opened")
	s.verified = c.pos
	if err := s.replay(c, tail); err != nil {
		var corrupt *CorruptError
		if !s.options.ReadOnly || !errors.As(err, &corrupt) {
			return err
		}
		s.options.Log.Error().Err(err).Msg("the log is damaged; serving what lies before, read-only")
	}
	for _, q := range s.byID {
		q.readable = q.end
	}
	s.flushed.Store(s.appended)
	if s.options.ReadOnly {
		return nil
	}
	fault.Point("recovery.replayed")
	return s.begin(c)
}

// removeLeftovers throws away what a crash left half made.
func (s *Store) removeLeftovers() error {
	for _, dir := range []string{s.options.Dir, s.path("log")} {
		names, err := s.fs.List(dir)
		if err != nil {
			return err
		}
		for _, n := range names {
			if strings.HasSuffix(n, preparedSuffix) || strings.HasSuffix(n, ".tmp") {
				if err := s.fs.Remove(filepath.Join(dir, n)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// restore takes the state of a checkpoint.
func (s *Store) restore(c *checkpoint) {
	s.epoch = max(c.epoch, 1)
	s.appended = c.pos
	s.hidden, s.foreign = c.hidden, c.foreign
	for key, offset := range c.offsets {
		s.setOffsetLocked([]byte(key), offset)
	}
	s.ids.observe(c.lastID)
	for _, st := range c.queues {
		q := s.newQueue(st.id, st.topic, st.partition)
		q.starts, q.min, q.end, q.next, q.messages = st.starts, st.starts[0].offset, st.end, st.end, st.messages
		q.closed.Store(st.flags&queueClosed != 0)
		q.relaxed = st.flags&queueRelaxed != 0
	}
}

// openSegments enters all segments and maps those behind the checkpoint, which it returns. What lies before is mapped when it is read.
func (s *Store) openSegments(c *checkpoint, bases []int64, indexed map[int64]bool) (tail []*segment, err error) {
	for i, base := range bases {
		if base >= c.pos {
			seg, err := s.openTail(base)
			if err != nil {
				return nil, err
			}
			s.segments, tail = append(s.segments, seg), append(tail, seg)
			continue
		}
		end := c.pos
		if i+1 < len(bases) {
			end = min(end, bases[i+1])
		}
		seg := &segment{base: base, end: end, limit: end, salt: s.salt, name: segmentName(s.options.Dir, base), sealed: true}
		seg.pins.Store(unmapped)
		s.segments = append(s.segments, seg)
		if !indexed[base] {
			if err := s.pin(seg, false); err != nil {
				return nil, err
			}
			seg.unpin()
		}
	}
	return tail, nil
}

// openTail opens a segment that is replayed. That is one in the order of the log, unless both checkpoints are gone.
func (s *Store) openTail(base int64) (*segment, error) {
	seg, err := openSegment(s.fs, s.options.Dir, base, s.salt)
	if err != nil {
		return nil, err
	}
	if seg.findOrder(math.MaxInt64); !seg.clustered {
		return seg, nil
	}
	seg.close()
	if s.options.ReadOnly {
		return nil, &CorruptError{File: seg.name, Reason: "both checkpoints are gone, and the segment is in the order of its queues. A start that may write puts it back"}
	}
	if err := restoreOrder(s.fs, s.options.Dir, base, s.salt, func(r region) error {
		return &CorruptError{File: seg.name, Offset: r.from - seg.base, Reason: r.reason + ". Nothing was changed. Restore the file, or see `metaq check --repair`"}
	}); err != nil {
		return nil, err
	}
	s.options.Log.Warn().Str("segment", seg.name).Msg("both checkpoints are gone: the segment was put back into the order of the log, to be read")
	return openSegment(s.fs, s.options.Dir, base, s.salt)
}

// replay applies the frames behind the checkpoint. At the first bad place it decides: torn tail or damage. What the disk cannot read is neither: it
// may give it again.
func (s *Store) replay(c *checkpoint, tail []*segment) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer onFault(func() {
		err = s.corruptAt(s.appended, reasonUnreadable+". Nothing was changed. Look after the disk, restore the file, or see `metaq check --repair`")
	})
	missing := map[int64]bool{}
	for _, base := range c.segments {
		if g := findSegment(s.segments, base); g == nil || g.base != base {
			missing[base] = true
		}
	}
	pos := c.pos
	if len(tail) == 0 && c.stored && !c.clean {
		return s.missingSegment(pos)
	}
	for i, seg := range tail {
		if seg.base != pos {
			return s.missingSegment(pos)
		}
		s.open, seg.runs = seg, s.takeRuns()
		reason := ""
		for reason == "" {
			var h header
			var body []byte
			h, body, reason = frameAt(seg.bytes(pos), pos, s.salt)
			if reason != "" {
				break
			}
			if err := s.apply(seg, h, body, missing); err != nil {
				return err
			}
			pos += align(int64(h.size))
			s.appended = pos
		}
		whole := reason == "end" && (i+1 == len(tail) || tail[i+1].base == pos) && allZero(seg.bytes(pos))
		seg.end = pos
		if !whole {
			return s.broken(c, tail, i, pos, reason)
		}
	}
	for base := range missing {
		return s.missingSegment(base)
	}
	if s.appended < s.noted {
		return s.endsEarly(tail)
	}
	return nil
}

// missingSegment: a checkpoint is written after the segments that it needs have their names, and an empty segment keeps its name until
// the next one takes it, so no crash loses one of these.
func (s *Store) missingSegment(base int64) error {
	return &CorruptError{File: segmentName(s.options.Dir, base), Reason: "the segment is missing, and nothing says that it was dropped. " +
		"Nothing was changed. Restore the file, or see `metaq check --repair`"}
}

// apply does what a frame says.
func (s *Store) apply(seg *segment, h header, body []byte, missing map[int64]bool) error {
	bad := func(reason string) error {
		return &CorruptError{File: seg.name, Offset: h.pos - seg.base, Reason: reason}
	}
	q := s.queueByID(h.queue)
	switch h.kind {
	case kindMessage, kindTrim, kindGap, kindHidden:
		if q == nil {
			return bad(fmt.Sprintf("a %s frame of queue %d, which was never made", h.kind, h.queue))
		}
	}
	switch h.kind {
	case kindMessage:
		if h.logical != q.end {
			return bad(fmt.Sprintf("%s-%d goes on at offset %d instead of %d", q.topic, q.partition, h.logical, q.end))
		}
		q.addRunLocked(seg, entry{logical: h.logical, pos: h.pos + frameHeader, time: h.time, bytes: uint32(len(body)), count: uint32(h.count)}, body)
		s.observeIDs(body)
	case kindQueue:
		flags, partition, topic, ok := parseQueueBody(body)
		if !ok || partition < 0 || partition >= maxPartition || h.queue == 0 || int(h.queue) > len(s.byID)+1 {
			return bad("a queue frame that makes no sense")
		}
		if q == nil {
			q = s.newQueue(h.queue, protocol.Topic(topic), partition)
		}
		q.closed.Store(flags&queueClosed != 0)
		q.relaxed = q.relaxed || flags&queueRelaxed != 0
	case kindOffset:
		s.setOffsetLocked(body, h.logical)
	case kindTrim:
		q.trimLocked(h.logical)
	case kindGap:
		if h.logical < q.end {
			return bad(fmt.Sprintf("%s-%d goes back from offset %d to %d", q.topic, q.partition, q.end, h.logical))
		}
		q.jumpLocked(h.logical)
	case kindLost:
		list, ok := parseLost(h, body)
		if !ok || !s.applyLost(list) {
			return bad("a lost frame that makes no sense")
		}
	case kindHidden:
		s.addHiddenLocked(h.logical, publishedRun{queue: h.queue, bytes: uint32(len(body)), count: uint32(h.count), pos: h.pos + frameHeader})
		s.observeIDs(body)
	case kindPublish:
		list, ok := parsePublishedRuns(body)
		ends := map[uint32]int64{}
		for _, r := range list {
			q := s.queueByID(r.queue)
			if q == nil {
				ok = false
				break
			}
			if end, seen := ends[r.queue]; r.logical != end && seen || r.logical != q.end && !seen {
				return bad(fmt.Sprintf("%s-%d does not go on at the published offset %d", q.topic, q.partition, r.logical))
			}
			ends[r.queue] = r.logical + int64(r.bytes)
		}
		if !ok {
			return bad("a publish frame that makes no sense")
		}
		s.publishGroupLocked(h.logical, list, h.time)
	case kindDiscard:
		delete(s.hidden, h.logical)
	case kindDrop:
		delete(missing, h.logical)
	default:
		return bad(fmt.Sprintf("a frame of kind %d, which this program does not know", h.kind))
	}
	return nil
}

// observeIDs keeps message ids growing over a restart.
func (s *Store) observeIDs(records []byte) {
	for n := int64(0); n+protocol.RecordHeader <= int64(len(records)) && !fault.Mutant("forget_the_last_id"); n += recordSize(records[n:]) {
		var id int64
		for _, c := range records[n+8 : n+16] {
			id = id<<8 | int64(c)
		}
		s.ids.observe(id)
	}
}

// broken decides about a bad place at log position pos in tail[i]. Frames behind it that were written when pos was already safe on
// disk prove damage. So does any frame behind it if the machine was not restarted: a killed process loses nothing of what it wrote, and
// tears at most its last write. Otherwise it is a torn tail: it is kept aside and cut.
func (s *Store) broken(c *checkpoint, tail []*segment, i int, pos int64, reason string) error {
	if reason == "end" {
		reason = "the log ends here, but there is something behind it"
	}
	samePower := c.bootID == s.options.BootID
	behind, safe := survivors(tail[i:], pos)
	safe = max(safe, s.noted)
	seg := tail[i]
	if (safe > pos || (behind > 0 && samePower)) && !fault.Mutant("cut_at_any_bad_frame") {
		why := fmt.Sprintf("%d sound frames lie behind it", behind)
		if behind == 0 {
			why = fmt.Sprintf("the log was flushed up to %d bytes behind it", safe-pos)
		}
		return &CorruptError{File: seg.name, Offset: pos - seg.base,
			Reason: fmt.Sprintf("%s; %s, so this is damage and not a torn end. Nothing was changed. Restore the file, or see `metaq check --repair`", reason, why)}
	}
	if s.options.ReadOnly {
		return nil
	}
	return s.cutTail(tail, i, pos, reason)
}

// cutTail keeps what lies behind pos in the folder aside, and forgets it.
func (s *Store) cutTail(tail []*segment, i int, pos int64, reason string) error {
	if err := s.fs.MkdirAll(s.path("aside")); err != nil {
		return err
	}
	for _, seg := range tail[i:] {
		from := max(pos, seg.base)
		rest := bytes.TrimRight(seg.bytes(from), "\x00")
		if len(rest) > 0 {
			s.tornBytes += int64(len(rest))
			name := filepath.Join(s.path("aside"), fmt.Sprintf("%020d.torn", from))
			for n := 2; ; n++ { // the log may be torn at one place more than once
				if _, err := s.fs.Stat(name); err != nil {
					break
				}
				name = filepath.Join(s.path("aside"), fmt.Sprintf("%020d.torn.%d", from, n))
			}
			if err := writeFile(s.fs, name, rest); err != nil {
				return err
			}
			fault.Point("recovery.torn_kept")
		}
		if seg.base > pos {
			seg.close()
			if err := s.fs.Remove(seg.name); err != nil {
				return err
			}
		}
	}
	s.segments = slices.DeleteFunc(s.segments, func(g *segment) bool { return g.base > pos })
	s.options.Log.Warn().Int64("bytes", s.tornBytes).Str("segment", tail[i].name).Int64("at", pos-tail[i].base).Str("reason", reason).
		Msg("cut a torn end of the log, as a crash leaves it; the bytes are kept in the folder aside")
	return nil
}

// begin seals what was replayed and opens a new segment, so that nothing is ever written over what a crash left.
func (s *Store) begin(c *checkpoint) error {
	again := exists(s.fs, s.path(unsyncedName)) // a sync has failed before
	s.open = nil
	kept := s.segments[:0:0]
	for _, seg := range s.segments {
		if seg.base < c.pos {
			kept = append(kept, seg)
			continue
		}
		if seg.end == seg.base {
			seg.close() // the new segment takes its name
			continue
		}
		if err := s.sealRecovered(seg, again); err != nil {
			return err
		}
		kept = append(kept, seg)
	}
	fault.Point("recovery.sealed")
	s.segments = kept
	p, err := s.prepare()
	if err != nil {
		if p, err = s.takeReserveLocked(0, err); err != nil {
			return err
		}
	}
	if s.open, err = p.place(s.fs, s.options.Dir, s.appended, s.salt); err != nil {
		return err
	}
	s.open.runs = s.takeRuns()
	s.segments = append(s.segments, s.open)
	if err := s.fs.SyncDir(s.path("log")); err != nil {
		return err
	}
	fault.Point("recovery.placed")
	for _, q := range s.byID {
		q.relaxed = q.relaxed || !q.rules.groupCommit() // from the checkpoint on
	}
	data := s.encodeCheckpoint(s.open.base, false)
	if !c.clean && c.bootID != s.options.BootID {
		// Before the checkpoint, which has the new boot id: a second power cut here jumps once more.
		if err := s.jumpGaps(); err != nil {
			return err
		}
	}
	if again {
		if err := s.forgetFailedSync(); err != nil {
			return err
		}
	}
	return s.writeCheckpoint(data)
}

// sealRecovered seals a segment that was replayed. again says that a sync has failed before, so that nothing that is in memory can be taken for safe.
func (s *Store) sealRecovered(seg *segment, again bool) error {
	f, err := s.fs.Open(seg.name)
	if err != nil {
		return err
	}
	defer f.Close()
	if seg.end != seg.limit { // longer, if the file ends in the padding of the last frame
		if err := f.Truncate(seg.end - seg.base); err != nil {
			return fmt.Errorf("cut %s to its length: %w", seg.name, err)
		}
		seg.limit = min(seg.limit, seg.end)
	}
	if again {
		if err := writeAgain(f); err != nil {
			return fmt.Errorf("write %s again: %w", seg.name, err)
		}
	}
	if err := f.Sync(); err != nil {
		s.noteFailedSync()
		return fmt.Errorf("sync %s: %w", seg.name, err)
	}
	if seg.runs == nil {
		seg.runs = s.takeRuns() // of a file that was not reached, because the log ends before it
	}
	return s.writeIndex(seg)
}

// jumpGaps runs after a power cut. A queue without group commit may have served records that are lost now, so it goes on beyond
// anything that can have been served: an offset never gives two different messages. With very many queues the gaps fill segments, whose
// snapshots are taken meanwhile.
func (s *Store) jumpGaps() error {
	s.mu.Lock()
	err := s.jumpGapsLocked()
	segs := append(s.unsynced, s.open)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	fault.Point("recovery.gaps")
	if err := s.syncAll(segs, true); err != nil {
		return err
	}
	s.flushed.Store(s.appended)
	return nil
}

func (s *Store) jumpGapsLocked() error {
	for _, q := range s.byID {
		if !q.relaxed || fault.Mutant("no_gap_after_a_power_cut") {
			continue
		}
		to := q.end + s.options.MaxUnflushed
		if _, err := s.appendControlLocked(kindGap, q.id, to, nil, func(int64) { q.jumpLocked(to); q.readable = to }); err != nil {
			return err
		}
	}
	return nil
}
