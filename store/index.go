package store

import (
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/metaq/metaq/store/fault"
	"github.com/metaq/metaq/store/vfs"
)

// entry says where a run lies: the index of a queue is a list of them, ascending by logical offset.
type entry struct {
	logical int64 // offset of the first record
	pos     int64 // log position of the first record; in a clustered segment, its place: as if the log were in the order of the file
	time    int64 // unix milliseconds of the append
	bytes   uint32
	count   uint32
}

const (
	indexMagic     = "MQIDX\x00\x00\x01"
	clusteredMagic = "MQIDX\x00\x00\x02" // of a clustered segment: positions are places
	indexHeader    = 32
	indexDirRecord = 16
	entrySize      = 32
)

// sealedIndex is the index file of a sealed segment, read through its mapping. FORMAT.md draws it.
type sealedIndex struct {
	file    string
	mapping vfs.Mapping
	demand  *demand // for the runs of one queue
	queues  int
	dir     []byte // queue id u32, number of runs u32, number of the first u32, checksum of the runs u32; ascending by queue id
	entries []byte

	clustered bool

	old *sealedIndex // that this one has replaced, and that somebody may be reading

	verify  sync.Once // all entries, for those who read all
	damaged atomic.Pointer[CorruptError]

	lazy     sync.Once
	verified []atomic.Uint32 // a bit a queue: its runs are what was written. Looked at when they are first used
}

// unmap drops the mapping. Nobody may be reading.
func (x *sealedIndex) unmap() {
	for ; x != nil; x = x.old {
		x.mapping.Unmap()
	}
}

// runs is the list of runs of one queue in one segment, in memory or in an index file.
type runs struct {
	mem  memRuns
	raw  []byte
	file *sealedIndex // where raw lies
}

func (r *runs) len() int {
	if r.raw != nil {
		return len(r.raw) / entrySize
	}
	return r.mem.n
}

func (r *runs) at(i int) entry {
	if r.raw == nil {
		return r.mem.at(i)
	}
	return entryOf(r.raw[i*entrySize:])
}

// entryOf reads a run as it is in an index file.
func entryOf(b []byte) entry {
	return entry{logical: int64(le.Uint64(b)), pos: int64(le.Uint64(b[8:])), time: int64(le.Uint64(b[16:])), bytes: le.Uint32(b[24:]), count: le.Uint32(b[28:])}
}

func putEntry(b []byte, e entry) {
	le.PutUint64(b, uint64(e.logical))
	le.PutUint64(b[8:], uint64(e.pos))
	le.PutUint64(b[16:], uint64(e.time))
	le.PutUint32(b[24:], e.bytes)
	le.PutUint32(b[28:], e.count)
}

// find is the last run that begins at or before the offset, -1 if there is none.
func (r *runs) find(offset int64) int {
	return r.search(func(e entry) bool { return e.logical > offset }) - 1
}

// findTime is the first run that was appended at or after the time.
func (r *runs) findTime(ms int64) int {
	return r.search(func(e entry) bool { return e.time >= ms })
}

// search is the first run for which behind is true, the length if there is none. Once true, it must be true for all that follow.
func (r *runs) search(behind func(entry) bool) int {
	if r.raw == nil {
		return r.mem.search(behind)
	}
	return sort.Search(r.len(), func(i int) bool { return behind(r.at(i)) })
}

// lookup finds the runs of a queue; none is not an error. To look at them may fault.
func (x *sealedIndex) lookup(queue uint32) (r runs, err error) {
	err = x.guarded(func() error {
		i := sort.Search(x.queues, func(i int) bool { return le.Uint32(x.dir[i*indexDirRecord:]) >= queue })
		if i == x.queues || le.Uint32(x.dir[i*indexDirRecord:]) != queue {
			return nil
		}
		r = x.runsAt(i)
		if want := le.Uint32(x.dir[i*indexDirRecord+4:]); r.len() != int(want) { // it was right when the file was opened
			return &CorruptError{File: x.file, Offset: indexHeader + int64(i)*indexDirRecord, Reason: "the directory does not fit the entries"}
		}
		return x.checkQueue(i, r)
	})
	if err != nil {
		return runs{}, err
	}
	return r, nil
}

// look has do look at the runs of a queue, none if it has none there. After an error it may have done so in part.
func (x *sealedIndex) look(queue uint32, do func(*runs)) error {
	r, err := x.lookup(queue)
	if err != nil {
		return err
	}
	return x.guarded(func() error {
		do(&r)
		return x.checkUncut()
	})
}

