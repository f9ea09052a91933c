package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/metaq/metaq/store/fault"
)

// kind says what a frame does when it is applied. The numbers are on disk: append only.
type kind uint8

const (
	kindMessage kind = 1 // a run of stored records of one queue
	kindQueue   kind = 2 // a queue is made, or its state changes
	kindOffset  kind = 3 // a consumer group commits an offset
	kindTrim    kind = 4 // a queue's minimum moves up to the logical offset
	kindGap     kind = 5 // a queue goes on at the logical offset, in a new virtual segment
	kindHidden  kind = 6 // a run that nobody reads until its group is published
	kindPublish kind = 7 // a hidden group gets its offsets and becomes readable, all of it at once
	kindDiscard kind = 8 // a hidden group is dropped
	kindDrop    kind = 9 // the segment that begins at the logical position is not needed any more

	kindLost kind = 10 // takes the place of what was damaged, after a repair; the queues of what is lost go on behind it
)

func (k kind) String() string {
	switch k {
	case kindMessage:
		return "message"
	case kindQueue:
		return "queue"
	case kindOffset:
		return "offset"
	case kindTrim:
		return "trim"
	case kindGap:
		return "gap"
	case kindHidden:
		return "hidden"
	case kindPublish:
		return "publish"
	case kindDiscard:
		return "discard"
	case kindDrop:
		return "drop"
	case kindLost:
		return "lost"
	}
	return "unknown"
}

