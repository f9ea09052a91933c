package vfs

import (
	"fmt"
	"io"
)

// FS names and opens files. Errors of missing and existing names match fs.ErrNotExist and fs.ErrExist.
type FS interface {
	// Create makes a new empty file, open for reading and writing. The name must not exist.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// OpenRead opens an existing file for reading only.
	OpenRead(name string) (File, error)
	// Remove removes a file or an empty directory. Open handles and mappings of the file stay usable.
	Remove(name string) error
	// Rename gives a file a new name and replaces what had it, in one step.
	Rename(from, to string) error
	// List returns the base names in a directory, sorted.
	List(dir string) ([]string, error)
	// MkdirAll makes a directory and what is missing above it, and syncs the directories these were entered in.
	MkdirAll(dir string) error
	// SyncDir makes created, renamed and removed names of a directory safe.
	SyncDir(dir string) error
	// Stat returns the size of a file.
	Stat(name string) (size int64, err error)
	// Lock takes a file as an exclusive lock, makes it when it is missing and writes the process id into it. It never
	// waits: the error is a *LockedError when another holds it. Close gives the lock back; so does the end of the
	// process. The file stays.
	Lock(name string) (io.Closer, error)
	// Free returns how many bytes may still be stored in dir and how many its disk has in all.
	Free(dir string) (free, total int64, err error)
	// ReadFile returns the content of a whole file.
	ReadFile(name string) ([]byte, error)
}

// File is an open file. Closing it leaves its mappings alone.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes data, and what of the metadata is needed to read it back, safe. It blocks as long as the disk does.
	Sync() error
	// WriteOut gives a range that was written to the disk and waits until the disk has taken it. It makes nothing safe: that still needs a Sync,
	// which then has little left to write and does not hold up the syncs of other files.
	WriteOut(offset, length int64) error
	// Allocate reserves blocks for the first size bytes and grows the file to size; it never shrinks one. New bytes are
	// zeros. A full disk is an error here instead of later in WriteAt.
	Allocate(size int64) error
	// Truncate cuts or extends the file. Bytes beyond a cut must not be read through a mapping any more.
	Truncate(size int64) error
	Size() (int64, error)
	// Uncache takes what is synced of the file out of the memory of the kernel, as far as nobody has it mapped. It is only a hint and has no
	// errors.
	Uncache()
	// Map maps the first length bytes for reading. The file must have that many.
	Map(length int64) (Mapping, error)
}

// Mapping is the content of a file as memory.
type Mapping interface {
	// Bytes must only be read, and not after Unmap: both kill the process.
	Bytes() []byte
	// Advise brings a range into memory before it is touched. It may block on the disk, and it is only a hint: it has no
	// errors and takes any range.
	Advise(offset, length int64)
	// Load is Advise for megabytes of a file much of which is read: in large pages where the system has them for files, which costs a fraction of the
	// processor. As much again behind the range may be read as well. The range should begin at a multiple of 2 MiB.
	Load(offset, length int64)
	// Prefetch has a range read from the disk without waiting for it, with the same freedom.
	Prefetch(offset, length int64)
	// Cached is how many bytes of a range are in memory now, and would cost no disk to read; all of them on systems that do not say.
	Cached(offset, length int64) int64
	Unmap() error
}

// LockedError is returned by FS.Lock when the lock is held.
type LockedError struct {
	Name string
	PID  int // of the holder; 0 when it could not be read
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("lock %s: held by another process", e.Name)
	}
	return fmt.Sprintf("lock %s: held by process %d", e.Name, e.PID)
}

// checkMap refuses a mapping that could only be read with a SIGBUS.
func checkMap(name string, length, size int64) error {
	if length <= 0 || length > size {
		return fmt.Errorf("map %s: length %d of a file of %d bytes", name, length, size)
	}
	if int64(int(length)) != length {
		return fmt.Errorf("map %s: length %d is too large for this machine", name, length)
	}
	return nil
}
