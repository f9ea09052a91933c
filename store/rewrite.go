package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime/debug"

	"github.com/metaq/metaq/store/fault"
	"github.com/metaq/metaq/store/vfs"
)

// A segment that is read from disk is fastest in the order of its queues: who reads one queue then reads one part of the file, and not a
// little of each page. So sealed segments are rewritten, one at a time: the same frames with the log positions that they came from, queue after
// queue, and what belongs to no queue at the end. The file keeps its size, and its first frame is never the first one of the log, which tells
// the two orders apart. Its index has the places instead of the positions.

// rewriteChunk is how much is written at once, in bytes, and a step of reading. The flush of a put that comes meanwhile waits for it.
const rewriteChunk = 64 << 10

// lookShare is how many bytes that are only looked through in memory cost as much as one that is read from the disk or written. A segment takes
// some 50 ms of a processor, which puts would notice if it were all at once.
const lookShare = 8

// errNotWorth ends a rewrite of a segment that stays as it is. It is not an error to anybody.
var errNotWorth = errors.New("the segment stays as it is")

// findOrder finds out in which order the frames of a sealed segment lie, from the first sound one that decides it. next is where the next segment
// begins: the frames of this one come from before that, however long the file is.
func (g *segment) findOrder(next int64) {
	g.until = min(g.limit, next)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if g.mapping != nil {
		g.mapping.Advise(0, firstRead)
	}
	g.clustered = true // for the search: a frame may come from anywhere in the segment
	for place := g.base; place >= 0 && place < g.top(); {
		h, _, reason := g.frame(place, g.top())
		switch {
		case reason == "end" && g.zeroFrom(place, g.top()):
			place = g.top()
		case reason != "":
			place = g.nextFrame(place, g.top())
		case h.pos != place:
			return
		case place == g.base:
			g.clustered = false
			return
		default:
			place += align(int64(h.size))
		}
	}
	g.clustered = false
}

// rewrite is a segment on its way to the order of its queues.
type rewrite struct {
	store   *Store
	segment *segment // pinned
	old     *sealedIndex
	index   []byte // the new one
	out     vfs.File
	buf     []byte
	end     int64 // log position behind the last frame of the segment
	at      int64 // bytes written to out
	cold    bool  // the segment was not in memory: it shall not be afterwards either
	wait    func(bytes int64) bool
}

// rewriteSegment puts a sealed segment into the order of its queues. wait is called before bytes are read from the disk or written; false ends
// it. errNotWorth is the answer for a segment that should not be rewritten, a *CorruptError for one that must not be because it is damaged.
func (s *Store) rewriteSegment(g *segment, wait func(bytes int64) bool) (err error) {
	if err := s.pin(g, false); err != nil {
		return err
	}
	pinned := true
	defer func() {
		if pinned {
			g.unpin()
		}
	}()
	s.mu.Lock()
	old := g.index
	s.mu.Unlock()
	if g.clustered || g.mapping == nil || old == nil {
		return errNotWorth
	}
	if old.check() != nil {
		if old, err = s.healIndex(g, old); err != nil {
			return err
		}
	}
	if err := old.guarded(func() error {
		if !old.worth() {
			return errNotWorth
		}
		return nil
	}); err != nil {
		return err
	}
	r := &rewrite{store: s, segment: g, old: old, wait: wait, cold: g.mapping.Cached(0, int64(len(g.data))) < int64(len(g.data))/2}
	log, index := g.name+".tmp", indexName(g.name)+".tmp"
	defer func() {
		for _, name := range []string{log, index} {
			if rerr := s.fs.Remove(name); rerr != nil && !isNotExist(rerr) {
				err = errors.Join(err, rerr)
			}
		}
	}()
	if err := r.inspect(); err != nil {
		return err
	}
	if err := r.write(log, index); err != nil {
		return err
	}
	pinned = false
	g.unpin()
	for {
		done, err := s.replaceSegment(g, log, index)
		if err != nil {
			return err
		}
		if done {
			break
		}
		if !s.pause(replacePause) {
			return ErrClosed
		}
	}
	s.rewritten.Add(1)
	return s.fs.SyncDir(s.path("log"))
}

