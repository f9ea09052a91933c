package offsetfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/zkcoord"
)

const (
	filePerm   = 0o644
	lockSuffix = ".lock"
	newSuffix  = ".new" // a file that is not complete yet; a crash may leave one, which the next save replaces
)

// ErrLocked is wrapped by the error of Open while another process, or another Store of this one, has the file.
var ErrLocked = errors.New("the file is in use by another consumer")

// Store is a client.OffsetStore in a file. All groups of a file are written together.
type Store struct {
	path string
	lock *os.File

	mu      sync.Mutex // also held while the file is written
	offsets map[client.OffsetKey]zkcoord.Offset
	closed  bool
}

// DefaultPath is the file that Java consumers use: .meta_offsets in the user's home.
func DefaultPath() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".meta_offsets"), err
}

// Open reads the file, which need not exist: it is made by the first Save. Its directory has to exist.
func Open(path string) (*Store, error) {
	lock, err := os.OpenFile(path+lockSuffix, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, fmt.Errorf("open the offsets: %w", err)
	}
	fail := func(err error) (*Store, error) {
		_ = lock.Close() // nothing was written; the error before it is the one to tell
		return nil, err
	}
	if err := lockFile(lock); err != nil {
		return fail(fmt.Errorf("open the offsets in %s: %w", path, err))
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(fmt.Errorf("open the offsets: %w", err))
	}
	offsets, err := decode(b)
	if err != nil {
		return fail(fmt.Errorf("the offsets in %s are damaged; mend the file, or move it away to begin without offsets: %w", path, err))
	}
	return &Store{path: path, lock: lock, offsets: offsets}, nil
}

// Close gives the file to others. It does not save: everything is saved when Save returns.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.lock.Close() // with it goes the lock
}

// Load answers from memory.
func (s *Store) Load(ctx context.Context, key client.OffsetKey) (zkcoord.Offset, bool, error) {
	if err := ctx.Err(); err != nil {
		return zkcoord.Offset{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return zkcoord.Offset{}, false, fmt.Errorf("load an offset: %w", os.ErrClosed)
	}
	offset, ok := s.offsets[key]
	return offset, ok, nil
}

// Save replaces the file by one with the new offsets. Either all of them are kept or none, and once it has begun it does not look at ctx any more.
func (s *Store) Save(ctx context.Context, offsets map[client.OffsetKey]zkcoord.Offset) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("save offsets: %w", os.ErrClosed)
	}
	if len(offsets) == 0 {
		return nil
	}
	all := maps.Clone(s.offsets)
	maps.Copy(all, offsets)
	if err := replace(s.path, encode(all)); err != nil {
		return fmt.Errorf("save offsets: %w", err)
	}
	s.offsets = all
	return nil
}

// replace writes a file beside the old one and puts it into its place when it is on disk. After an error the old one is still there, or the new one.
func replace(path string, b []byte) error {
	f, err := os.OpenFile(path+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
