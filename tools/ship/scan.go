//go:build linux

package ship

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// candidate is a file that a scan has found.
type candidate struct {
	look
	path    string
	stream  string // path of the stream it belongs to
	named   bool   // a path of the input names it; otherwise it was only found beside one that does
	rotated bool
}

// stableScans is how often directories are read again, until two readings are the same: a file that is renamed meanwhile may be missed by one, and one that is forgotten
// for that would be shipped again.
const stableScans = 5

// scan looks for files.
func (f *follower) scan(now time.Time) {
	f.checkClock(now)
	f.crowded = nil // those that still wait are met again
	found := f.find()
	for range stableScans {
		if !f.changed(found) {
			break
		}
		again := f.find()
		same := slices.EqualFunc(found, again, func(a, b candidate) bool { return a.id == b.id && a.path == b.path })
		found = again
		if same {
			break
		}
	}
	// What is gone is seen to first: what is new may be a copy of it.
	seen := map[*file]bool{}
	for _, c := range found {
		if fl := f.known[c.id]; fl != nil && (fl.src != nil || f.prove(fl, c)) {
			seen[fl] = true
			fl.live, fl.modified = !c.rotated, c.modified // what is new is put among these
		}
	}
	for _, s := range f.streams {
		for _, fl := range slices.Clone(s.files) {
			err := f.trouble(fl.path)
			switch {
			case seen[fl]:
			case f.unnamed(fl):
				fl.err = errUnnamed
			case err == nil:
				f.miss(fl, now)
			case fl.src == nil:
				fl.err = err
			}
		}
	}
	for _, c := range found {
		f.meet(c, now)
	}
	if len(f.passed) > len(found) {
		clear(f.passed) // most are not there any more
	}
	for path, s := range f.streams {
		if len(s.files) == 0 && s.blocks == 0 && !slices.ContainsFunc(f.orphans, func(fl *file) bool { return fl.stream == s }) {
			delete(f.streams, path)
		}
	}
	f.first = false
}

// changed says whether there are other files than those that are known.
func (f *follower) changed(found []candidate) bool {
	there := map[identity]bool{}
	for _, c := range found {
		if f.known[c.id] == nil {
			return true
		}
		there[c.id] = true
	}
	for id, fl := range f.known {
		if !fl.gone && !there[id] && fl.err != errUnnamed && f.trouble(fl.path) == nil {
			return true
		}
	}
	return false
}

// unnamed says whether a file is still there that an agent before has read and this one was not told to. How far it was read stays in the checkpoint.
func (f *follower) unnamed(fl *file) bool {
	if fl.src != nil || f.input.names(fl.stream.path) {
		return false
	}
	l, err := lookAt(fl.path)
	return err == nil && l.id == fl.id
}

// trouble is why the last look cannot say whether there is something at a path: it, or a directory above it, could not be looked at.
func (f *follower) trouble(path string) error {
	if len(f.troubles) == 0 {
		return nil
	}
	for p := path; ; p = filepath.Dir(p) {
		if err := f.troubles[p]; err != nil || p == filepath.Dir(p) {
			return err
		}
	}
}

