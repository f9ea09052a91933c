package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/metaq/metaq/store/vfs"
)

// segment is one file of the log. The open one is written with pwrite and read through its mapping; a sealed one has no open file,
// only its mapping and that of its index.
type segment struct {
	base    int64 // log position of its first byte, and its name
	end     int64 // log position behind its last frame; guarded by Store.mu while the segment is open
	limit   int64 // base + what is preallocated
	name    string
	file    vfs.File // nil when sealed
	mapping vfs.Mapping
	index   *sealedIndex // nil until sealed; guarded by Store.mu
	witness goOn         // a queue that needs the segment as long as its minimum is below; only for retention
	runs    *memIndex    // while there is no index; guarded by Store.mu
}

func segmentName(dir string, base int64) string {
	return filepath.Join(dir, "log", fmt.Sprintf("%020d.log", base))
}

func indexName(segment string) string { return strings.TrimSuffix(segment, ".log") + ".idx" }

// segmentBases lists the segments of a data directory, ascending.
func segmentBases(fsys vfs.FS, dir string) ([]int64, error) {
	names, err := fsys.List(filepath.Join(dir, "log"))
	if err != nil {
		return nil, fmt.Errorf("list the log: %w", err)
	}
	var bases []int64
	for _, n := range names {
		digits, ok := strings.CutSuffix(n, ".log")
		if !ok || len(digits) != 20 {
			continue
		}
		base, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("a segment with a strange name: %s", n)
		}
		bases = append(bases, base)
	}
	return bases, nil
}

// openSegment maps an existing segment file whole.
func openSegment(fsys vfs.FS, dir string, base int64) (*segment, error) {
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
	seg := &segment{base: base, end: base + size, limit: base + size, name: name}
	if size == 0 {
		return seg, nil
	}
	if seg.mapping, err = f.Map(size); err != nil {
		return nil, fmt.Errorf("map segment %s: %w", name, err)
	}
	return seg, nil
}

// bytes is the mapping from a log position on.
func (g *segment) bytes(pos int64) []byte {
	if g.mapping == nil || pos >= g.limit {
		return nil
	}
	return g.mapping.Bytes()[pos-g.base:]
}

// records is a run of n bytes; none if it does not lie in the segment, because that was cut by somebody else.
func (g *segment) records(pos, n int64) []byte {
	if pos < g.base || pos+n > g.limit {
		return nil
	}
	return g.bytes(pos)[:n]
}

// checkRun says what is wrong with the frame of a run, "" if nothing is. With sum it compares the checksum, which reads all of it.
func (g *segment) checkRun(e entry, sum bool) string {
	at := e.pos - frameHeader
	if at < g.base || e.pos+int64(e.bytes) > g.limit {
		return "the segment ends before it"
	}
	b := g.bytes(at)
	if sum {
		switch _, _, reason := frameAt(b, at); reason {
		case "":
		case "end":
			return "there is nothing where a message should be"
		default:
			return reason
		}
	}
	k := kind(b[8])
	if int64(le.Uint64(b[24:])) != at || le.Uint32(b) != frameHeader+e.bytes || k != kindHidden && (k != kindMessage || int64(le.Uint64(b[32:])) != e.logical) {
		return "the frame is not the one that the index means"
	}
	return ""
}

// close drops the mappings. Nobody may be reading.
func (g *segment) close() {
	if g.file != nil {
		g.file.Close()
		g.file = nil
	}
	if g.mapping != nil {
		g.mapping.Unmap()
		g.mapping = nil
	}
	if g.index != nil {
		g.index.mapping.Unmap()
	}
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
}

// preparedSuffix ends the names of such files. They hold nothing and are thrown away at a start.
const preparedSuffix = ".prepared"

func prepare(fsys vfs.FS, name string, size int64) (*prepared, error) {
	f, err := fsys.Create(name)
	if err != nil {
		return nil, fmt.Errorf("%w: create the next segment: %w", ErrFull, err)
	}
	undo := func(what string, err error) (*prepared, error) {
		f.Close()
		fsys.Remove(name)
		return nil, fmt.Errorf("%w: %s the next segment of %d bytes: %w", ErrFull, what, size, err)
	}
	if err := f.Allocate(size); err != nil {
		return undo("allocate", err)
	}
	m, err := f.Map(size)
	if err != nil {
		return undo("map", err)
	}
	return &prepared{name: name, file: f, mapping: m, size: size}, nil
}

// place gives a prepared segment its name.
func (p *prepared) place(fsys vfs.FS, dir string, base int64) (*segment, error) {
	name := segmentName(dir, base)
	if err := fsys.Rename(p.name, name); err != nil {
		return nil, fmt.Errorf("name the next segment: %w", err)
	}
	return &segment{base: base, end: base, limit: base + p.size, name: name, file: p.file, mapping: p.mapping}, nil
}

func (p *prepared) discard(fsys vfs.FS) {
	p.mapping.Unmap()
	p.file.Close()
	fsys.Remove(p.name)
}
