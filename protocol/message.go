package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// RecordHeader is the size of what stands before the data of a stored message, in bytes: length 4, checksum 4, id 8, flag 4, big-endian
// (MessageUtils of Metamorphosis).
const RecordHeader = 20

// FlagAttribute is the bit of a flag that says that the data begin with an attribute.
const FlagAttribute = 1

// ErrChecksum is returned for a stored message whose data do not match their checksum.
var ErrChecksum = errors.New("protocol: the message does not match its checksum")

// ErrLength is returned for bytes that cannot begin a stored message: the length is a signed number of 32 bits, and this one is negative.
var ErrLength = errors.New("protocol: the length of the message is negative")

// Message is a stored message. Data is a view and includes the attribute.
type Message struct {
	ID   int64
	Flag int32
	Data []byte
}

// Checksum is the checksum of a message's data: CRC-32 (IEEE) with the top bit cleared.
func Checksum(data []byte) int32 { return int32(crc32.ChecksumIEEE(data) & 0x7fffffff) }

// AppendMessage appends a stored message.
func AppendMessage(dst []byte, id int64, flag int32, data []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(data)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(Checksum(data)))
	dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	dst = binary.BigEndian.AppendUint32(dst, uint32(flag))
	return append(dst, data...)
}

// MessageSize is the size of the stored message that begins b, its header included, or 0 if b is too short to tell.
func MessageSize(b []byte) int64 {
	if len(b) < 4 {
		return 0
	}
	return RecordHeader + int64(binary.BigEndian.Uint32(b))
}

// DecodeMessage reads the stored message that begins b. size is what it takes of b; 0 without an error says that b holds only a part of
// it. With ErrChecksum the size is set, so that a reader can go on behind the message; with ErrLength it is 0.
func DecodeMessage(b []byte) (m Message, size int, err error) {
	if len(b) > 0 && b[0] >= 0x80 {
		return Message{}, 0, ErrLength
	}
	if len(b) < RecordHeader || int64(len(b)) < MessageSize(b) {
		return Message{}, 0, nil
	}
	size = int(MessageSize(b))
	m = Message{ID: int64(binary.BigEndian.Uint64(b[8:])), Flag: int32(binary.BigEndian.Uint32(b[16:])), Data: b[RecordHeader:size:size]}
	if Checksum(m.Data) != int32(binary.BigEndian.Uint32(b[4:])) {
		return Message{}, size, ErrChecksum
	}
	return m, size, nil
}

// Attribute splits the data into attribute and payload, both views. Without FlagAttribute there is no attribute.
func (m Message) Attribute() (attribute, payload []byte, err error) {
	if m.Flag&FlagAttribute == 0 {
		return nil, m.Data, nil
	}
	if len(m.Data) < 4 || int64(binary.BigEndian.Uint32(m.Data)) > int64(len(m.Data)-4) {
		return nil, nil, fmt.Errorf("protocol: message %d has the flag of an attribute, but its %d bytes do not hold one", m.ID, len(m.Data))
	}
	n := 4 + int(binary.BigEndian.Uint32(m.Data))
	return m.Data[4:n], m.Data[n:], nil
}

// AppendAttribute appends the data of a message with an attribute, for a flag with FlagAttribute.
func AppendAttribute(dst []byte, attribute string, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(attribute)))
	dst = append(dst, attribute...)
	return append(dst, payload...)
}
