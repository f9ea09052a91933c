//go:build linux

package ship

import (
	"errors"
	"io"
	"slices"
	"time"
)

// This file has what is done when content is not where it was: files that were truncated, copied, compressed, removed, or changed while nobody looked.

// errNoFile is of a path that is something else.
var errNoFile = errors.New("it is not a regular file; of a directory, a pattern names the files: DIR/*.log, or DIR/**/*.log for those below it as well")

// errUnnamed is of a file that is in the checkpoint only.
var errUnnamed = errors.New("it is not followed: no path names it any more")

// errRenamed is of a path that became another file's after it was found. The next look finds it where it is.
var errRenamed = errors.New("it was renamed meanwhile")

// openCandidate opens what was found, if it is still there.
func (f *follower) openCandidate(c candidate) (source, error) {
	var src source
	var err error
	if isPacked(c.path) {
		src, err = openPacked(c.path, max(blockBytes, 4*f.input.MaxLine))
	} else {
		src, err = openPlain(c.path)
	}
	if err != nil {
		return nil, err
	}
	l, err := src.look()
	if err == nil && l.id != c.id {
		err = errRenamed
	}
	if err != nil {
		src.Close() // it was only read
		return nil, err
	}
	return src, nil
}

// openFile opens a file that is known.
func (f *follower) openFile(fl *file) {
	if fl.drained() && f.open >= f.agent.mostFiles {
		return // it can be closed as well
	}
	if !f.makeRoom() {
		f.crowded = append(f.crowded, fl)
		return
	}
	src, err := f.openCandidate(candidate{look: look{id: fl.id}, path: fl.path})
	if err != nil {
		f.complain(fl.path, "a file cannot be opened, it is tried again", err)
		fl.err = err
		return
	}
	fl.src, fl.err = src, nil
	f.open++
}

// roomPart is which part of the files is closed at once to make room for others. Looking for one at a time would take a look at all of them for each.
const roomPart = 16

// makeRoom closes files with nothing to read when there are too many open ones, those that have not changed for the longest time. It says whether another one may be
// opened.
func (f *follower) makeRoom() bool {
	if f.open < f.agent.mostFiles {
		return true
	}
	if f.full {
		return false
	}
	var quiet []*file
	for _, s := range f.streams {
		for _, fl := range s.files {
			if fl.src != nil && fl.done() {
				quiet = append(quiet, fl)
			}
		}
	}
	slices.SortFunc(quiet, func(a, b *file) int { return a.changed.Compare(b.changed) })
	for _, fl := range quiet[:min(len(quiet), max(1, f.agent.mostFiles/roomPart))] {
		fl.close()
	}
	f.full = len(quiet) == 0
	return !f.full
}

// openCrowded opens files for which there was no room before.
func (f *follower) openCrowded() {
	f.full = false
	waiting := f.crowded
	f.crowded = nil
	for i, fl := range waiting {
		if len(f.crowded) > 0 { // there is none
			f.crowded = append(f.crowded, waiting[i:]...)
			return
		}
		if f.known[fl.id] == fl && fl.src == nil && !fl.drained() {
			f.openFile(fl)
		}
	}
}

// prove says whether a file that is not open is what it was when it was last read: long enough, with the same beginning, and the same bytes before the
// position. If not, its inode belongs to another one now, or it was truncated.
func (f *follower) prove(fl *file, c candidate) bool {
	if fl.proven && (fl.packed || c.size == fl.size && c.modified.Equal(fl.modified)) {
		return true
	}
	src, err := f.openCandidate(c)
	if err != nil {
		f.complain(c.path, "a file cannot be opened, it is tried again", err)
		fl.err = err
		return true // nothing is known
	}
	defer src.Close()
	same, err := f.holds(fl, src)
	switch {
	case err != nil:
		f.complain(c.path, "a file cannot be read, it is tried again", err)
		fl.err = err
		return true
	case !same:
		f.log.Warn("a file has other content than when it was read last", "file", c.path, "position", fl.acked)
		f.orphan(fl, time.Now())
		return false
	}
	fl.proven = true
	return true
}

