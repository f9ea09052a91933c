package store

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"runtime/debug"

	"github.com/metaq/metaq/store/vfs"
)

// salt is a secret of a log, drawn with its identity and XORed into the checksums of its frames, indexes and checkpoints. Clients never
// see it nor any of these checksums. So what a client puts into a message cannot pass for a frame when a recovery or a repair looks for
// sound ones behind a bad place, and a file of another data directory is not taken for one of this.
type salt uint32

// seal makes the stored form of a checksum. It is never 0, so that a block of zeros never passes for something.
func (x salt) seal(crc uint32) uint32 {
	if crc ^= uint32(x); crc != 0 {
		return crc
	}
	return 1
}

func (x salt) String() string { return fmt.Sprintf("%08x", uint32(x)) }

func parseSalt(s string) (salt, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return 0, false
	}
	return salt(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])), true
}

// ballot counts which salt the files of a directory were written with: each checkpoint and each frame that looks like one names the salt
// that would make its checksum right.
type ballot map[salt]int

// enoughVotes ends the count: a checksum that is wrong names any of 2^32 salts, so that even two equal ones are no accident.
const enoughVotes = 64

func countSalts(fsys vfs.FS, dir string, bases []int64) ballot {
	votes := ballot{}
	for _, name := range []string{checkpointName, checkpointPrev} {
		b, err := fsys.ReadFile(filepath.Join(dir, name))
		if err == nil && len(b) >= checkpointHeader && string(b[:8]) == checkpointMark {
			votes[salt(le.Uint32(b[8:])^crc32.Checksum(b[12:], castagnoli))]++
		}
	}
	for i := len(bases) - 1; i >= 0; i-- {
		g, err := openSegment(fsys, dir, bases[i], 0)
		if err != nil {
			continue
		}
		votes.count(g)
		g.close()
		if _, n := votes.winner(); n >= enoughVotes {
			break
		}
	}
	return votes
}

// count takes the votes of a segment's first frames.
func (v ballot) count(g *segment) {
	defer onFault(func() {})
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	pos := g.base
	for range enoughVotes {
		b := g.bytes(pos)
		if len(b) < frameHeader {
			return
		}
		h := readHeader(b)
		if h.pos < g.base || h.pos >= g.limit || h.size < frameHeader || int64(h.size) > int64(len(b)) {
			return
		}
		v[salt(h.crc^crc32.Checksum(b[8:h.size], castagnoli))]++
		pos += align(int64(h.size))
	}
}

// winner is the salt with the most votes, and how many these are.
func (v ballot) winner() (best salt, votes int) {
	for x, n := range v {
		if n > votes {
			best, votes = x, n
		}
	}
	return best, votes
}
