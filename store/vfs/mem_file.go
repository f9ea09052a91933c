package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"syscall"
)

// memFile is an open file of a Mem.
type memFile struct {
	mem      *Mem
	node     *node
	name     string
	writable bool
	closed   bool // under mem.mu
}

// lock takes the lock of the disk; with no error the caller gives it back.
func (f *memFile) lock(kind Kind, change bool) error {
	f.mem.mu.Lock()
	var err error
	switch {
	case f.closed:
		err = fs.ErrClosed
	case change && !f.writable:
		err = syscall.EBADF
	default:
		return nil
	}
	f.mem.mu.Unlock()
	return pathError(kind, f.name, err)
}

func (f *memFile) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.mem.begin(Op{Kind: OpReadAt, Name: f.name, Offset: offset, Length: int64(len(b))}); err != nil {
		return 0, err
	}
	if err := f.lock(OpReadAt, false); err != nil {
		return 0, err
	}
	defer f.mem.mu.Unlock()
	if offset < 0 {
		return 0, pathError(OpReadAt, f.name, syscall.EINVAL)
	}
	if len(b) == 0 {
		return 0, nil
	}
	if offset >= f.node.size {
		return 0, io.EOF
	}
	n := copy(b, f.node.data()[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, offset int64) (int, error) {
	injected := f.mem.begin(Op{Kind: OpWriteAt, Name: f.name, Offset: offset, Length: int64(len(b))})
	if injected != nil {
		short, ok := injected.(*ShortWrite)
		if !ok {
			return 0, injected
		}
		b = b[:min(max(short.N, 0), len(b))]
	}
	if err := f.lock(OpWriteAt, true); err != nil {
		return 0, err
	}
	defer f.mem.mu.Unlock()
	if offset < 0 || offset > math.MaxInt64-int64(len(b)) {
		return 0, pathError(OpWriteAt, f.name, syscall.EINVAL)
	}
	var full error
	if end := offset + int64(len(b)); end > f.node.size {
		if limit := f.node.size + f.mem.freeLocked(); end > limit {
			b = b[:max(limit-offset, 0)]
			full = pathError(OpWriteAt, f.name, syscall.ENOSPC)
		}
	}
	f.node.write(b, offset)
	if injected != nil {
		return len(b), injected
	}
	return len(b), full
}

func (f *memFile) Sync() error {
	injected := f.mem.begin(Op{Kind: OpSync, Name: f.name})
	if err := f.lock(OpSync, false); err != nil {
		return err
	}
	defer f.mem.mu.Unlock()
	if injected != nil {
		f.node.failSync()
		return injected
	}
	f.node.sync()
	return nil
}

func (f *memFile) WriteOut(offset, length int64) error {
	injected := f.mem.begin(Op{Kind: OpWriteOut, Name: f.name, Offset: offset, Length: length})
	if err := f.lock(OpWriteOut, false); err != nil {
		return err
	}
	defer f.mem.mu.Unlock()
	if injected != nil {
		f.node.failSync()
	}
	return injected
}

func (f *memFile) Allocate(size int64) error {
	if err := f.mem.begin(Op{Kind: OpAllocate, Name: f.name, Length: size}); err != nil {
		return err
	}
	if err := f.lock(OpAllocate, true); err != nil {
		return err
	}
	defer f.mem.mu.Unlock()
	if size <= 0 {
		return pathError(OpAllocate, f.name, syscall.EINVAL)
	}
	return f.resizeLocked(OpAllocate, max(size, f.node.size))
}

func (f *memFile) Truncate(size int64) error {
	if err := f.mem.begin(Op{Kind: OpTruncate, Name: f.name, Length: size}); err != nil {
		return err
	}
	if err := f.lock(OpTruncate, true); err != nil {
		return err
	}
	defer f.mem.mu.Unlock()
	if size < 0 {
		return pathError(OpTruncate, f.name, syscall.EINVAL)
	}
	return f.resizeLocked(OpTruncate, size)
}

func (f *memFile) resizeLocked(kind Kind, size int64) error {
	if size > f.node.size && size-f.node.size > f.mem.freeLocked() {
		return pathError(kind, f.name, syscall.ENOSPC)
	}
	f.node.truncate(size)
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.mem.begin(Op{Kind: OpSize, Name: f.name}); err != nil {
		return 0, err
	}
	if err := f.lock(OpSize, false); err != nil {
		return 0, err
	}
	defer f.mem.mu.Unlock()
	return f.node.size, nil
}

func (f *memFile) Map(length int64) (Mapping, error) {
	if err := f.mem.begin(Op{Kind: OpMap, Name: f.name, Length: length}); err != nil {
		return nil, err
	}
	if err := f.lock(OpMap, false); err != nil {
		return nil, err
	}
	defer f.mem.mu.Unlock()
	if err := checkMap(f.name, length, f.node.size); err != nil {
		return nil, err
	}
	v := f.node.cur
	v.maps++
	return &memMapping{file: f, view: v, b: v.buf[:length:length]}, nil
}

func (f *memFile) Close() error {
	injected := f.mem.begin(Op{Kind: OpClose, Name: f.name})
	if err := f.lock(OpClose, false); err != nil {
		return err
	}
	defer f.mem.mu.Unlock()
	f.closed = true
	return injected
}

// memMapping shows the memory of the file itself, so that there is nothing to keep equal while the file does not
// outgrow it.
type memMapping struct {
	file *memFile
	view *view // nil after Unmap
	b    []byte
}

func (m *memMapping) Bytes() []byte { return m.b }

func (m *memMapping) Advise(offset, length int64) {}

func (m *memMapping) Load(offset, length int64) {}

func (m *memMapping) Prefetch(offset, length int64) {}

func (m *memMapping) Cached(offset, length int64) int64 { return length }

func (f *memFile) Uncache() {}

func (m *memMapping) Unmap() error {
	mem := m.file.mem
	if err := mem.begin(Op{Kind: OpUnmap, Name: m.file.name}); err != nil {
		return err
	}
	mem.mu.Lock()
	defer mem.mu.Unlock()
	if m.view == nil {
		return fmt.Errorf("unmap %s: %w", m.file.name, fs.ErrClosed)
	}
	m.file.node.unmap(m.view)
	m.view, m.b = nil, nil
	return nil
}
