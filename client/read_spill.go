package client

import (
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaq/metaq/protocol"
)

// ReadSpill reads the messages in a file of a spill directory (WithOrdered), the oldest first: TOPIC.B-P.NUMBER.spill holds what waits for a broker, and
// TOPIC.B-P.refused what a broker has refused for good. Messages have the Topic and the Partition that the name of the file tells. Where the file is damaged there is an
// error that says so, and then come the messages behind it that are whole; whoever does not want those stops.
//
// The file is not changed. That of a producer that runs may be read; what is sent meanwhile may come or not.
func ReadSpill(name string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if err := readSpill(name, yield); err != nil {
			yield(Message{}, fmt.Errorf("metaq: spill %s: %w", name, err))
		}
	}
}

// readSpill returns an error that ends it.
func readSpill(name string, yield func(Message, error) bool) error {
	base := filepath.Base(name)
	place, waits := base, strings.HasSuffix(base, spillSuffix)
	if refused, ok := strings.CutSuffix(base, refusedEnd); ok {
		place = refused + ".0" + spillSuffix
	}
	at, _, err := parseSpillName(place)
	if err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	begin, end := int64(0), info.Size()
	if waits {
		if err := (&segment{file: f, magic: spillMagic}).checkKind(); err != nil {
			return err
		}
		begin = spillHeader
		var header [spillHeader]byte
		if _, err := f.ReadAt(header[:], 0); err != nil || string(header[:len(spillMagic)]) != spillMagic {
			if !yield(Message{}, fmt.Errorf("metaq: spill %s: the header is damaged", name)) {
				return nil
			}
		} else if sent := int64(binary.BigEndian.Uint64(header[spillSent:])); sent > begin {
			begin = sent
		}
	}
	damaged := false
	for begin < end {
		flag, data, n, err := readFrame(f, begin, end)
		switch {
		case err == nil:
			damaged = false
			if !yield(spilledMessage(at, flag, data), nil) {
				return nil
			}
			begin += n
		case !damaged:
			damaged = true
			if !yield(Message{}, fmt.Errorf("metaq: spill %s: %w", name, err)) {
				return nil
			}
			begin++
		default:
			begin++ // until a frame is whole
		}
	}
	return nil
}

func spilledMessage(at spillPlace, flag int32, data []byte) Message {
	m := Message{Topic: string(at.topic), Partition: AtBroker(at.partition.Broker, at.partition.Number), Body: data}
	stored := protocol.Message{Flag: flag, Data: data}
	if attribute, body, err := stored.Attribute(); err == nil {
		m.Attribute, m.Body = string(attribute), body
	}
	return m
}