// checkUncut notices a file that was cut by somebody else within the page where it ends, which does not fault: what is gone reads as zeros, the
// last run too, and no run has no message. It has to be called after what it vouches for.
func (x *sealedIndex) checkUncut() error {
	if n := len(x.entries); n > 0 {
		if last := entryOf(x.entries[n-entrySize:]); last.bytes == 0 || last.count == 0 {
			return x.unreadable()
		}
	}
	return nil
}

// ends calls visit with each queue of the index and the offset behind its last run, until it returns false.
func (x *sealedIndex) ends(visit func(queue uint32, end int64) bool) error {
	return x.guarded(func() error {
		if err := x.check(); err != nil {
			return err
		}
		for i := range x.queues {
			r := x.runsAt(i)
			last := r.at(r.len() - 1)
			if !visit(le.Uint32(x.dir[i*indexDirRecord:]), last.logical+int64(last.bytes)) {
				break
			}
		}
		return x.checkUncut()
	})
}

// guarded turns a fault on the mapping into an error, and notes that the index is damaged.
func (x *sealedIndex) guarded(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer onFault(func() { err = x.unreadable() })
	return read()
}

// unreadable notes that the file was cut by somebody else, or the disk fails. Who looks the next time has the index made again.
func (x *sealedIndex) unreadable() error {
	x.damaged.CompareAndSwap(nil, &CorruptError{File: x.file, Reason: reasonCut})
	return x.damaged.Load()
}

// checkQueue says whether the runs of the i-th queue of the directory are what was written. It reads them once, and little
// else of the file unless many queues are looked at.
func (x *sealedIndex) checkQueue(i int, r runs) error {
	if bad := x.damaged.Load(); bad != nil {
		return bad
	}
	x.lazy.Do(func() { x.verified = make([]atomic.Uint32, (x.queues+31)/32) })
	bit := uint32(1) << (i % 32)
	if x.verified[i/32].Load()&bit != 0 {
		return nil
	}
	at := indexHeader + int64(len(x.dir)) + int64(le.Uint32(x.dir[i*indexDirRecord+8:]))*entrySize
	list := []piece{{at, at + int64(len(r.raw))}}
	x.demand.finish(list, x.demand.begin(uint32(i), list, nil))
	if crc32.Checksum(r.raw, castagnoli) != le.Uint32(x.dir[i*indexDirRecord+12:]) {
		x.damaged.CompareAndSwap(nil, &CorruptError{File: x.file, Offset: at, Reason: "the entries of a queue do not match their checksum"})
		return x.damaged.Load()
	}
	x.verified[i/32].Or(bit)
	return nil
}

// check says whether the entries are what was written. It reads them once.
func (x *sealedIndex) check() error {
	x.verify.Do(func() {
		x.mapping.Advise(0, int64(len(x.mapping.Bytes()))) // all of it is read now, in one go
		_ = x.guarded(func() error {                       // what it finds is kept in damaged
			if crc32.Checksum(x.entries, castagnoli) != le.Uint32(x.mapping.Bytes()[24:]) {
				x.damaged.Store(&CorruptError{File: x.file, Offset: indexHeader + int64(len(x.dir)), Reason: "the entries do not match their checksum"})
			}
			return nil
		})
	})
	if bad := x.damaged.Load(); bad != nil {
		return bad
	}
	return nil
}

// holds says whether an address lies in the mapping of the index.
func (x *sealedIndex) holds(addr uintptr) bool {
	b := x.mapping.Bytes()
	from := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return addr >= from && addr < from+uintptr(len(b))
}

// runsAt is the list of the i-th queue of the directory, as far as there are entries.
func (x *sealedIndex) runsAt(i int) runs {
	r := x.dir[i*indexDirRecord:]
	n, first := int(le.Uint32(r[4:])), int(le.Uint32(r[8:]))
	total := len(x.entries) / entrySize
	first = min(first, total)
	n = min(n, total-first)
	return runs{raw: x.entries[first*entrySize : (first+n)*entrySize], file: x}
}

// queueRuns is what goes into an index file.
type queueRuns struct {
	queue uint32
	runs  []entry
}