// holds says whether a source has what was read of a file.
func (f *follower) holds(fl *file, src source) (bool, error) {
	same, err := fl.head.matches(src, 0)
	if same && err == nil {
		same, err = fl.tail.matches(src, fl.acked-int64(fl.tail.Bytes))
	}
	return same, err
}

// overwritten sees to a file whose content is not what was read. The new content is another file in the same place; the old one may have been copied before.
func (f *follower) overwritten(fl *file) {
	f.counts.truncated.Add(1)
	f.log.Warn("a file was truncated: what it held is looked for in copies", "file", fl.path, "read", fl.next, "last_size", fl.size)
	f.orphan(fl, time.Now())
	f.scanAt = time.Time{}
}

// orphan takes a file out of its stream whose content is not there any more.
func (f *follower) orphan(fl *file, now time.Time) {
	fl.close()
	s := fl.stream
	s.files = slices.DeleteFunc(s.files, func(x *file) bool { return x == fl })
	if f.known[fl.id] == fl {
		delete(f.known, fl.id)
	}
	fl.live, fl.gone, fl.changed = false, true, now
	clear(f.passed) // one of them may be what is left of it
	f.orphans = append(f.orphans, fl)
	f.changes++
}

// leastCopied is from how many bytes on equal content is taken for a copy. Of less, another file may just begin with the same line.
const leastCopied = markBytes

// adopt goes on with a file, whose content is not where it was, in the one that was found, if that has it.
func (f *follower) adopt(c candidate, src source, size int64, now time.Time) *file {
	fl := f.orphanIn(c, src, size)
	if fl == nil {
		return nil
	}
	f.orphans = slices.DeleteFunc(f.orphans, func(o *file) bool { return o == fl })
	if fl.next < leastCopied {
		return nil // what was found is read from its beginning
	}
	f.log.Info("a copy has what a file held", "file", fl.path, "copy", c.path, "from", fl.acked)
	f.counts.adopted.Add(1)
	f.lose(fl, fl.size-max(size, fl.next), "the end of a file is lost: it is not in its copy")
	fl.id, fl.path, fl.packed, fl.live, fl.gone, fl.src, fl.proven = c.id, c.path, isPacked(c.path), !c.rotated, false, src, true
	fl.size, fl.modified, fl.changed = c.size, c.modified, now
	if fl.packed {
		fl.size, fl.ended = fl.next, false
	}
	fl.looked, fl.pending = 0, false
	f.follow(c.stream, fl)
	return fl
}

// orphanIn finds the file whose content is in what was found: the one of which most is known.
func (f *follower) orphanIn(c candidate, src source, size int64) (best *file) {
	for _, fl := range f.orphans {
		if fl.stream.path != c.stream || size < fl.next || best != nil && fl.acked <= best.acked {
			continue
		}
		// One that cannot be read is read from its beginning, when it can be.
		same, err := f.holds(fl, src)
		if n := len(fl.blocks); n > 0 && same && err == nil { // and what is on its way
			last := fl.blocks[n-1]
			same, err = last.tail.matches(src, last.to-int64(last.tail.Bytes))
		}
		if err == nil && same {
			best = fl
		}
	}
	return best
}

// isCopy says whether what was found has the same content as a file of the stream that is there, from its beginning, and no more: it was copied to be truncated, or
// compressed to be removed.
func (f *follower) isCopy(s *stream, c candidate, src source, size int64) bool {
	if size < leastCopied {
		return false
	}
	tail, err := tailOf(src, size)
	if err != nil {
		return false
	}
	for _, fl := range s.files {
		if fl.packed || fl.size < size || fl.head.Bytes < markBytes {
			continue
		}
		head, err := fl.head.matches(src, 0)
		if err == nil && head && f.hasBytes(fl, tail, size-int64(tail.Bytes)) {
			f.passed[c.id] = passed{c.look, nil}
			return true
		}
	}
	return false
}

