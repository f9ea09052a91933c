//go:build linux

package ship

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// source is what lines are read from: a file, or what a compressed one holds.
type source interface {
	io.ReaderAt
	io.Closer
	// look is what the file system says of the file.
	look() (look, error)
}

type plain struct{ *os.File }

// openPlain opens a file. It does not wait for whoever may be at the other end of it: the path may have become a pipe since somebody looked.
func openPlain(path string) (source, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return plain{f}, nil
}

func (p plain) look() (look, error) {
	var l look
	conn, err := p.SyscallConn()
	if err != nil {
		return l, err
	}
	if controlErr := conn.Control(func(fd uintptr) { l, err = lookAtOpen(fd) }); controlErr != nil {
		return l, controlErr
	}
	return l, err
}

// packedSource reads a gzip file from its beginning to its end. A step back begins anew.
type packedSource struct {
	plain
	most   int // bytes of one ReadAt
	at     int64
	unpack *bufio.Reader
}

func openPacked(path string, most int) (source, error) {
	s, err := openPlain(path)
	if err != nil {
		return nil, err
	}
	return &packedSource{plain: s.(plain), most: max(most, markBytes)}, nil
}

func (s *packedSource) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > s.most {
		return 0, fmt.Errorf("%d bytes of a compressed file: the limit is %d", len(p), s.most)
	}
	if s.unpack == nil || off < s.at {
		z, err := gzip.NewReader(io.NewSectionReader(s.File, 0, 1<<62))
		if err != nil {
			return 0, unpackError(err)
		}
		s.unpack, s.at = bufio.NewReaderSize(z, s.most), 0
	}
	for s.at < off {
		n, err := s.unpack.Discard(int(min(off-s.at, 1<<20)))
		s.at += int64(n)
		if err != nil {
			return 0, unpackError(err)
		}
	}
	b, err := s.unpack.Peek(len(p))
	return copy(p, b), unpackError(err)
}

// errPacking is of a compressed file that is not complete, because it is being written, or damaged.
var errPacking = errors.New("the compressed file is incomplete or damaged")

func unpackError(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return fmt.Errorf("%w: %w", errPacking, err)
}
