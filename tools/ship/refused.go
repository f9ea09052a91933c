//go:build linux

package ship

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	refusedName = "refused.jsonl"
	// mostRefused bounds the file: whoever ships into a broker that refuses everything has a mistake to mend, not lines to set aside.
	mostRefused = 256 << 20
)

// refused is a file of lines that a broker has refused for good, a JSON object each.
type refused struct {
	path string
	mu   sync.Mutex
}

type refusedLine struct {
	Time  time.Time `json:"time"`
	Topic string    `json:"topic"`
	File  string    `json:"file"`
	At    int64     `json:"at"` // position in the file
	Error string    `json:"error"`
	Line  []byte    `json:"line"` // base64
}

// add appends a line, which is on the disk when it returns.
func (r *refused) add(in *Input, file string, at int64, line []byte, reason error) error {
	text, err := json.Marshal(refusedLine{time.Now(), in.Topic, file, at, reason.Error(), line})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size()+int64(len(text)) > mostRefused {
		return fmt.Errorf("%s has %d bytes, and %d is the limit: mend the cause, and move the file away", r.path, info.Size(), mostRefused)
	}
	if _, err := f.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(r.path))
}

// syncDir makes names in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
