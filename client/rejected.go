package client

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/metaq/metaq/protocol"
)

// Rejected is a message that is given up: its handler has failed too often, or for too long.
type Rejected struct {
	Received
	Err   string    // of the last try
	Tries int       // in all
	Since time.Time // the first failure
	At    time.Time // when it was given up
}

// rejectedName is a file with an object in JSON on each line. It is for people and their programs too.
const rejectedName = "rejected.jsonl"

// rejectedLine is a line of the file. A body that is no UTF-8 text is in data_base64, and such an attribute in attribute_base64.
type rejectedLine struct {
	Topic     string    `json:"topic"`
	Broker    int       `json:"broker"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Next      int64     `json:"next"`
	ID        int64     `json:"id"`
	Attribute string    `json:"attribute,omitempty"`
	Binary    []byte    `json:"attribute_base64,omitempty"`
	Data      *string   `json:"data,omitempty"`
	Base64    *string   `json:"data_base64,omitempty"`
	Err       string    `json:"error"`
	Tries     int       `json:"tries"`
	Since     time.Time `json:"since"`
	At        time.Time `json:"rejected"`
}

// ReadRejected reads the messages that consumers of a group have rejected, the oldest first, from the directory of their Recovery. It may be used while a
// consumer runs.
func ReadRejected(dir, group string) iter.Seq2[Rejected, error] {
	return func(yield func(Rejected, error) bool) {
		g, err := protocol.ParseGroup(group)
		if err != nil {
			yield(Rejected{}, fmt.Errorf("metaq: %w", err))
			return
		}
		for m, err := range readRejected(filepath.Join(dir, string(g), rejectedName)) {
			if !yield(m, err) {
				return
			}
		}
	}
}

// Redrive takes rejected messages back that match wants, nil for all: they are stored and tried again as if they had failed for the first time. It tells how
// many. If it fails in the middle, messages may be both stored and rejected.
func (c *Consumer) Redrive(match func(Rejected) bool) (n int, err error) {
	if c.recovery == nil {
		return 0, errors.New("metaq: there are no rejected messages without WithRecovery")
	}
	return c.recovery.rejected.remove(match, func(m Rejected) error {
		now := time.Now()
		return c.recovery.store.add(failedMessage{Received: m.Received, since: now, due: now})
	})
}

// rejectedFile is the file as its consumer has it.
type rejectedFile struct {
	name string
	max  int64

	mu sync.Mutex // while the file is written
}

// openRejectedFile cuts what a crash has left of a line that was being written.
func openRejectedFile(dir string, maxBytes int64) (*rejectedFile, error) {
	r := &rejectedFile{name: filepath.Join(dir, rejectedName), max: maxBytes}
	f, err := os.OpenFile(r.name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("metaq: recovery: %w", err)
	}
	defer f.Close()
	whole, in := int64(0), bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			err = f.Truncate(whole)
			if err == nil {
				return r, nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("metaq: recovery: %w", err)
		}
		whole += int64(len(line))
	}
}

// add appends a message. It is on disk when this returns without an error.
func (r *rejectedFile) add(m Rejected) error {
	line, err := m.line()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(r.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if info.Size()+int64(len(line)) > r.max {
		return errors.Join(fmt.Errorf("%s has %d bytes, the limit is %d: redrive or remove it", r.name, info.Size(), r.max), f.Close())
	}
	if _, err := f.Write(line); err != nil {
		return errors.Join(err, f.Truncate(info.Size()), f.Close())
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(filepath.Dir(r.name)))
}

// remove gives messages away that match, and writes the file without them.
func (r *rejectedFile) remove(match func(Rejected) bool, to func(Rejected) error) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.name + ".new" // a crash may leave it; it means nothing
	f, err := os.Create(next)
	if err != nil {
		return 0, fmt.Errorf("metaq: recovery: %w", err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for m, err := range readRejected(r.name) {
		if err == nil {
			if match == nil || match(m) {
				n++
				err = to(m)
			} else {
				err = m.write(w)
			}
		}
		if err != nil {
			return n, errors.Join(err, os.Remove(next))
		}
	}
	if err := errors.Join(w.Flush(), f.Sync(), os.Rename(next, r.name), syncDir(filepath.Dir(r.name))); err != nil {
		return n, fmt.Errorf("metaq: recovery: %w", err)
	}
	return n, nil
}

// readRejected reads a file that need not be there. The last line may be being written.
func readRejected(name string) iter.Seq2[Rejected, error] {
	return func(yield func(Rejected, error) bool) {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Rejected{}, fmt.Errorf("metaq: recovery: %w", err))
			return
		}
		defer f.Close()
		in := bufio.NewReader(f)
		for n := 1; ; n++ {
			line, err := in.ReadBytes('\n')
			if err == io.EOF {
				return // what there is of a line without its end is being written
			}
			if err != nil {
				yield(Rejected{}, fmt.Errorf("metaq: recovery: %w", err))
				return
			}
			m, err := parseRejected(line)
			if err != nil {
				yield(Rejected{}, fmt.Errorf("metaq: %s:%d: %w", name, n, err))
				return
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (m Rejected) line() ([]byte, error) {
	l := rejectedLine{Topic: m.Topic, Broker: m.Broker, Partition: m.Partition, Offset: m.Offset, Next: m.Next, ID: m.ID, Attribute: m.Attribute,
		Err: m.Err, Tries: m.Tries, Since: m.Since, At: m.At}
	if !utf8.ValidString(m.Attribute) {
		l.Attribute, l.Binary = "", []byte(m.Attribute)
	}
	text := string(m.Body)
	if utf8.Valid(m.Body) {
		l.Data = &text
	} else {
		text = base64.StdEncoding.EncodeToString(m.Body)
		l.Base64 = &text
	}
	b, err := json.Marshal(l)
	return append(b, '\n'), err
}

func (m Rejected) write(w *bufio.Writer) error {
	line, err := m.line()
	if err != nil {
		return err
	}
	_, err = w.Write(line)
	return err
}

func parseRejected(line []byte) (m Rejected, err error) {
	var l rejectedLine
	if err := json.Unmarshal(line, &l); err != nil {
		return m, err
	}
	if _, err := protocol.ParseTopic(l.Topic); err != nil {
		return m, err
	}
	m = Rejected{Err: l.Err, Tries: l.Tries, Since: l.Since, At: l.At, Received: Received{Topic: l.Topic, Broker: l.Broker, Partition: l.Partition,
		Offset: l.Offset, Next: l.Next, ID: l.ID, Attribute: l.Attribute}}
	if len(l.Binary) > 0 {
		m.Attribute = string(l.Binary)
	}
	switch {
	case l.Data != nil:
		m.Body = []byte(*l.Data)
	case l.Base64 != nil:
		m.Body, err = base64.StdEncoding.DecodeString(*l.Base64)
	}
	return m, err
}
