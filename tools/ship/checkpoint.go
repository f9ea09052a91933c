//go:build linux

package ship

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"
)

// The checkpoint is a file of two parts: a line that says what it is and carries the checksum of the rest, and JSON for whoever wants to look.
//
//	metaq-ship-checkpoint 1 crc32=89abcdef
//	{"written":"...","inputs":[{"name":"...","since":"...","files":[...]}]}
//
// It is written under another name, flushed and renamed. The one before is kept, and used when the newest is damaged: then some lines are sent again.
const (
	checkpointName  = "checkpoint"
	checkpointOld   = "checkpoint.before"
	checkpointDraft = "checkpoint.new"
	checkpointLine  = "metaq-ship-checkpoint 1 crc32=%08x\n"
)

type checkpoint struct {
	Written time.Time         `json:"written"`
	Inputs  []checkpointInput `json:"inputs"`
}

type checkpointInput struct {
	Name  string           `json:"name"`
	Since time.Time        `json:"since"`         // when it was first looked at
	Left  time.Time        `json:"left,omitzero"` // when an agent was first started without it
	Files []checkpointFile `json:"files"`         // those of a stream in their order
}

// fileName is a path. JSON has text only: one that is no UTF-8 is {"base64":"..."} there.
type fileName string

type encodedName struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (n fileName) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(n)) {
		return json.Marshal(string(n))
	}
	return json.Marshal(encodedName{[]byte(n)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *fileName) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte("{")) {
		var e encodedName
		err := json.Unmarshal(b, &e)
		*n = fileName(e.Base64)
		return err
	}
	return json.Unmarshal(b, (*string)(n))
}

// keepLeft is how long it is known of an input how far it was read that no agent was told of any more.
const keepLeft = 30 * 24 * time.Hour

// leave keeps what a checkpoint says of inputs that this agent does not have.
func (a *Agent) leave(c *checkpoint) {
	if c == nil {
		return
	}
	for _, in := range c.Inputs {
		if slices.ContainsFunc(a.config.Inputs, func(x Input) bool { return x.Name == in.Name }) {
			continue
		}
		if in.Left.IsZero() {
			in.Left = time.Now()
		}
		if time.Since(in.Left) < keepLeft {
			a.left = append(a.left, in)
		}
	}
}

type checkpointFile struct {
	Stream fileName `json:"stream"`
	Path   fileName `json:"path"`
	identity
	Gone     bool  `json:"gone,omitempty"` // its content is no longer where it was
	Packed   bool  `json:"packed,omitempty"`
	Position int64 `json:"position"`
	Cut      uint8 `json:"cut,omitempty"` // a cutting, of what follows the position
	Size     int64 `json:"size"`
	Head     mark  `json:"head"`
	Tail     mark  `json:"tail"`
}

// readCheckpoint reads what the agent before has written; nil if there was none.
func readCheckpoint(dir string, log *slog.Logger) (*checkpoint, error) {
	c, err := parseCheckpoint(filepath.Join(dir, checkpointName))
	if err == nil {
		return c, nil
	}
	before, beforeErr := parseCheckpoint(filepath.Join(dir, checkpointOld))
	switch {
	case beforeErr == nil:
		log.Warn("the newest checkpoint cannot be used: with the one before it, lines are sent again", "error", err, "written", before.Written)
		return before, nil
	case errors.Is(err, fs.ErrNotExist) && errors.Is(beforeErr, fs.ErrNotExist):
		return nil, nil
	}
	return nil, fmt.Errorf("ship: %w; and the one before it: %w. Nothing says how far files were read: remove both, and files are shipped as at a first start", err, beforeErr)
}

func parseCheckpoint(path string) (*checkpoint, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	if want := fmt.Sprintf(checkpointLine, crc32.ChecksumIEEE(rest)); want != string(line)+"\n" {
		return nil, fmt.Errorf("the checkpoint %s is damaged, or of another version: it begins with %.60q, and its content belongs to %.60q", path, line, want)
	}
	var c checkpoint
	if err := json.Unmarshal(rest, &c); err != nil {
		return nil, fmt.Errorf("the checkpoint %s: %w", path, err)
	}
	for _, in := range c.Inputs {
		for _, f := range in.Files {
			if f.Position < 0 || f.Cut >= uint8(cuttings) || f.Tail.Bytes > markBytes || int64(f.Tail.Bytes) > f.Position || f.Head.Bytes > markBytes || f.Head.Bytes < 0 || f.Tail.Bytes < 0 {
				return nil, fmt.Errorf("the checkpoint %s: %s at %d makes no sense", path, f.Path, f.Position)
			}
		}
	}
	return &c, nil
}

