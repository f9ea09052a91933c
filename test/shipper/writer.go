package shipper

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// writer writes numbered lines to a file and rotates it, as a program and its logrotate do. It is for one goroutine.
type writer struct {
	name   string
	path   string
	rotate func(*writer) error
	keep   int // rotated files that are kept
	rand   *rand.Rand

	file      *os.File
	lines     int64
	rotations int
	rotated   []string // what is kept, where each rotation has a name of its own
}

// open opens the file as programs do that write logs.
func (w *writer) open() (err error) {
	w.file, err = os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return err
}

// line is what a line says: the writer, its number, and something of its own to fill it.
func line(name string, n int64, fill int) string {
	return fmt.Sprintf("%s %d %s\n", name, n, strings.Repeat(string(rune('a'+n%26)), fill))
}

// write writes some lines, now and then one in two pieces.
func (w *writer) write(lines int) error {
	for range lines {
		text := line(w.name, w.lines, w.rand.IntN(300))
		w.lines++
		cut := len(text)
		if w.rand.IntN(10) == 0 {
			cut = w.rand.IntN(len(text))
		}
		for _, piece := range []string{text[:cut], text[cut:]} {
			if _, err := w.file.WriteString(piece); err != nil {
				return err
			}
		}
	}
	return nil
}

// work writes bursts and rotates until stop is closed.
func (w *writer) work(stop <-chan struct{}, burst int, pause, rotateEvery time.Duration) error {
	if err := w.open(); err != nil {
		return err
	}
	defer w.file.Close()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	rotate := time.NewTicker(rotateEvery)
	defer rotate.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
			if err := w.write(burst); err != nil {
				return err
			}
		case <-rotate.C:
			w.rotations++
			if err := w.rotate(w); err != nil {
				return fmt.Errorf("rotation %d of %s: %w", w.rotations, w.path, err)
			}
		}
	}
}

// shift renames file.1 to file.2 and so on, and the file to file.1.
func (w *writer) shift() error {
	for n := w.keep; n >= 1; n-- {
		from := fmt.Sprintf("%s.%d", w.path, n)
		if n == w.keep {
			if err := os.Remove(from); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", w.path, n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(w.path, w.path+".1")
}

// reopen ends the old file and begins a new one.
func (w *writer) reopen() error {
	if err := w.file.Close(); err != nil {
		return err
	}
	return w.open()
}

// renamed rotates to numbers.
func renamed(w *writer) error {
	if err := w.shift(); err != nil {
		return err
	}
	return w.reopen()
}

// late rotates to numbers, and the program goes on in the renamed file until it is told: it writes half a line there last.
func late(w *writer) error {
	if err := w.shift(); err != nil {
		return err
	}
	for range 20 {
		if err := w.write(5); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond) // a signal takes its time
	}
	return w.reopen()
}

// dated rotates to a name of its own.
func dated(w *writer) error {
	name := fmt.Sprintf("%s-20261121-%06d", w.path, w.rotations)
	if err := os.Rename(w.path, name); err != nil {
		return err
	}
	return errors.Join(w.dropOld(name), w.reopen())
}

// packed rotates to a name of its own and compresses what was rotated before.
func packed(w *writer) error {
	if n := len(w.rotated); n > 0 && filepath.Ext(w.rotated[n-1]) != ".gz" {
		name, err := pack(w.rotated[n-1])
		if err != nil {
			return err
		}
		w.rotated[n-1] = name
	}
	return dated(w)
}

// pack compresses a file as gzip does: the compressed one is complete before the other is removed, and has its time.
func pack(path string) (string, error) {
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return "", err
	}
	to, err := os.Create(path + ".gz")
	if err != nil {
		return "", err
	}
	z := gzip.NewWriter(to)
	_, err = io.Copy(z, from)
	return path + ".gz", errors.Join(err, z.Close(), to.Close(), os.Chtimes(path+".gz", info.ModTime(), info.ModTime()), os.Remove(path))
}

// copied copies the file and truncates it. Nothing is written meanwhile, so that nothing is lost by the rotation itself.
func copied(w *writer) error {
	name := fmt.Sprintf("%s-20261121-%06d", w.path, w.rotations)
	from, err := os.Open(w.path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(name)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(to)
	_, err = io.Copy(b, from)
	return errors.Join(err, b.Flush(), to.Close(), os.Truncate(w.path, 0), w.dropOld(name))
}

// dropOld removes the oldest file when there are too many.
func (w *writer) dropOld(name string) error {
	w.rotated = append(w.rotated, name)
	if len(w.rotated) <= w.keep {
		return nil
	}
	oldest := w.rotated[0]
	w.rotated = w.rotated[1:]
	return os.Remove(oldest)
}
