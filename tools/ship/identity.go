//go:build linux

package ship

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// identity tells a file from all others, whatever it is called. The kernel gives the inode of a removed file to a new one, often at once; the time of birth, where
// the file system has it, differs then. What it has not is told by a mark.
type identity struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Born   int64  `json:"born,omitempty"` // nanoseconds since 1970, 0 if it is not known
}

// look is what a file system says of a file.
type look struct {
	id       identity
	size     int64
	modified time.Time
	regular  bool
}

// lookAt follows symbolic links.
func lookAt(path string) (look, error) { return statx(unix.AT_FDCWD, path, 0) }

// lookAtOpen is for an open file, which may have no name any more.
func lookAtOpen(fd uintptr) (look, error) { return statx(int(fd), "", unix.AT_EMPTY_PATH) }

func statx(dir int, path string, flags int) (look, error) {
	var st unix.Statx_t
	for {
		err := unix.Statx(dir, path, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return look{}, &fs.PathError{Op: "statx", Path: path, Err: err}
		}
	}
	l := look{
		id:       identity{Device: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino},
		size:     int64(st.Size),
		modified: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)),
		regular:  st.Mode&unix.S_IFMT == unix.S_IFREG,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		l.id.Born = st.Btime.Sec*int64(time.Second) + int64(st.Btime.Nsec)
	}
	return l, nil
}

// markBytes is how much of a file is looked at to know it again, at its beginning and before a position.
const markBytes = 1 << 10

// A mark is the sum of some bytes of a file, by which they are known again.
type mark struct {
	Bytes int    `json:"bytes"`
	Sum   uint64 `json:"sum"`
}

func markOf(b []byte) mark {
	h := fnv.New64a()
	h.Write(b)
	return mark{len(b), h.Sum64()}
}

// headOf marks the first bytes of a file.
func headOf(s source, size int64) (mark, error) {
	b := make([]byte, min(markBytes, size))
	n, err := s.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return mark{}, err
	}
	return markOf(b[:n]), nil
}

// matches says whether a file has the marked bytes at a place.
func (m mark) matches(s source, at int64) (bool, error) {
	if m.Bytes == 0 {
		return true, nil
	}
	if m.Bytes < 0 || m.Bytes > markBytes || at < 0 {
		return false, fmt.Errorf("a mark of %d bytes at %d: there are at most %d", m.Bytes, at, markBytes)
	}
	b := make([]byte, m.Bytes)
	n, err := s.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n == m.Bytes && markOf(b) == m, nil
}
