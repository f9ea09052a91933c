package store

import (
	"math"
	"path/filepath"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// DumpOptions say what Dump shows. The zero value of a field shows everything.
type DumpOptions struct {
	FS         vfs.FS // default: the operating system
	Dir        string
	Topic      protocol.Topic
	Partitions []int32 // of the topic
	From, To   int64   // log positions; To is not included, 0 is the end
	Data       bool    // with the bytes of the messages
}

// DumpedFrame is a frame of the log, or a place where there is none.
type DumpedFrame struct {
	File     string    `json:"file"`
	Offset   int64     `json:"offset"`   // in the file
	Position int64     `json:"position"` // in the log
	Size     int64     `json:"size"`     // with header, without padding
	Kind     string    `json:"kind"`     // "damaged" for a place where there is no sound frame
	Damage   string    `json:"damage,omitempty"`
	Epoch    uint32    `json:"epoch,omitempty"`
	Flushed  int64     `json:"flushed"` // what was safe on disk when it was written
	Time     time.Time `json:"time,omitzero"`

	Queue     uint32         `json:"queue,omitempty"`
	Topic     protocol.Topic `json:"topic,omitempty"`
	Partition int32          `json:"partition"`
	Logical   int64          `json:"logical"` // its meaning depends on the kind, see FORMAT.md
	Closed    bool           `json:"closed,omitempty"`
	Group     string         `json:"group,omitempty"` // of an offset frame

	Messages []DumpedMessage `json:"messages,omitempty"`
	Runs     []DumpedRun     `json:"runs,omitempty"`
}

// DumpedMessage is a stored message.
type DumpedMessage struct {
	Offset  int64  `json:"offset"` // logical; -1 in a hidden frame
	ID      int64  `json:"id"`
	Flag    int32  `json:"flag"`
	Length  int    `json:"length"`
	Data    []byte `json:"data,omitempty"` // a view: valid during the call
	Damaged bool   `json:"damaged,omitempty"`
}

// DumpedRun is a queue in the body of a publish frame, or of a lost frame, which has only the offset.
type DumpedRun struct {
	Queue     uint32         `json:"queue"`
	Topic     protocol.Topic `json:"topic"`
	Partition int32          `json:"partition"`
	Logical   int64          `json:"logical"`
	Position  int64          `json:"position,omitempty"`
	Bytes     uint32         `json:"bytes,omitempty"`
	Messages  uint32         `json:"messages,omitempty"`
}

// Dump calls fn for each frame of the log in turn, and for each damaged place. In a segment that was rewritten in the order of its queues
// that is their order. It takes the directory's lock, and changes nothing.
// The first error of fn ends it.
func Dump(o DumpOptions, fn func(DumpedFrame) error) error {
	store := Options{FS: o.FS, Dir: o.Dir}
	setDefaults(&store)
	o.FS = store.FS
	if o.To == 0 {
		o.To = math.MaxInt64
	}
	unlock, err := lockOffline(o.FS, o.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	bases, _, err := segmentBases(o.FS, o.Dir)
	if err != nil {
		return err
	}
	d := &dumper{DumpOptions: o, fn: fn, names: map[uint32]queueName{}}
	d.salt, _ = countSalts(o.FS, o.Dir, bases).winner() // as it is, whatever the identity says
	d.readNames()
	for i, base := range bases {
		end := int64(math.MaxInt64)
		if i+1 < len(bases) {
			end = bases[i+1]
		}
		if end <= o.From || base >= o.To {
			continue
		}
		if err := d.segment(base, end); err != nil {
			return err
		}
	}
	return nil
}

type dumper struct {
	DumpOptions
	fn    func(DumpedFrame) error
	salt  salt
	names map[uint32]queueName
}

// readNames takes the names of the queues from a checkpoint, if one can be read. Those that were made later are in the log.
func (d *dumper) readNames() {
	for _, name := range []string{checkpointPrev, checkpointName} {
		b, err := d.FS.ReadFile(filepath.Join(d.Dir, name))
		if err != nil {
			continue
		}
		if c, err := parseCheckpoint(name, b, d.salt); err == nil {
			for _, q := range c.queues {
				d.names[q.id] = queueName{q.topic, q.partition}
			}
		}
	}
}

func (d *dumper) segment(base, end int64) error {
	g, err := openSegment(d.FS, d.Dir, base, d.salt)
	if err != nil {
		return err
	}
	defer g.close()
	g.findOrder(end)
	var failed error
	emit := func(f DumpedFrame) {
		if failed == nil && f.Position+f.Size > d.From && f.Position < d.To {
			failed = d.fn(f)
		}
	}
	walkFrames(g, end, func(h header, body []byte) {
		f := d.frame(g, h, body)
		if failed == nil && d.wants(f) {
			emit(f)
		}
	}, func(r region) {
		emit(DumpedFrame{File: g.name, Offset: r.from - g.base, Position: r.from, Size: r.to - r.from, Kind: "damaged", Damage: r.reason})
	})
	return failed
}

func (d *dumper) wants(f DumpedFrame) bool {
	if d.Topic == "" {
		return true
	}
	if d.wantsQueue(f.Topic, f.Partition) {
		return true
	}
	for _, r := range f.Runs {
		if d.wantsQueue(r.Topic, r.Partition) {
			return true
		}
	}
	return false
}

func (d *dumper) wantsQueue(topic protocol.Topic, partition int32) bool {
	if topic != d.Topic {
		return false
	}
	for _, p := range d.Partitions {
		if p == partition {
			return true
		}
	}
	return len(d.Partitions) == 0
}

func (d *dumper) frame(g *segment, h header, body []byte) DumpedFrame {
	f := DumpedFrame{File: g.name, Offset: h.place - g.base, Position: h.pos, Size: int64(h.size), Kind: h.kind.String(), Epoch: h.epoch,
		Flushed: h.flushed(), Time: time.UnixMilli(h.time).UTC(), Queue: h.queue, Logical: h.logical}
	switch h.kind {
	case kindMessage:
		f.Messages = d.messages(body, h.logical)
	case kindHidden:
		f.Messages = d.messages(body, -1)
	case kindQueue:
		if flags, partition, topic, ok := parseQueueBody(body); ok {
			f.Closed = flags&queueClosed != 0
			d.names[h.queue] = queueName{protocol.Topic(topic), partition}
		}
	case kindOffset:
		if topic, group, partition, ok := parseOffsetKey(string(body)); ok {
			f.Topic, f.Group, f.Partition = protocol.Topic(topic), group, partition
		}
	case kindPublish:
		list, _ := parsePublishedRuns(body)
		for _, r := range list {
			n := d.names[r.queue]
			f.Runs = append(f.Runs, DumpedRun{r.queue, n.topic, n.partition, r.logical, r.pos, r.bytes, r.count})
		}
	case kindLost:
		f.Queue, f.Logical = 0, 0 // they are the first of the list
		list, _ := parseLost(h, body)
		for _, q := range list {
			n := d.names[q.queue]
			f.Runs = append(f.Runs, DumpedRun{Queue: q.queue, Topic: n.topic, Partition: n.partition, Logical: q.logical})
		}
	}
	if n, ok := d.names[f.Queue]; ok {
		f.Topic, f.Partition = n.topic, n.partition
	}
	return f
}

// messages takes the records of a body apart. What is not a whole record ends it.
func (d *dumper) messages(body []byte, offset int64) []DumpedMessage {
	var list []DumpedMessage
	for len(body) > 0 {
		m, size, err := protocol.DecodeMessage(body)
		if size == 0 {
			return append(list, DumpedMessage{Offset: offset, Length: len(body), Damaged: true})
		}
		msg := DumpedMessage{Offset: offset, ID: m.ID, Flag: m.Flag, Length: size - protocol.RecordHeader, Damaged: err != nil}
		if d.Data {
			msg.Data = body[protocol.RecordHeader:size]
		}
		list = append(list, msg)
		if offset >= 0 {
			offset += int64(size)
		}
		body = body[size:]
	}
	return list
}