// orphanBeyond finds the file of which more was read than what was found has: it was read on after it was copied, and then truncated.
func (f *follower) orphanBeyond(c candidate, src source, size int64) *file {
	if !c.rotated {
		return nil // whoever writes the same again means it
	}
	for _, fl := range f.orphans {
		if fl.stream.path != c.stream || size >= fl.next || fl.head.Bytes < markBytes {
			continue
		}
		// One that cannot be read is read from its beginning, when it can be.
		if same, err := fl.head.matches(src, 0); err != nil || !same {
			continue
		}
		places := slices.Clone(fl.places)
		for _, b := range fl.blocks {
			places = append(places, place{b.to, b.tail})
		}
		known := int64(0)
		for _, p := range places {
			if p.at > size {
				break
			}
			if same, err := p.before.matches(src, p.at-int64(p.before.Bytes)); err != nil || !same {
				known = 0
				break
			}
			known = p.at
		}
		if known >= leastCopied {
			return fl
		}
	}
	return nil
}

// hasBytes says whether a file, which may not be open, has the marked bytes at a place.
func (f *follower) hasBytes(fl *file, m mark, at int64) bool {
	src := fl.src
	if src == nil {
		var err error
		if src, err = f.openCandidate(candidate{look: look{id: fl.id}, path: fl.path}); err != nil {
			return false
		}
		defer src.Close()
	}
	same, err := m.matches(src, at)
	return err == nil && same
}

// orphanWait is how long a copy of lost content is waited for.
const orphanWait = 3 * leastScan

// loseOrphans gives up what was not found anywhere.
func (f *follower) loseOrphans(now time.Time) {
	f.orphans = slices.DeleteFunc(f.orphans, func(fl *file) bool {
		wait := orphanWait
		if fl.drained() && f.input.Gzip {
			wait = rememberFor // the compressed file may be made much later
		}
		if len(fl.blocks) > 0 || now.Sub(fl.changed) < wait {
			return false
		}
		f.changes++
		f.lose(fl, fl.size-fl.acked, "the rest of a file is lost: it was truncated or removed before it was read")
		return true
	})
}

// lose counts bytes of a file that are lost, if there are any.
func (f *follower) lose(fl *file, bytes int64, how string) {
	if bytes > 0 {
		f.counts.lostFiles.Add(1)
		f.counts.lost.Add(bytes)
		f.log.Error(how, "file", fl.path, "bytes", bytes)
	}
}

const (
	// rememberFor is how long it is known of a removed file what was read, for a compressed one that may come.
	rememberFor   = 48 * time.Hour
	mostRemember  = 1000
	tailScanBytes = 64 << 10
)

// remember keeps what is known of a file that is gone, where compressed files are read.
func (f *follower) remember(fl *file) {
	if !f.input.Gzip || fl.packed || fl.acked < leastCopied {
		return
	}
	if len(f.orphans) >= mostRemember {
		// The one that went first makes room: most files are compressed soon after they were rotated, or never.
		oldest := slices.IndexFunc(f.orphans, (*file).drained)
		if oldest < 0 {
			return // all of them have bytes that are looked for yet
		}
		f.orphans = slices.Delete(f.orphans, oldest, oldest+1)
	}
	copied := *fl
	copied.src, copied.blocks = nil, nil
	clear(f.passed) // the compressed file may be there already
	f.orphans = append(f.orphans, &copied)
}

// tailOf marks the bytes before a position.
func tailOf(src source, at int64) (mark, error) {
	b := make([]byte, min(markBytes, at))
	n, err := src.ReadAt(b, at-int64(len(b)))
	if err != nil && !errors.Is(err, io.EOF) {
		return mark{}, err
	}
	return markOf(b[:n]), nil
}

// lastLine is where the last line begins that has no newline, at most so many bytes before the end.
func lastLine(src source, size int64, n newlines, most int64) (int64, error) {
	from := max(0, size-most)
	from -= from % int64(n.width)
	b := make([]byte, size-from)
	got, err := src.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	b = b[:got]
	at := 0
	for {
		i := n.index(b[at:])
		if i < 0 {
			break
		}
		at += i + n.width
	}
	if at == 0 && from > 0 {
		return size - size%int64(n.width), nil
	}
	return from + int64(at), nil
}

// unpackedSize reads a compressed file to its end.
func unpackedSize(src source) (int64, error) {
	b := make([]byte, tailScanBytes)
	for at := int64(0); ; {
		n, err := src.ReadAt(b, at)
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return at, nil
		case err != nil:
			return 0, err
		}
	}
}