const (
	formatVersion = 1
	frameHeader   = 48
	frameAlign    = 8 // frames begin at multiples of this, so that a scan for survivors is quick
	maxRunCount   = 1<<16 - 1
	// maxRunBytes bounds a run of several records, so that finding a record inside a run stays cheap.
	// A single record may be larger.
	maxRunBytes = 64 << 10
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// header is the fixed beginning of a frame. FORMAT.md draws it.
type header struct {
	size    uint32 // header and body, without the padding
	crc     uint32 // CRC-32C of everything behind this field, salted
	kind    kind
	version uint8
	count   uint16 // records in the body
	epoch   uint32
	queue   uint32 // 0: none
	lag     uint32 // position - what was known to be flushed when the frame was written, in bytes, saturated
	pos     int64  // where the frame begins in the log: a frame found elsewhere is not one
	logical int64  // first logical offset of a run; see the kinds
	time    int64  // unix milliseconds

	place int64 // where it was found, as pos; it differs in a segment that is clustered
}

func align(n int64) int64 { return (n + frameAlign - 1) &^ (frameAlign - 1) }

// putHeader writes h over the first bytes of frame, which is header and body, and seals it with its checksum.
func putHeader(frame []byte, h header, x salt) {
	le.PutUint32(frame[0:], uint32(len(frame)))
	frame[8] = byte(h.kind)
	frame[9] = formatVersion
	le.PutUint16(frame[10:], h.count)
	le.PutUint32(frame[12:], h.epoch)
	le.PutUint32(frame[16:], h.queue)
	le.PutUint32(frame[20:], h.lag)
	le.PutUint64(frame[24:], uint64(h.pos))
	le.PutUint64(frame[32:], uint64(h.logical))
	le.PutUint64(frame[40:], uint64(h.time))
	le.PutUint32(frame[4:], frameCRC(frame, x))
}

func frameCRC(frame []byte, x salt) uint32 { return x.seal(crc32.Checksum(frame[8:], castagnoli)) }

func readHeader(b []byte) header {
	return header{
		size: le.Uint32(b), crc: le.Uint32(b[4:]), kind: kind(b[8]), version: b[9], count: le.Uint16(b[10:]),
		epoch: le.Uint32(b[12:]), queue: le.Uint32(b[16:]), lag: le.Uint32(b[20:]),
		pos: int64(le.Uint64(b[24:])), logical: int64(le.Uint64(b[32:])), time: int64(le.Uint64(b[40:])),
	}
}

// frameAt reads the frame that begins at position pos, where b is the log from pos on to the end of the segment.
// reason is "" if it is sound, "end" if there is none (size 0), else what is wrong with it. body is a view.
func frameAt(b []byte, pos int64, x salt) (h header, body []byte, reason string) {
	return frameOf(b, pos, pos, pos+1, x)
}

// frameOf is frameAt for a frame at place that may come from a position between from and to.
func frameOf(b []byte, place, from, to int64, x salt) (h header, body []byte, reason string) {
	if len(b) < 4 || le.Uint32(b) == 0 {
		if len(b) >= frameHeader && !allZero(b[:frameHeader]) {
			return h, nil, "a frame without a size"
		}
		return h, nil, "end"
	}
	if len(b) < frameHeader {
		return h, nil, "a header that goes beyond the segment"
	}
	h = readHeader(b)
	h.place = place
	switch {
	case h.size < frameHeader || int64(h.size) > int64(len(b)):
		return h, nil, "a frame size that goes beyond the segment"
	case h.pos < from || h.pos >= to:
		return h, nil, "a frame that belongs to another position"
	case h.crc != frameCRC(b[:h.size], x) && !fault.Mutant("accept_a_wrong_crc"):
		return h, nil, "a checksum that does not match"
	case h.version != formatVersion:
		return h, nil, "a format version that this program does not know"
	}
	return h, b[frameHeader:h.size], ""
}

func allZero(b []byte) bool {
	for len(b) > len(zeroPage) {
		if !bytes.Equal(b[:len(zeroPage)], zeroPage[:]) {
			return false
		}
		b = b[len(zeroPage):]
	}
	return bytes.Equal(b, zeroPage[:len(b)])
}

var zeroPage [4096]byte

// flushed is the position that was safe on disk when the frame was written. A bad place before it is damage, never a torn tail.
func (h header) flushed() int64 { return h.pos - int64(h.lag) }

func saturate32(n int64) uint32 {
	if n > 1<<32-1 {
		return 1<<32 - 1
	}
	return uint32(n)
}

// ---- bodies of the control frames

// queueBody: flags u8, partition u32, topic.
func appendQueueBody(dst []byte, flags uint8, partition int32, topic string) []byte {
	dst = append(dst, flags)
	dst = le.AppendUint32(dst, uint32(partition))
	return append(dst, topic...)
}

func parseQueueBody(b []byte) (flags uint8, partition int32, topic string, ok bool) {
	if len(b) < 6 {
		return 0, 0, "", false
	}
	return b[0], int32(le.Uint32(b[1:])), string(b[5:]), true
}

// offsetKey is the body of an offset frame and the key of the table of offsets: partition u32, topic length u8, topic, group.
func appendOffsetKey[T ~string | ~[]byte](dst []byte, topic, group T, partition int32) []byte {
	dst = le.AppendUint32(dst, uint32(partition))
	dst = append(dst, byte(len(topic)))
	dst = append(dst, topic...)
	return append(dst, group...)
}

func parseOffsetKey(key string) (topic, group string, partition int32, ok bool) {
	if len(key) < 5 || len(key) < 5+int(key[4]) {
		return "", "", 0, false
	}
	n := 5 + int(key[4])
	return key[5:n], key[n:], int32(le.Uint32([]byte(key[:4]))), true
}

// publishedRun is one run in the body of a publish frame.
type publishedRun struct {
	queue        uint32
	bytes, count uint32
	pos, logical int64 // of the records themselves, and the offset they got
}

const publishedRunSize = 28

func appendPublishedRun(dst []byte, r publishedRun) []byte {
	dst = le.AppendUint32(dst, r.queue)
	dst = le.AppendUint32(dst, r.bytes)
	dst = le.AppendUint32(dst, r.count)
	dst = le.AppendUint64(dst, uint64(r.pos))
	return le.AppendUint64(dst, uint64(r.logical))
}

func parsePublishedRuns(b []byte) ([]publishedRun, bool) {
	if len(b)%publishedRunSize != 0 {
		return nil, false
	}
	runs := make([]publishedRun, 0, len(b)/publishedRunSize)
	for ; len(b) > 0; b = b[publishedRunSize:] {
		runs = append(runs, publishedRun{
			queue: le.Uint32(b), bytes: le.Uint32(b[4:]), count: le.Uint32(b[8:]),
			pos: int64(le.Uint64(b[12:])), logical: int64(le.Uint64(b[20:])),
		})
	}
	return runs, true
}