// find lists the files there are, those of a stream in the order in which they were written. Each is listed once, under the name that comes first.
func (f *follower) find() []candidate {
	in := f.input
	clear(f.troubles)
	var list []candidate
	at := map[string]int{} // by path
	add := func(path string, named bool) {
		if i, ok := at[path]; ok {
			list[i].named = list[i].named || named
			return
		}
		if isPacked(path) && (!in.Gzip || filepath.Ext(path) != ".gz") {
			return
		}
		l, err := lookAt(path)
		if err == nil && slices.Contains(in.Paths, path) && !l.regular {
			err = errNoFile
		}
		switch {
		case isNothing(err):
			return
		case err != nil:
			f.suffer(path, "a file cannot be looked at, it is tried again", err)
			return
		case !l.regular:
			return // of those that match a pattern, files are meant
		}
		at[path] = len(list)
		list = append(list, candidate{look: l, path: path, stream: path, named: named})
	}
	names := f.namedPaths()
	for _, p := range names {
		add(p, true)
	}
	// What a rotated file was written as.
	lives := map[string]bool{}
	for p := range f.streams { // it may have no name just now
		if in.names(p) {
			lives[p] = true
		}
	}
	for _, p := range names {
		lives[p] = true
	}
	if in.RotatedName == nil && in.Rotated == "" {
		dirs := map[string]bool{}
		for p := range lives {
			dirs[filepath.Dir(p)] = true
		}
		for dir := range dirs {
			for _, name := range f.namesIn(dir) {
				p := filepath.Join(dir, name)
				if slices.ContainsFunc(writtenAs(p), func(as string) bool { return lives[as] }) {
					add(p, false)
				}
			}
		}
		for i := range list {
			c := &list[i]
			for _, as := range writtenAs(c.path) {
				if lives[as] {
					c.stream, c.rotated = as, true
					break
				}
			}
		}
	} else if in.Rotated != "none" {
		for _, p := range f.rotatedPaths() {
			if p != in.Paths[0] {
				add(p, false)
			}
		}
		for i := range list {
			list[i].stream, list[i].rotated = in.Paths[0], list[i].path != in.Paths[0]
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		live := func(c candidate) int {
			if c.rotated {
				return 0
			}
			return 1
		}
		return cmp.Or(strings.Compare(a.stream, b.stream), cmp.Compare(live(a), live(b)), a.modified.Compare(b.modified), compareRotated(a.path, b.path))
	})
	// Links give a file several names.
	once := map[identity]bool{}
	return slices.DeleteFunc(list, func(c candidate) bool {
		double := once[c.id]
		once[c.id] = true
		return double
	})
}

// namedPaths are the paths that the input names.
func (f *follower) namedPaths() []string {
	var names []string
	for _, p := range f.input.Paths {
		if !isPattern(p) {
			names = append(names, p)
			continue
		}
		names = append(names, glob(p, f.unreadable)...)
	}
	return names
}

// rotatedPaths are the rotated files of an input that says what they are called.
func (f *follower) rotatedPaths() []string {
	in := f.input
	if in.RotatedName == nil {
		return glob(in.Rotated, f.unreadable)
	}
	var list []string
	for _, name := range f.namesIn(in.RotatedDir) {
		p := filepath.Join(in.RotatedDir, name)
		if loc := in.RotatedName.FindStringIndex(p); loc != nil && loc[0] == 0 && loc[1] == len(p) {
			list = append(list, p)
		}
	}
	return list
}

// namesIn lists a directory, as far as it can be read.
func (f *follower) namesIn(dir string) []string {
	d, err := os.Open(dir)
	if err == nil {
		defer d.Close()
		var names []string
		if names, err = d.Readdirnames(-1); err == nil {
			return names
		}
	}
	if !isNothing(err) {
		f.unreadable(dir, err)
	}
	return nil
}

func (f *follower) unreadable(dir string, err error) {
	f.suffer(dir, "a directory cannot be read, it is tried again", err)
}

// meet takes what was found.
func (f *follower) meet(c candidate, now time.Time) {
	fl := f.known[c.id]
	if fl == nil {
		if fl = f.discover(c, now); fl == nil {
			return
		}
	}
	live := !c.rotated
	if fl.path != c.path || fl.live != live || fl.gone {
		fl.path, fl.live, fl.gone, fl.changed = c.path, live, false, now
		f.changes++
	}
	if fl.src == nil && !fl.packed {
		if fl.size != c.size {
			fl.size, fl.changed = c.size, now
		}
		fl.modified = c.modified
	}
	if fl.src == nil {
		fl.err = nil // unless it is still so
		if !fl.drained() || fl.live {
			f.openFile(fl)
		}
	}
}

// miss sees to a file that has no name any more.
func (f *follower) miss(fl *file, now time.Time) {
	if !fl.gone {
		fl.gone, fl.changed = true, now
		f.changes++
	}
	if fl.src == nil && len(fl.blocks) == 0 {
		// It was removed while nobody had it open. Its content may be found in a copy.
		if fl.drained() {
			f.remember(fl)
			f.forget(fl)
			return
		}
		f.orphan(fl, now)
	}
}