// inspect reads the segment once in its order, which brings it into memory, and looks whether it may be rewritten. Positions of hidden runs
// are in frames of other segments, and the others decide about what comes behind them in a queue: segments with such frames stay as they are.
func (r *rewrite) inspect() (err error) {
	g := r.segment
	var at int64
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer onFault(func() { err = r.store.corruptAt(at, reasonUnreadable) })
	end := min(g.end, g.top())
	read, messages := g.base, 0
frames:
	for at = g.base; at < end; {
		for ; read < min(at+frameHeader, end); read += rewriteChunk {
			cost := int64(rewriteChunk)
			if !r.cold {
				cost /= lookShare
			}
			if !r.wait(cost) {
				return ErrClosed
			}
			g.mapping.Advise(read-g.base, rewriteChunk)
		}
		b := g.bytes(at)[:end-at]
		if len(b) < frameHeader {
			return r.store.corruptAt(at, "a header that goes beyond the segment")
		}
		h := readHeader(b)
		if h.size == 0 && g.zeroFrom(at, end) {
			break frames // the segment behind it was removed, which leaves the end of this one to be found; or its file was never cut
		}
		switch h.kind {
		case kindMessage:
			messages++ // its checksum is compared when it is copied
			if h.pos != at || int64(h.size) > int64(len(b)) || h.size < frameHeader {
				return r.store.corruptAt(at, "no frame begins here")
			}
		case kindQueue, kindOffset, kindTrim, kindDrop:
			if _, _, reason := frameAt(b, at, g.salt); reason != "" {
				return r.store.corruptAt(at, reason)
			}
		default:
			if _, _, reason := frameAt(b, at, g.salt); reason != "" {
				return r.store.corruptAt(at, reason)
			}
			return errNotWorth
		}
		at += align(int64(h.size))
	}
	if messages != r.old.total() {
		return r.store.corruptAt(at, "the segment does not fit its index")
	}
	r.end = at
	return nil
}

// write makes both files.
func (r *rewrite) write(log, index string) (err error) {
	s := r.store
	for _, name := range []string{log, index} {
		if err := s.fs.Remove(name); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove an old %s: %w", name, err)
		}
	}
	old := r.old.mapping.Bytes()
	buf, free := vfs.Anonymous(rewriteChunk)
	defer free()
	var freeIndex func()
	r.index, freeIndex = vfs.Anonymous(len(old))
	defer freeIndex()
	r.buf = buf[:0]
	copy(r.index, old)
	if err := r.file(log, r.copyFrames); err != nil {
		return err
	}
	fault.Point("rewrite.written")
	return r.file(index, r.finishIndex)
}

// file makes one of the files, and leaves no more of it in memory than was there of the segment.
func (r *rewrite) file(name string, fill func() error) error {
	f, err := r.store.fs.Create(name)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	r.out, r.at = f, 0
	if err = fill(); err == nil {
		err = f.Sync()
	}
	if r.cold {
		f.Uncache()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("rewrite %s: %w", name, err)
	}
	return nil
}

// copyFrames writes the frames in their new order and enters their places into the index.
func (r *rewrite) copyFrames() (err error) {
	g, x := r.segment, r.old
	size := r.end - g.base
	if err := r.out.Allocate(size); err != nil {
		return err
	}
	var at int64
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer onFault(func() { err = r.store.corruptAt(at, reasonUnreadable) })
	first := 0
	if runs := x.runsAt(0); runs.at(0).pos == g.base+frameHeader {
		first = 1 // the first frame of the log must not be the first one of the file
	}
	entries := r.index[indexHeader+len(x.dir):]
	for n := range x.queues {
		i := (first + n) % x.queues
		queue, runs := le.Uint32(x.dir[i*indexDirRecord:]), x.runsAt(i)
		number := int(le.Uint32(x.dir[i*indexDirRecord+8:]))
		for j := range runs.len() {
			e := runs.at(j)
			at = e.pos - frameHeader
			if reason := g.checkRun(queue, e, true); reason != "" {
				return r.store.corruptAt(at, reason)
			}
			le.PutUint64(entries[(number+j)*entrySize+8:], uint64(g.base+r.place()+frameHeader))
			if err := r.frame(g.bytes(at)[:frameHeader+e.bytes]); err != nil {
				return err
			}
		}
	}
	for at = g.base; at < r.end; {
		b := g.bytes(at)
		n := le.Uint32(b)
		if kind(b[8]) != kindMessage {
			if err := r.frame(b[:n]); err != nil {
				return err
			}
		}
		at += align(int64(n))
	}
	if r.place() != size {
		return r.store.corruptAt(g.base, "the segment does not fit its index")
	}
	return r.flush()
}

