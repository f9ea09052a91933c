package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sync is fdatasync: it leaves out the times of the file, which nobody reads, and so saves a write of the inode when
// the blocks were reserved before.
func (f *osFile) Sync() error { return f.control("fdatasync", unix.Fdatasync) }

func (f *osFile) WriteOut(offset, length int64) error {
	const how = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	return f.control("sync_file_range", func(fd int) error { return unix.SyncFileRange(fd, offset, length, how) })
}

func (f *osFile) Allocate(size int64) error {
	return f.control("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
}

// control runs a system call on the descriptor, held against a Close by another goroutine, again when a signal came in.
func (f *osFile) control(op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if raw.Control(func(fd uintptr) {
		for {
			if failed = call(int(fd)); !errors.Is(failed, unix.EINTR) {
				return
			}
		}
	}) != nil {
		failed = fs.ErrClosed // its own error for it is internal to package os
	}
	if failed != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: failed}
	}
	return nil
}

// Advise lets the kernel fill the page tables in one system call, in which the goroutine does not hold a processor as
// it would in a page fault. Kernels before 5.14 only read ahead. A page that is not on its way yet would be read with as much around it
// as the disk is set to, which may be megabytes, so all of the range is sent on its way first.
func (m *osMapping) Advise(offset, length int64) {
	m.Prefetch(offset, length)
	if b := m.pages(offset, length); b != nil {
		// A hint that is not taken costs time, not correctness.
		_ = unix.Madvise(b, unix.MADV_POPULATE_READ)
	}
}

// Load leaves it to page faults in one system call, for which the kernel reads large pages and has the disk begin with the next one. What is sent on
// its way with MADV_WILLNEED comes in small pages, of which each costs the processor as much as a large one.
func (m *osMapping) Load(offset, length int64) {
	b := m.pages(offset, length)
	if b == nil {
		return
	}
	m.large.Do(func() { m.small.Store(!largeReads() || unix.Madvise(m.m, unix.MADV_HUGEPAGE) != nil) })
	if !m.small.Load() {
		if unix.Madvise(b, unix.MADV_POPULATE_READ) == nil {
			return
		}
		m.small.Store(true)
		m.dropLarge()
	}
	m.Advise(offset, length)
}

// dropLarge takes large pages that could not be read out of memory, and lets no more of them come: one place that the disk cannot read makes the whole
// of a large page unreadable.
func (m *osMapping) dropLarge() {
	// When this fails, more of the file stays unreadable than need be, until its pages go by themselves.
	_ = unix.Madvise(m.m, unix.MADV_NOHUGEPAGE)
	f, err := os.Open(m.name)
	if err != nil {
		return
	}
	defer f.Close()
	(&osFile{f}).Uncache() // of the pages that nobody could map
}

// largeReads says whether page faults read large pages of a file whose mapping asks for them: since Linux 5.18. Before, they read what the disk is set
// to, and wait for each bit of it.
var largeReads = sync.OnceValue(func() bool {
	var name unix.Utsname
	var major, minor int
	if unix.Uname(&name) != nil {
		return false
	}
	n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor) // n says how much of it was read
	return n == 2 && (major > 5 || major == 5 && minor >= 18)
})

// willNeed is what the kernel takes of a range in one call, whatever the disk.
const willNeed = 128 << 10

func (m *osMapping) Prefetch(offset, length int64) {
	for b := m.pages(offset, length); len(b) > 0; b = b[min(willNeed, len(b)):] {
		_ = unix.Madvise(b[:min(willNeed, len(b))], unix.MADV_WILLNEED)
	}
}

// pages is a range from the beginning of its first page on, nil if it is not in the mapping.
func (m *osMapping) pages(offset, length int64) []byte {
	size := int64(len(m.m))
	if offset < 0 || length <= 0 || offset >= size {
		return nil
	}
	end := size
	if length < size-offset {
		end = offset + length
	}
	return m.m[offset-offset%int64(os.Getpagesize()) : end]
}

func (f *osFile) Uncache() {
	// A hint that is not taken costs memory, not correctness.
	_ = f.control("fadvise", func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) })
}

func (m *osMapping) Cached(offset, length int64) (n int64) {
	b := m.pages(offset, length)
	page := os.Getpagesize()
	var there [1024]byte
	for len(b) > 0 {
		part := b[:min(len(b), len(there)*page)]
		if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&part[0])), uintptr(len(part)), uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
			return length
		}
		for _, p := range there[:(len(part)+page-1)/page] {
			n += int64(p&1) * int64(page)
		}
		b = b[len(part):]
	}
	return min(n, length)
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (osFS) Free(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	for {
		if err = unix.Statfs(dir, &st); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	// Bavail, not Bfree: the blocks kept back for root are not ours, and do not count as a part of the whole, as in df.
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks-st.Bfree+st.Bavail) * st.Bsize, nil
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, err
	}
	if err := (&osFile{f}).control("flock", func(fd int) error {
		return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = &LockedError{Name: name, PID: lockHolder(f)}
		}
		_ = f.Close() // nothing was written; the lock is what failed
		return nil, err
	}
	if err := writePID(f); err != nil {
		_ = f.Close() // gives the lock back; the error before it is the one to tell
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	return err
}

// lockHolder returns the process id in a lock file, or 0: its holder may be just about to write it.
func lockHolder(f *os.File) int {
	var b [20]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(b[:n])))
	if err != nil {
		return 0
	}
	return pid
}
