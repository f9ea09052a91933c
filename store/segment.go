package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/metaq/metaq/store/fault"
	"github.com/metaq/metaq/store/vfs"
)

// segment is one file of the log. The open one is written with pwrite and read through its mapping; a sealed one has no open file, and
// is mapped, with its index, as long as it is read: see mappings.
type segment struct {
	base      int64 // log position of its first byte, and its name
	end       int64 // log position behind its last frame; guarded by Store.mu while the segment is open
	limit     int64 // base + what is preallocated; of a sealed one no more than the base of the next one
	salt      salt
	name      string
	reserve   bool         // it was the reserve's
	file      vfs.File     // nil when sealed
	pins      atomic.Int32 // readers of the next three, or unmapped
	mapping   vfs.Mapping
	data      []byte       // the bytes of the mapping
	clustered bool         // its frames lie in the order of their queues, see rewrite.go; known while it is mapped
	until     int64        // of a clustered one: its frames have positions below; known while it is mapped
	index     *sealedIndex // nil until sealed; guarded by Store.mu
	sealed    bool         // it has an index file; guarded by Store.mu
	removed   bool         // retention removes its files, or has; guarded by mappings.mu
	used      atomic.Bool  // read since somebody looked for mappings to drop
	judged    atomic.Bool  // it is rewritten, or need not be
	witness   goOn         // a queue that needs the segment as long as its minimum is below; only for retention
	runs      *memIndex    // while there is no index; guarded by Store.mu
	last      atomic.Int64 // log position of the last byte that is not zero; 0 if that is not known, see noteLast

	demand atomic.Pointer[demand] // of the mapping, see demanded
}

func segmentName(dir string, base int64) string {
	return filepath.Join(dir, "log", fmt.Sprintf("%020d.log", base))
}

func indexName(segment string) string { return strings.TrimSuffix(segment, ".log") + ".idx" }

// segmentBases lists the segments of a data directory, ascending, and which of them have an index file.
func segmentBases(fsys vfs.FS, dir string) (bases []int64, indexed map[int64]bool, err error) {
	names, err := fsys.List(filepath.Join(dir, "log"))
	if err != nil {
		return nil, nil, fmt.Errorf("list the log: %w", err)
	}
	indexed = map[int64]bool{}
	for _, n := range names {
		digits, kind, _ := strings.Cut(n, ".")
		if len(digits) != 20 || kind != "log" && kind != "idx" {
			continue
		}
		base, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case err != nil && kind == "log":
			return nil, nil, fmt.Errorf("a segment with a strange name: %s", n)
		case err != nil:
		case kind == "log":
			bases = append(bases, base)
		default:
			indexed[base] = true
		}
	}
	return bases, indexed, nil
}

// openSegment maps an existing segment file whole.
func openSegment(fsys vfs.FS, dir string, base int64, x salt) (*segment, error) {
	name := segmentName(dir, base)
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", name, err)
	}
	seg := &segment{base: base, end: base + size, limit: base + size, salt: x, name: name}
	if size == 0 {
		return seg, nil
	}
	if seg.mapping, err = f.Map(size); err != nil {
		return nil, fmt.Errorf("map segment %s: %w", name, err)
	}
	seg.data = seg.mapping.Bytes()
	return seg, nil
}

// checkUncut says whether the file of a segment that is not sealed is as long as it was made. Writing to a file that somebody else has cut
// makes it longer again, with zeros in the place of what was there.
func (g *segment) checkUncut() error {
	size, err := g.file.Size()
	if err != nil {
		return fmt.Errorf("size of %s: %w", g.name, err)
	}
	if want := g.limit - g.base; size < want {
		return fmt.Errorf("%s was cut by somebody else: it has %d bytes of %d", g.name, size, want)
	}
	return nil
}

// shorten cuts the file of a full segment to what is in it. It does not make one longer that somebody else has cut.
func (g *segment) shorten() error {
	want := g.end - g.base
	size, err := g.file.Size()
	if err == nil && size < want {
		return &CorruptError{File: g.name, Offset: size, Reason: fmt.Sprintf("it was cut by somebody else: it has %d bytes of %d", size, want)}
	}
	if err == nil {
		err = g.file.Truncate(want)
	}
	if err != nil {
		return fmt.Errorf("cut %s to its length: %w", g.name, err)
	}
	return nil
}

// noteLast finds the last byte that is not zero in a full segment, for seemsUncut.
func (g *segment) noteLast() {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer onFault(func() {}) // whoever reads there finds out
	for pos := g.end - 1; pos > g.base; pos-- {
		if g.data[pos-g.base] != 0 {
			g.last.Store(pos)
			return
		}
	}
}

// seemsUncut is false for a segment that was sealed here and that somebody else has cut since within the page where it ends now: that does not
// fault, what is gone reads as zeros. It costs hardly anything, so reads that do not compare checksums ask. It may fault.
func (g *segment) seemsUncut() bool {
	pos := g.last.Load()
	return pos == 0 || pos < g.top() && g.data[pos-g.base] != 0
}

