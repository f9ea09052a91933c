package store

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/fault"
)

const (
	checkpointName = "checkpoint"
	checkpointPrev = "checkpoint.prev" // the one before, in case the last one is damaged
	checkpointMark = "MQCKP\x00\x00\x01"

	checkpointHeader = 25 // mark, checksum, position, clean, epoch
)

// checkpoint is everything that must be known to go on reading the log at pos. FORMAT.md draws it.
type checkpoint struct {
	pos      int64
	clean    bool // written by Close: the log ends at pos
	stored   bool // read from a file, not made up because there is none
	epoch    uint32
	bootID   string
	lastID   int64
	segments []int64 // bases of the segments before pos that are needed
	queues   []queueState
	offsets  map[string]int64
	hidden   map[int64]*hiddenGroup
	foreign  []foreignRef
}

type queueState struct {
	id        uint32
	partition int32
	flags     uint8
	topic     protocol.Topic
	end       int64
	messages  int64
	starts    []start
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decoder reads what a snapshot wrote. After the first error everything is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) uvarint() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > 1<<63-1 {
		d.bad = true
		return 0
	}
	d.take(n)
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.take(n)
	return v
}

// count is a number of things that take at least size bytes each: a damaged one must not make us allocate.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > int64(len(d.b)/size) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) string() string { return string(d.take(int(d.uvarint()))) }

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

// parseCheckpoint reads a checkpoint. name is for the error, a *CorruptError.
func parseCheckpoint(name string, b []byte, x salt) (*checkpoint, error) {
	if len(b) < checkpointHeader || string(b[:8]) != checkpointMark {
		return nil, &CorruptError{File: name, Reason: "not a checkpoint"}
	}
	if le.Uint32(b[8:]) != x.seal(crc32.Checksum(b[12:], castagnoli)) {
		return nil, &CorruptError{File: name, Offset: 8, Reason: "a checksum that does not match"}
	}
	d := &decoder{b: b[12:]}
	c := &checkpoint{stored: true, pos: int64(le.Uint64(d.take(8))), clean: d.byte() == 1, offsets: map[string]int64{}, hidden: map[int64]*hiddenGroup{}}
	c.epoch = le.Uint32(d.take(4))
	c.bootID = d.string()
	c.lastID = d.varint()
	for range d.count(1) {
		c.segments = append(c.segments, d.uvarint())
	}
	for range d.count(7) {
		q := queueState{id: uint32(d.uvarint()), partition: int32(d.uvarint()), flags: d.byte(), topic: protocol.Topic(d.string())}
		q.end, q.messages = d.uvarint(), d.uvarint()
		for range d.count(3) {
			q.starts = append(q.starts, start{offset: d.uvarint(), messages: d.uvarint(), time: d.uvarint()})
		}
		if len(q.starts) == 0 || int(q.id) != len(c.queues)+1 || q.partition < 0 || q.partition >= maxPartition {
			d.bad = true
		}
		if d.bad {
			break
		}
		c.queues = append(c.queues, q)
	}
	for range d.count(2) {
		key := d.string()
		c.offsets[key] = d.uvarint()
	}
	for range d.count(2) {
		id := d.varint()
		runs, _ := parsePublishedRuns(d.take(d.count(publishedRunSize) * publishedRunSize))
		c.hidden[id] = &hiddenGroup{runs: runs}
	}
	for range d.count(3) {
		c.foreign = append(c.foreign, foreignRef{pos: d.uvarint(), queue: uint32(d.uvarint()), end: d.uvarint()})
	}
	if d.bad || len(d.b) > 0 {
		return nil, &CorruptError{File: name, Offset: int64(len(b) - len(d.b)), Reason: "contents that make no sense"}
	}
	return c, nil
}

// writeCheckpoint replaces the checkpoint; the one before is kept, if it is sound.
func (s *Store) writeCheckpoint(data []byte) error {
	name := s.path(checkpointName)
	err := s.spending(func() error {
		return writeFileBy(s.fs, name, func(w io.WriterAt) error {
			_, err := w.WriteAt(data, 0)
			return err
		}, func() error {
			if !s.checkpointSound {
				return nil
			}
			// Between this and the next rename there is no checkpoint, and the one before is the last one.
			err := s.fs.Rename(name, s.path(checkpointPrev))
			fault.Point("checkpoint.kept")
			return err
		})
	})
	if err != nil {
		return err
	}
	s.checkpointSound = true
	fault.Point("checkpoint.written")
	// What lies before the checkpoint that is kept for the worst case may still be needed.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpointed, s.checkpointedNext = s.checkpointedNext, int64(le.Uint64(data[12:]))
	return nil
}

// readCheckpoint finds the newest sound checkpoint, nil if there never was one. prev says that it is not the last one.
func (s *Store) readCheckpoint() (c *checkpoint, prev bool, err error) {
	var first error
	for _, name := range []string{checkpointName, checkpointPrev} {
		b, err := s.fs.ReadFile(s.path(name))
		if isNotExist(err) {
			continue
		}
		if err == nil {
			c, err = parseCheckpoint(s.path(name), b, s.salt)
		}
		if err == nil {
			return c, first != nil || name == checkpointPrev, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, false, first
}
