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
	Check   string `json:"check"`   // a flipped bit must not make this another replica
}

const identityName = "identity"

func newIdentity() identity {
	id := make([]byte, 8)
	rand.Read(id)
	return identity{Format: formatVersion, Replica: hex.EncodeToString(id)}
}

func (id identity) sum() string {
	return fmt.Sprintf("%08x", crc32.Checksum(fmt.Appendf(nil, "%d %s", id.Format, id.Replica), castagnoli))
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
		data, err := newIdentity().encode()
		if err != nil {
			return err
		}
		return writeFile(s.fs, name, data)
	}
	if err != nil {
		return err
	}
	_, err = parseIdentity(name, b)
	return err
}