// discover makes a file of what is not known, unless it is a copy of one that is.
func (f *follower) discover(c candidate, now time.Time) *file {
	if p, ok := f.passed[c.id]; ok && p.look == c.look {
		if p.err != nil {
			f.troubles[c.path] = p.err
		}
		return nil
	}
	src, err := f.openCandidate(c)
	size := c.size // of the content
	if err == nil && isPacked(c.path) {
		// One that is being written is not looked at before it is complete: it may be a copy.
		if size, err = unpackedSize(src); err != nil {
			src.Close() // it was only read
			f.passed[c.id] = passed{c.look, err}
		}
	}
	if err != nil {
		f.suffer(c.path, "a file cannot be opened, it is tried again", err)
		return nil
	}
	if fl := f.adopt(c, src, size, now); fl != nil {
		return fl
	}
	s := f.streams[c.stream]
	if s != nil && c.rotated && f.isCopy(s, c, src, size) {
		src.Close() // it was only read
		return nil
	}
	longer := f.orphanBeyond(c, src, size)
	if longer != nil && len(longer.blocks) > 0 {
		// Whether what is on its way arrives decides from where the copy is read. It is looked at again.
		longer.changed = now
		src.Close() // it was only read
		return nil
	}
	fl := &file{id: c.id, path: c.path, packed: isPacked(c.path), live: !c.rotated, src: src, proven: true, size: c.size, modified: c.modified, changed: now}
	if fl.packed {
		fl.size = 0
	}
	head, err := headOf(src, max(c.size, markBytes))
	switch {
	case err != nil:
	case longer != nil:
		f.log.Info("a copy has what was shipped before", "file", longer.path, "copy", c.path)
		fl.head = head
		if err = fl.skipTo(size); err == nil {
			f.counts.adopted.Add(1)
			if longer.drained() {
				f.orphans = slices.DeleteFunc(f.orphans, func(o *file) bool { return o == longer })
			}
		}
	default:
		fl.head = head
		err = f.begin(fl, c, size)
	}
	if err != nil {
		src.Close() // it was only read
		f.suffer(c.path, "a file cannot be read, it is tried again", err)
		return nil
	}
	if !f.makeRoom() {
		src.Close() // it was only read
		fl.src = nil
		f.crowded = append(f.crowded, fl)
	}
	f.follow(c.stream, fl)
	f.log.Info("following", "file", fl.path, "from", fl.next)
	return fl
}

// begin decides where a new file is read from.
func (f *follower) begin(fl *file, c candidate, size int64) error {
	past := c.rotated && !c.named && c.modified.Before(f.since)
	if !past && !(f.first && f.input.FromEnd) {
		return nil
	}
	at := size
	if !past && !fl.packed {
		charset, err := f.input.charset.of(fl.src)
		if err != nil {
			return err
		}
		if at, err = lastLine(fl.src, size, charset.newlines, int64(f.input.MaxLine)); err != nil {
			return err
		}
	}
	return fl.skipTo(at)
}

// skipTo leaves out what is before a position, of a compressed file everything.
func (f *file) skipTo(at int64) (err error) {
	f.acked, f.next = at, at
	if f.packed {
		f.size, f.ended = at, true
	}
	f.tail, err = tailOf(f.src, at)
	f.addPlace()
	return err
}

// follow takes a file up into its stream.
func (f *follower) follow(path string, fl *file) {
	s := f.streams[path]
	if s == nil {
		s = &stream{follower: f, path: path, attribute: f.agent.attribute(f.input, path)}
		f.streams[path] = s
	}
	fl.stream = s
	at := len(s.files)
	for !fl.live && at > 0 && (s.files[at-1].live || s.files[at-1].modified.After(fl.modified)) {
		at--
	}
	s.files = slices.Insert(s.files, at, fl)
	f.known[fl.id] = fl
	if fl.src != nil {
		f.open++
	}
	f.changes++
}
