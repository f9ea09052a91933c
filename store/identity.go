package store

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

// identity is the file that says what a data directory is. FORMAT.md shows it.
type identity struct {
	Format  int    `json:"format"`
	Replica string `json:"replica"` // random, for the life of the directory
	Salt    string `json:"salt"`    // of the checksums: that of the log, so a copy has the same
	Check   string `json:"check"`   // a flipped bit must not make this another replica
}

const identityName = "identity"

func newIdentity() identity {
	b := make([]byte, 12)
	rand.Read(b)
	return identity{Format: formatVersion, Replica: hex.EncodeToString(b[:8]), Salt: hex.EncodeToString(b[8:])}
}

func (id identity) sum() string {
	return fmt.Sprintf("%08x", crc32.Checksum(fmt.Appendf(nil, "%d %s %s", id.Format, id.Replica, id.Salt), castagnoli))
}

func (id identity) salt() salt {
	x, _ := parseSalt(id.Salt) // compared by parseIdentity
	return x
}

func (id identity) encode() ([]byte, error) {
	id.Check = id.sum()
	b, err := json.Marshal(id)
	return append(b, '\n'), err
}

// parseIdentity is the inverse of encode. name is for the error: a *CorruptError, or one that wraps ErrFormat.
func parseIdentity(name string, b []byte) (identity, error) {
	var id identity
	if err := json.Unmarshal(b, &id); err != nil {
		return id, &CorruptError{File: name, Reason: err.Error()}
	}
	if id.Check != id.sum() {
		return id, &CorruptError{File: name, Reason: "a checksum that does not match"}
	}
	if _, ok := parseSalt(id.Salt); !ok {
		return id, &CorruptError{File: name, Reason: "a salt that is none"}
	}
	if id.Format != formatVersion {
		return id, fmt.Errorf("%w: it says %d, this program writes %d", ErrFormat, id.Format, formatVersion)
	}
	return id, nil
}

func (s *Store) loadIdentity() error {
	name := s.path(identityName)
	b, err := s.fs.ReadFile(name)
	if isNotExist(err) {
		if s.options.ReadOnly {
			return fmt.Errorf("%s is no data directory: it has no file \"%s\"", s.options.Dir, identityName)
		}
		return s.makeIdentity(name)
	}
	if err != nil {
		return err
	}
	id, err := parseIdentity(name, b)
	s.salt = id.salt()
	if err != nil || s.options.ReadOnly {
		return err
	}
	// The start that made it may have been killed before its name was safe. A log must not outlive its identity.
	return s.fs.SyncDir(s.options.Dir)
}

// makeIdentity is for a new directory. One that holds something needs the identity that it was written with.
func (s *Store) makeIdentity(name string) error {
	bases, _, err := segmentBases(s.fs, s.options.Dir)
	if err != nil {
		return err
	}
	_, err = s.fs.Stat(s.path(checkpointName))
	if len(bases) > 0 || err == nil {
		return &CorruptError{File: name, Reason: "missing, though there is a log. Nothing was changed. Restore the file, or see `metaq check --repair`"}
	}
	id := newIdentity()
	data, err := id.encode()
	if err != nil {
		return err
	}
	s.salt = id.salt()
	return writeFile(s.fs, name, data)
}
