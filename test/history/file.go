package history

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A Writer writes a history. It may be used by many goroutines.
type Writer struct {
	mu    sync.Mutex
	start time.Time
	file  *os.File
	zip   *gzip.Writer
	json  *json.Encoder
	err   error // the first one; Close returns it
}

// Create begins a history in a new file.
func Create(name string, h Header) (*Writer, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create a history: %w", err)
	}
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		f.Close()
		return nil, err
	}
	w := &Writer{start: time.Now(), file: f, zip: z, json: json.NewEncoder(z)}
	w.err = w.json.Encode(h)
	return w, nil
}

// Add writes an event; the time is that of the call.
func (w *Writer) Add(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.T = time.Since(w.start).Nanoseconds()
	if w.err == nil {
		w.err = w.json.Encode(e)
	}
}

// Close ends the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.zip.Close(), w.file.Close())
}

// Read fills in the header of a history, which may be compressed or not, and then calls visit for each event.
func Read(name string, h *Header, visit func(line int, e Event) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := bufio.NewReaderSize(f, 1<<20)
	var in io.Reader = buf
	if magic, err := buf.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if in, err = gzip.NewReader(buf); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	if err := d.Decode(h); err != nil {
		return fmt.Errorf("%s: header: %w", name, err)
	}
	for line := 2; ; line++ {
		var e Event
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: line %d: %w", name, line, err)
		}
		if err := visit(line, e); err != nil {
			return fmt.Errorf("%s: line %d: %w", name, line, err)
		}
	}
}