// top is the log position behind what can be read.
func (g *segment) top() int64 { return min(g.limit, g.base+int64(len(g.data))) }

// whole is the segment with the length that its file has; pinned, as long as the original is.
func (g *segment) whole() *segment {
	return &segment{base: g.base, end: g.top(), limit: g.top(), salt: g.salt, name: g.name, data: g.data, clustered: g.clustered, until: g.until}
}

// demanded is the demand for the mapping. The segment is mapped and pinned.
func (g *segment) demanded() *demand {
	if d := g.demand.Load(); d != nil {
		return d
	}
	g.demand.CompareAndSwap(nil, newDemand(g.mapping, int64(len(g.data))))
	return g.demand.Load()
}

// bytes is the mapping from a log position on.
func (g *segment) bytes(pos int64) []byte {
	if pos >= g.top() {
		return nil
	}
	return g.data[pos-g.base:]
}

// records is a run of n bytes; none if it does not lie in the segment, because that was cut by somebody else.
func (g *segment) records(pos, n int64) []byte {
	if pos < g.base || pos+n > g.top() {
		return nil
	}
	return g.bytes(pos)[:n]
}

// checkRun says what is wrong with the frame of a run of a queue, "" if nothing is. With sum it compares the checksum, which reads all of it.
func (g *segment) checkRun(queue uint32, e entry, sum bool) string {
	at := e.pos - frameHeader
	if at < g.base || e.pos+int64(e.bytes) > g.top() {
		return "the segment ends before it"
	}
	b := g.bytes(at)
	if sum {
		switch _, _, reason := g.frameIn(b, at); reason {
		case "":
		case "end":
			return "there is nothing where a message should be"
		default:
			return reason
		}
	}
	k := kind(b[8])
	if !g.owns(int64(le.Uint64(b[24:])), at) || le.Uint32(b) != frameHeader+e.bytes || le.Uint32(b[16:]) != queue || k != kindHidden && (k != kindMessage || int64(le.Uint64(b[32:])) != e.logical) {
		return "the frame is not the one that the index means"
	}
	return ""
}

// owns says whether a frame that says that it is from a position may lie at a place.
func (g *segment) owns(pos, place int64) bool {
	return pos == place || g.clustered && pos >= g.base && pos < g.until
}

// frameIn reads the frame at a place, where b is the segment from there on.
func (g *segment) frameIn(b []byte, place int64) (h header, body []byte, reason string) {
	if g.clustered {
		return frameOf(b, place, g.base, g.until, g.salt)
	}
	return frameAt(b, place, g.salt)
}

// close drops the mappings. Nobody may be reading.
func (g *segment) close() {
	if g.file != nil {
		g.file.Close()
		g.file = nil
	}
	if g.mapping != nil {
		g.mapping.Unmap()
		g.mapping, g.data = nil, nil
	}
	g.index.unmap()
	if g.runs != nil {
		g.runs.release()
		g.runs = nil
	}
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// prepared is a segment file made ahead: allocated and mapped, not named yet. A full disk shows here, not in the middle of a put.
type prepared struct {
	name    string
	file    vfs.File
	mapping vfs.Mapping
	size    int64

	reserve bool // see reserve
}

// preparedSuffix ends the names of such files. They hold nothing and are thrown away at a start.
const preparedSuffix = ".prepared"

func prepare(fsys vfs.FS, name string, size int64) (*prepared, error) {
	f, err := fsys.Create(name)
	if err != nil {
		return nil, noSegment(err)
	}
	undo := func(err error) (*prepared, error) {
		f.Close()
		fsys.Remove(name)
		return nil, noSegment(err)
	}
	if err := f.Allocate(size); err != nil {
		return undo(err)
	}
	fault.Point("roll.allocated")
	m, err := f.Map(size)
	if err != nil {
		return undo(err)
	}
	return &prepared{name: name, file: f, mapping: m, size: size}, nil
}

// noSegment says why a segment could not be made.
func noSegment(err error) error {
	if isNoRoom(err) {
		return fmt.Errorf("%w: there is no room for the next segment: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrNoSegment, err)
}

// isNoRoom says whether a call failed because the disk, or what its user may have of it, is full.
func isNoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// place gives a prepared segment its name.
func (p *prepared) place(fsys vfs.FS, dir string, base int64, x salt) (*segment, error) {
	name := segmentName(dir, base)
	if err := fsys.Rename(p.name, name); err != nil {
		return nil, fmt.Errorf("name the next segment: %w", err)
	}
	return &segment{base: base, end: base, limit: base + p.size, salt: x, name: name, reserve: p.reserve, file: p.file, mapping: p.mapping, data: p.mapping.Bytes()}, nil
}

func (p *prepared) discard(fsys vfs.FS) {
	p.mapping.Unmap()
	p.file.Close()
	fsys.Remove(p.name)
}
