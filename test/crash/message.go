package crash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
)

// Sizes of bodies: most are small, some large enough to cross many pages.
const (
	smallBody  = 400
	largeBody  = 64 << 10
	largeEvery = 100
)

// number names one message: who sent it, and as which of its messages.
type number struct {
	writer int
	n      int64
}

// id is the number as histories have it.
func (m number) id() string { return fmt.Sprintf("w%d-%d", m.writer, m.n) }

// body is the data of a message. It begins with its number in words and goes on with bytes that follow from the number.
func (m number) body() []byte {
	rng := rand.New(rand.NewPCG(uint64(m.writer), uint64(m.n)))
	size := rng.IntN(smallBody)
	if rng.IntN(largeEvery) == 0 {
		size = rng.IntN(largeBody)
	}
	b := fmt.Appendf(make([]byte, 0, size+32), "%d %d ", m.writer, m.n)
	for size > 0 {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
		size -= 8
	}
	return b
}

// parseNumber reads the number at the beginning of a body.
func parseNumber(b []byte) (number, error) {
	words := bytes.SplitN(b, []byte(" "), 3)
	if len(words) != 3 {
		return number{}, errors.New("no number at its beginning")
	}
	writer, err := strconv.Atoi(string(words[0]))
	if err != nil {
		return number{}, err
	}
	n, err := strconv.ParseInt(string(words[1]), 10, 64)
	return number{writer, n}, err
}

// header is what the broker stores before the data of a message.
const header = 20

// stored is a message as a get gives it.
type stored struct {
	offset int64
	id     int64
	data   []byte
}

// parseStored reads the first message of b. It returns 0 when b ends within it.
func parseStored(b []byte) (m stored, size int, err error) {
	if len(b) < header {
		return stored{}, 0, nil
	}
	length := binary.BigEndian.Uint32(b)
	sum := binary.BigEndian.Uint32(b[4:])
	if length > 1<<30 {
		return stored{}, 0, fmt.Errorf("length %d in its header", length)
	}
	size = header + int(length)
	if len(b) < size {
		return stored{}, 0, nil
	}
	m = stored{id: int64(binary.BigEndian.Uint64(b[8:])), data: b[header:size]}
	if flag := binary.BigEndian.Uint32(b[16:]); flag != 0 {
		return m, size, fmt.Errorf("flag %#x in its header", flag)
	}
	// The top bit is cleared: the original computes with signed numbers.
	if have := crc32.ChecksumIEEE(m.data) &^ (1 << 31); have != sum {
		return m, size, fmt.Errorf("checksum %08x, its header says %08x", have, sum)
	}
	return m, size, nil
}