// finishIndex seals the new index and writes it.
func (r *rewrite) finishIndex() error {
	dirEnd := indexHeader + len(r.old.dir)
	copy(r.index, clusteredMagic)
	for i := range r.old.queues {
		dir := r.index[indexHeader+i*indexDirRecord:]
		n, first := int(le.Uint32(dir[4:])), int(le.Uint32(dir[8:]))
		le.PutUint32(dir[12:], crc32.Checksum(r.index[dirEnd+first*entrySize:dirEnd+(first+n)*entrySize], castagnoli))
	}
	le.PutUint32(r.index[24:], crc32.Checksum(r.index[dirEnd:], castagnoli))
	le.PutUint32(r.index[28:], dirCRC(r.index, dirEnd, r.store.salt))
	if err := r.bytes(r.index); err != nil {
		return err
	}
	return r.flush()
}

// place is where the next frame will lie in the file.
func (r *rewrite) place() int64 { return r.at + int64(len(r.buf)) }

// frame writes a frame and its padding.
func (r *rewrite) frame(b []byte) error {
	if err := r.bytes(b); err != nil {
		return err
	}
	return r.bytes(zeroPage[:align(int64(len(b)))-int64(len(b))])
}

func (r *rewrite) bytes(b []byte) error {
	for len(b) > 0 {
		n := copy(r.buf[len(r.buf):cap(r.buf)], b)
		r.buf, b = r.buf[:len(r.buf)+n], b[n:]
		if len(r.buf) == cap(r.buf) {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what is collected, to the disk at once: the kernel would write more of it when it likes, in the way of puts. It does not sync:
// each sync is a commit of the file system's journal, for which the flush of a put that comes meanwhile would wait.
func (r *rewrite) flush() error {
	if len(r.buf) == 0 {
		return nil
	}
	if !r.wait(int64(len(r.buf))) {
		return ErrClosed
	}
	if _, err := r.out.WriteAt(r.buf, r.at); err != nil {
		return err
	}
	if err := r.out.WriteOut(r.at, int64(len(r.buf))); err != nil {
		return err
	}
	r.store.rewrittenBytes.Add(int64(len(r.buf)))
	r.at += int64(len(r.buf))
	r.buf = r.buf[:0]
	return nil
}

// replaceSegment gives the files that were written the names of the segment and its index; false if somebody reads the segment just now. A
// crash between the two leaves an index that does not fit the segment, says so, and is made again.
func (s *Store) replaceSegment(g *segment, log, index string) (done bool, err error) {
	s.mapped.mu.Lock()
	defer s.mapped.mu.Unlock()
	if g.removed {
		return false, errRemoved
	}
	if !s.unmap(g) {
		return false, nil
	}
	s.mapped.dropLocked(g)
	if err := s.fs.Rename(log, g.name); err != nil {
		return false, fmt.Errorf("put a rewritten segment in place: %w", err)
	}
	fault.Point("rewrite.renamed")
	if err := s.fs.Rename(index, indexName(g.name)); err != nil {
		return false, fmt.Errorf("put the index of a rewritten segment in place: %w", err)
	}
	return true, nil
}

// restoreOrder puts a segment that is clustered back into the order of the log, to be replayed: only a directory that has lost both of its
// checkpoints asks for that. damaged decides about a place without a sound frame, which is lost. The index is made again when the segment is sealed.
func restoreOrder(fsys vfs.FS, dir string, base int64, x salt, damaged func(region) error) error {
	g, err := openSegment(fsys, dir, base, x)
	if err != nil {
		return err
	}
	defer g.close()
	g.findOrder(math.MaxInt64)
	return writeFileBy(fsys, g.name, func(f io.WriterAt) error {
		var werr error
		walkFrames(g, g.limit, func(h header, _ []byte) {
			if werr == nil {
				_, werr = f.WriteAt(g.bytes(h.place)[:align(int64(h.size))], h.pos-g.base)
			}
		}, func(r region) {
			if werr == nil {
				werr = damaged(r)
			}
		})
		return werr
	}, nil)
}
