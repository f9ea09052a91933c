package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"

	"github.com/metaq/metaq/protocol"
)

// Queue names a partition.
type Queue struct {
	Topic     string
	Partition int
}

func (q Queue) String() string { return fmt.Sprintf("%s-%d", q.Topic, q.Partition) }

// Letter makes the n-th message of a queue: a line that says so, then bytes that follow from it. size is about how long it is.
func Letter(q Queue, n int64, size int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(q.Partition)<<32|uint64(size)))
	filler := make([]byte, 0, size+8)
	for len(filler) < size {
		filler = binary.LittleEndian.AppendUint64(filler, rng.Uint64())
	}
	b := fmt.Appendf(nil, "%s %d ", q, n)
	sum := crc32.Update(crc32.ChecksumIEEE(b), crc32.IEEETable, filler)
	b = fmt.Appendf(b, "%08x\n", sum)
	return append(b, filler...)
}

// OpenLetter reads the number of a letter, and says what is wrong with one that is not as it was made.
func OpenLetter(q Queue, b []byte) (n int64, err error) {
	line, filler, ok := bytes.Cut(b, []byte("\n"))
	words := bytes.Split(line, []byte(" "))
	if !ok || len(words) != 3 {
		return 0, fmt.Errorf("no letter: %.40q", b)
	}
	if string(words[0]) != q.String() {
		return 0, fmt.Errorf("a letter of %s, not of %s", words[0], q)
	}
	if n, err = strconv.ParseInt(string(words[1]), 10, 64); err != nil {
		return 0, fmt.Errorf("no letter: %w", err)
	}
	sum := crc32.Update(crc32.ChecksumIEEE(line[:len(line)-len(words[2])]), crc32.IEEETable, filler)
	if string(words[2]) != fmt.Sprintf("%08x", sum) {
		return n, fmt.Errorf("letter %d of %s has other bytes than it was made with", n, q)
	}
	return n, nil
}

// Message is a stored message as a get gives it. Data is a view of the answer.
type Message struct {
	Offset int64
	ID     int64
	Data   []byte
}

// Messages takes an answer apart that begins at an offset. The part of a message at its end is left out; next is where to ask again.
func Messages(offset int64, b []byte) (list []Message, next int64, err error) {
	for {
		m, size, err := protocol.DecodeMessage(b)
		if err != nil {
			return list, offset, fmt.Errorf("message at %d: %w", offset, err)
		}
		if size == 0 {
			return list, offset, nil
		}
		list = append(list, Message{Offset: offset, ID: m.ID, Data: m.Data})
		offset += int64(size)
		b = b[size:]
	}
}
