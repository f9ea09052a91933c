package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"
)

// Mem is a disk in memory. It knows what of it would survive a power cut: every file carries the pages and sizes that
// were not synced yet (see node), and pending holds the names that were not.
type Mem struct {
	mu       sync.Mutex
	names    map[string]*node // files by clean name, as a program sees them now
	durable  map[string]*node // the same, as they are surely found after a power cut
	pending  []entryOp        // leads from durable to names, oldest first
	dirs     map[string]bool  // safe at once, because MkdirAll is
	locks    map[string]bool
	capacity int64
	inject   func(op Op) error
	calls    []Op
}

// entryOp is a change of names that is not safe yet: node gets the name to, or loses it when to is empty, and from is
// gone. A rename is one change, so that a power cut never leaves half of it.
type entryOp struct {
	node     *node
	from, to string
}

// dir returns the directory whose SyncDir makes the change safe.
func (e entryOp) dir() string {
	if e.to != "" {
		return path.Dir(e.to)
	}
	return path.Dir(e.from)
}

func (e entryOp) apply(names map[string]*node) {
	if e.from != "" {
		delete(names, e.from)
	}
	if e.to != "" {
		names[e.to] = e.node
	}
}

// defaultCapacity is more than a test fills, and not more than an address space holds.
const defaultCapacity = 1 << 36

// NewMem returns an empty disk. The directories "." and "/" exist.
func NewMem() *Mem {
	return &Mem{
		names:    map[string]*node{},
		durable:  map[string]*node{},
		dirs:     map[string]bool{".": true, "/": true},
		locks:    map[string]bool{},
		capacity: defaultCapacity,
	}
}

// SetCapacity sets how many bytes all files may have together. What would grow a file beyond it fails with ENOSPC.
func (m *Mem) SetCapacity(total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = total
}

func pathError(kind Kind, name string, err error) error {
	return &fs.PathError{Op: string(kind), Path: name, Err: err}
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpCreate, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] != nil || m.dirs[name] {
		return nil, pathError(OpCreate, name, fs.ErrExist)
	}
	n, err := m.createLocked(OpCreate, name)
	if err != nil {
		return nil, err
	}
	return &memFile{mem: m, node: n, name: name, writable: true}, nil
}

func (m *Mem) createLocked(kind Kind, name string) (*node, error) {
	if !m.dirs[path.Dir(name)] {
		return nil, pathError(kind, name, fs.ErrNotExist)
	}
	n := newNode(nil)
	m.changeLocked(entryOp{node: n, to: name})
	return n, nil
}

func (m *Mem) changeLocked(op entryOp) {
	op.apply(m.names)
	m.pending = append(m.pending, op)
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return m.open(OpOpen, name, true) }

// OpenRead implements FS.
func (m *Mem) OpenRead(name string) (File, error) { return m.open(OpOpenRead, name, false) }

func (m *Mem) open(kind Kind, name string, writable bool) (File, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: kind, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.fileLocked(kind, name)
	if err != nil {
		return nil, err
	}
	return &memFile{mem: m, node: n, name: name, writable: writable}, nil
}

func (m *Mem) fileLocked(kind Kind, name string) (*node, error) {
	if n := m.names[name]; n != nil {
		return n, nil
	}
	if m.dirs[name] {
		return nil, pathError(kind, name, syscall.EISDIR)
	}
	return nil, pathError(kind, name, fs.ErrNotExist)
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[name] {
		if len(m.listLocked(name)) > 0 {
			return pathError(OpRemove, name, syscall.ENOTEMPTY)
		}
		delete(m.dirs, name)
		return nil
	}
	n, err := m.fileLocked(OpRemove, name)
	if err != nil {
		return err
	}
	m.changeLocked(entryOp{node: n, from: name})
	return nil
}

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	from, to = path.Clean(from), path.Clean(to)
	if err := m.begin(Op{Kind: OpRename, Name: from, To: to}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.fileLocked(OpRename, from)
	if err != nil {
		return err
	}
	if m.dirs[to] {
		return pathError(OpRename, to, fs.ErrExist)
	}
	if !m.dirs[path.Dir(to)] {
		return pathError(OpRename, to, fs.ErrNotExist)
	}
	if from != to {
		m.changeLocked(entryOp{node: n, from: from, to: to})
	}
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	dir = path.Clean(dir)
	if err := m.begin(Op{Kind: OpList, Name: dir}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[dir] {
		return nil, pathError(OpList, dir, fs.ErrNotExist)
	}
	return m.listLocked(dir), nil
}

func (m *Mem) listLocked(dir string) []string {
	names := []string{}
	for name := range m.names {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	for name := range m.dirs {
		if path.Dir(name) == dir && name != dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	dir = path.Clean(dir)
	if err := m.begin(Op{Kind: OpMkdirAll, Name: dir}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mkdirAllLocked(dir)
}

func (m *Mem) mkdirAllLocked(dir string) error {
	for d := dir; ; d = path.Dir(d) {
		if m.names[d] != nil {
			return pathError(OpMkdirAll, d, syscall.ENOTDIR)
		}
		if m.dirs[d] {
			break
		}
	}
	for ; !m.dirs[dir]; dir = path.Dir(dir) {
		m.dirs[dir] = true
	}
	return nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	dir = path.Clean(dir)
	if err := m.begin(Op{Kind: OpSyncDir, Name: dir}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[dir] {
		return pathError(OpSyncDir, dir, fs.ErrNotExist)
	}
	// What a change of this directory builds on is safe with it: a file renamed into it was created elsewhere before.
	need := m.dependenciesLocked(func(op entryOp) bool { return op.dir() == dir })
	var rest []entryOp
	for i, op := range m.pending {
		if need[i] {
			op.apply(m.durable)
		} else {
			rest = append(rest, op)
		}
	}
	m.pending = rest
	return nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (int64, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpStat, Name: name}); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[name] {
		return 0, nil
	}
	n, err := m.fileLocked(OpStat, name)
	if err != nil {
		return 0, err
	}
	return n.size, nil
}

// ReadFile implements FS.
func (m *Mem) ReadFile(name string) ([]byte, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpReadFile, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.fileLocked(OpReadFile, name)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, n.data()...), nil
}

// Free implements FS.
func (m *Mem) Free(dir string) (free, total int64, err error) {
	dir = path.Clean(dir)
	if err := m.begin(Op{Kind: OpFree, Name: dir}); err != nil {
		return 0, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[dir] {
		return 0, 0, pathError(OpFree, dir, fs.ErrNotExist)
	}
	return m.freeLocked(), m.capacity, nil
}

func (m *Mem) freeLocked() int64 {
	free := m.capacity
	for _, n := range m.names {
		free -= n.size
	}
	return max(free, 0)
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] {
		return nil, &LockedError{Name: name, PID: os.Getpid()}
	}
	n := m.names[name]
	if n == nil {
		var err error
		if n, err = m.createLocked(OpLock, name); err != nil {
			return nil, err
		}
	}
	n.truncate(0)
	n.write(fmt.Append(nil, os.Getpid()), 0)
	m.locks[name] = true
	return &memLock{mem: m, name: name}, nil
}

// memLock is a held lock.
type memLock struct {
	mem  *Mem
	name string
	once sync.Once
}

func (l *memLock) Close() error {
	err := fs.ErrClosed
	l.once.Do(func() {
		l.mem.mu.Lock()
		defer l.mem.mu.Unlock()
		delete(l.mem.locks, l.name)
		err = nil
	})
	return err
}