// writeCheckpoint replaces the checkpoint. When it returns it is on the disk.
func writeCheckpoint(dir string, c *checkpoint) error {
	rest, err := json.Marshal(c)
	if err != nil {
		return err
	}
	text := append(fmt.Appendf(nil, checkpointLine, crc32.ChecksumIEEE(rest)), rest...)
	draft, name := filepath.Join(dir, checkpointDraft), filepath.Join(dir, checkpointName)
	if err := writeSynced(draft, text); err != nil {
		return err
	}
	if err := os.Rename(name, filepath.Join(dir, checkpointOld)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(draft, name); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// save writes a checkpoint if something has changed.
func (a *Agent) save() error {
	a.saving.Lock()
	defer a.saving.Unlock()
	same := a.saved != nil
	for _, f := range a.followers {
		f.ask(func() { same = same && f.changes == a.saved[f.input.Name] })
	}
	if same {
		return nil
	}
	c, changes := checkpoint{Written: time.Now(), Inputs: slices.Clone(a.left)}, map[string]uint64{}
	for _, f := range a.followers {
		f.ask(func() {
			c.Inputs = append(c.Inputs, f.record())
			changes[f.input.Name] = f.changes
		})
	}
	err := writeCheckpoint(a.config.Dir, &c)
	if err != nil {
		err = fmt.Errorf("ship: write the checkpoint: %w", err)
	} else {
		a.saved = changes
	}
	a.savedMu.Lock()
	defer a.savedMu.Unlock()
	switch {
	case err != nil && a.saveFailed == nil:
		a.log.Error("the checkpoint cannot be written; lines are shipped, and after a crash again", "error", err)
	case err == nil && a.saveFailed != nil:
		a.log.Info("the checkpoint can be written again")
	}
	if a.saveFailed = err; err == nil {
		a.savedAt = c.Written
	}
	return err
}

// record is what a checkpoint says of an input.
func (f *follower) record() checkpointInput {
	c := checkpointInput{Name: f.input.Name, Since: f.since}
	add := func(fl *file, gone bool) {
		c.Files = append(c.Files, checkpointFile{
			Stream: fileName(fl.stream.path), Path: fileName(fl.path), identity: fl.id, Gone: gone, Packed: fl.packed,
			Position: fl.acked, Cut: uint8(fl.ackedAfter), Size: fl.size, Head: fl.head, Tail: fl.tail,
		})
	}
	for _, fl := range f.orphans {
		add(fl, true)
	}
	for _, s := range f.streams {
		for _, fl := range s.files {
			add(fl, false)
		}
	}
	return c
}

// checkClock sees to a clock that was wrong at the first look and is right now: then it is not known what was written before that, and nothing counts as old.
func (f *follower) checkClock(now time.Time) {
	if f.since.Round(0).After(now.Round(0)) { // without what does not follow the clock
		f.log.Warn("the clock was ahead at the first start: rotated files count as written after it", "since", f.since)
		f.since = time.Time{}
		f.changes++
	}
}

// restore begins where an agent before has ended.
func (f *follower) restore(c *checkpoint) {
	f.since, f.first = time.Now(), true
	if c == nil {
		return
	}
	for _, in := range c.Inputs {
		if in.Name != f.input.Name {
			continue
		}
		f.since, f.first = in.Since, false
		f.checkClock(time.Now())
		for _, r := range in.Files {
			fl := &file{
				id: r.identity, path: string(r.Path), packed: r.Packed, head: r.Head, tail: r.Tail, size: r.Size,
				acked: r.Position, ackedAfter: cutting(r.Cut), next: r.Position, after: cutting(r.Cut), changed: time.Now(),
			}
			fl.addPlace()
			f.follow(string(r.Stream), fl)
			if r.Gone {
				f.orphan(fl, time.Now())
			}
		}
	}
}