func encodeIndex(base int64, list []queueRuns, clustered bool, with salt) []byte {
	slices.SortFunc(list, func(a, b queueRuns) int { return int(int64(a.queue) - int64(b.queue)) })
	total := 0
	for _, q := range list {
		total += len(q.runs)
	}
	b := make([]byte, indexHeader, indexHeader+len(list)*indexDirRecord+total*entrySize)
	copy(b, indexMagic)
	if clustered {
		copy(b, clusteredMagic)
	}
	le.PutUint64(b[8:], uint64(base))
	le.PutUint32(b[16:], uint32(len(list)))
	le.PutUint32(b[20:], uint32(total))
	first := 0
	for _, q := range list {
		b = le.AppendUint32(b, q.queue)
		b = le.AppendUint32(b, uint32(len(q.runs)))
		b = le.AppendUint32(b, uint32(first))
		sum := uint32(0)
		for _, e := range q.runs {
			var record [entrySize]byte
			putEntry(record[:], e)
			sum = crc32.Update(sum, castagnoli, record[:])
		}
		b = le.AppendUint32(b, sum)
		first += len(q.runs)
	}
	dirEnd := len(b)
	for _, q := range list {
		for _, e := range q.runs {
			var record [entrySize]byte
			putEntry(record[:], e)
			b = append(b, record[:]...)
		}
	}
	le.PutUint32(b[24:], crc32.Checksum(b[dirEnd:], castagnoli))
	// The last field of the header covers the header before it and the directory, which are checked when the file is opened.
	le.PutUint32(b[28:], dirCRC(b, dirEnd, with))
	return b
}

func dirCRC(b []byte, dirEnd int, with salt) uint32 {
	return with.seal(crc32.Update(crc32.Checksum(b[:28], castagnoli), castagnoli, b[indexHeader:dirEnd]))
}

// openIndex maps an index file and checks all but its entries. os errors and *CorruptError mean: rebuild it from the segment.
func openIndex(fsys vfs.FS, name string, base int64, with salt) (*sealedIndex, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < indexHeader {
		return nil, &CorruptError{File: name, Reason: "shorter than its header"}
	}
	m, err := f.Map(size)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", name, err)
	}
	// What checkUncut looks at, too: a fault there would read megabytes around it.
	m.Prefetch(size-entrySize, entrySize)
	m.Advise(0, firstRead)
	if dirEnd := indexHeader + int64(le.Uint32(m.Bytes()[16:]))*indexDirRecord; dirEnd > firstRead {
		m.Advise(firstRead, min(dirEnd, size)-firstRead)
	}
	x, err := parseIndex(name, m, base, with)
	if err != nil {
		m.Unmap()
	}
	return x, err
}

// parseIndex checks a mapped index, at least as long as its header.
func parseIndex(name string, m vfs.Mapping, base int64, with salt) (x *sealedIndex, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer onFault(func() { x, err = nil, &CorruptError{File: name, Reason: reasonCut} })
	bad := func(reason string) (*sealedIndex, error) { return nil, &CorruptError{File: name, Reason: reason} }
	b := m.Bytes()
	queues, total := int(le.Uint32(b[16:])), int(le.Uint32(b[20:]))
	dirEnd := indexHeader + queues*indexDirRecord
	switch {
	case string(b[:8]) != indexMagic && string(b[:8]) != clusteredMagic || int64(le.Uint64(b[8:])) != base:
		return bad("not the index of this segment")
	case dirEnd+total*entrySize != len(b):
		return bad("a size that does not fit its contents")
	case dirCRC(b, dirEnd, with) != le.Uint32(b[28:]):
		return bad("the directory does not match its checksum")
	}
	return &sealedIndex{file: name, mapping: m, demand: newDemand(m, int64(len(b))), queues: queues, dir: b[indexHeader:dirEnd], entries: b[dirEnd:],
		clustered: string(b[:8]) == clusteredMagic}, nil
}

// writeFile puts a whole file in place: written beside it, synced, renamed, the directory synced.
func writeFile(fsys vfs.FS, name string, data []byte) error {
	return writeFileBy(fsys, name, func(w io.WriterAt) error {
		_, err := w.WriteAt(data, 0)
		return err
	}, nil)
}

// writeFileBy is writeFile for what write writes. before, if not nil, is called when the new file is safe, before it gets its name.
func writeFileBy(fsys vfs.FS, name string, write func(io.WriterAt) error, before func() error) error {
	tmp := name + ".tmp"
	if err := fsys.Remove(tmp); err != nil && !isNotExist(err) {
		return fmt.Errorf("remove an old %s: %w", tmp, err)
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return fmt.Errorf("create %s: %w", tmp, err)
	}
	if err = write(f); err == nil && !fault.Mutant("rename_before_sync") {
		err = f.Sync()
	}
	fault.Point("file.written")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if before != nil {
		if err := before(); err != nil {
			return fmt.Errorf("put %s in place: %w", name, err)
		}
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("put %s in place: %w", name, err)
	}
	fault.Point("file.renamed")
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("sync %s: %w", filepath.Dir(name), err)
	}
	return nil
}
