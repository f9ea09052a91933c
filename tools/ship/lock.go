//go:build linux

package ship

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const lockName = "lock"

// lock keeps a second agent out of a directory, and tells who is in it. The file stays; what counts is the kernel's lock on it, which ends with the process.
type lock struct{ file *os.File }

// holder is what the file of a lock says.
type holder struct {
	PID  int    `json:"pid"`
	HTTP string `json:"http,omitempty"`
}

func takeLock(dir string) (*lock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("ship: the directory of the checkpoint: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("ship: %w", err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("ship: lock %s: %w", f.Name(), err)
		}
		who := "another process"
		if h, err := readHolder(f); err == nil {
			who = fmt.Sprintf("process %d", h.PID)
		}
		return nil, fmt.Errorf("ship: %s ships with the checkpoint in %s: stop it, or give this one a directory of its own", who, dir)
	}
	l := &lock{f}
	return l, l.tell("")
}

// tell writes down who has the lock and where its status is served.
func (l *lock) tell(addr string) error {
	text, err := json.Marshal(holder{os.Getpid(), addr})
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("ship: %w", err)
	}
	if _, err := l.file.WriteAt(append(text, '\n'), 0); err != nil {
		return fmt.Errorf("ship: %w", err)
	}
	return nil
}

func readHolder(r io.Reader) (h holder, err error) {
	err = json.NewDecoder(io.LimitReader(r, 4096)).Decode(&h)
	return h, err
}

func (l *lock) release() error { return l.file.Close() }

// whoHolds tells who has the lock of a directory; false if nobody has. It takes nothing, not even for a moment: an agent may be about to start.
func whoHolds(dir string) (holder, bool, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return holder{}, false, nil
	}
	if err != nil {
		return holder{}, false, err
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil {
		return holder{}, false, fmt.Errorf("look at the lock %s: %w", f.Name(), err)
	}
	if l.Type == unix.F_UNLCK {
		return holder{}, false, nil
	}
	h, err := readHolder(f)
	return h, true, err
}
