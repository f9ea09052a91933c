package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// A spill directory has files for each partition with messages that wait for its broker:
//
//	TOPIC.B-P.NUMBER.spill   messages in order; the file with the highest number is written, the one with the lowest is sent from
//	TOPIC.B-P.refused        messages that a broker refused for good after they were accepted, as frames; ReadSpill reads them
//	lock                     held by the producer that uses the directory
//
// A consumer keeps messages whose handler failed in files that differ in the magic and in what their frames say, see recovery_store.go.
//
// A spill file begins with a header, and then come frames; numbers are big-endian:
//
//	 0        8                  16                 24
//	+--------+------------------+------------------+      +--------+-------------+------+------+
//	| magic  | next frame to    | end of what was  |  ... | length | CRC-32C of  | flag | data |
//	|        | be sent (offset) | flushed (offset) |      | of data| flag + data |      |      |
//	+--------+------------------+------------------+      +--------+-------------+------+------+
//	                                                       4 bytes  4             4
//
// The offsets in the header are written without a flush. After a power cut some messages may be sent again, and what is damaged counts as the torn end of the last
// write unless the header says that it was safe once.
const (
	spillMagic   = "MQSPILL1" // of a producer
	failedMagic  = "MQFAILD1" // of a consumer
	spillSent    = 8          // where the offsets are in the header
	spillFlushed = 16
	spillHeader  = 24
	frameHeader  = 12
	spillSuffix  = ".spill"
	refusedEnd   = ".refused"
	segmentBytes = 1 << 20 // a file takes no more messages from this size on
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	// ErrSpillFull is wrapped when a message can neither be sent nor be put on disk because as much waits there as may (WithOrdered).
	ErrSpillFull = errors.New("metaq: too much waits on disk for brokers that are away")
	errNotUsable = errors.New("metaq: the spill takes nothing more after an error of its disk; it does when it is opened again")
)

// spillDir is what the spills of a directory share.
type spillDir struct {
	dir   string
	magic string // of its files
	lock  *os.File
	max   int64
	used  atomic.Int64 // bytes of frames that wait or were refused
}

// spill is what waits on disk for one partition. It belongs to one goroutine.
type spill struct {
	dir      *spillDir
	name     string // TOPIC.B-P
	segments []*segment
	next     uint64 // number of the next segment
	broken   error
}

type segment struct {
	file   *os.File
	magic  string
	number uint64
	sent   int64 // offset of the first frame that waits
	size   int64
	dirty  bool // not all of it is flushed
}

// place names a partition of a topic in a spill directory.
type spillPlace struct {
	topic     protocol.Topic
	partition Partition
}

func (d *spillDir) newSpill(at spillPlace) *spill {
	return &spill{dir: d, name: string(at.topic) + "." + at.partition.String(), next: 1}
}

// openSpillDir locks a directory and finds what waits there, in files of one kind. What the end of a crash has torn off is cut.
func openSpillDir(dir, magic string, maxBytes int64) (*spillDir, map[spillPlace]*spill, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("metaq: spill: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, nil, fmt.Errorf("metaq: the spill directory %s cannot be locked; does another producer or consumer use it? %w", dir, err)
	}
	d := &spillDir{dir: dir, magic: magic, lock: lock, max: maxBytes}
	found := map[spillPlace]*spill{}
	if err := d.open(found); err != nil {
		for _, s := range found {
			s.close()
		}
		lock.Close()
		return nil, nil, err
	}
	return d, found, nil
}

func (d *spillDir) open(found map[spillPlace]*spill) error {
	names, err := filepath.Glob(filepath.Join(d.dir, "*"+spillSuffix))
	if err != nil {
		return fmt.Errorf("metaq: spill: %w", err)
	}
	for _, name := range names {
		at, number, err := parseSpillName(filepath.Base(name))
		if err != nil {
			return fmt.Errorf("metaq: spill %s: %w", d.dir, err)
		}
		s := found[at]
		if s == nil {
			s = d.newSpill(at)
			found[at] = s
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("metaq: spill: %w", err)
		}
		s.segments = append(s.segments, &segment{file: f, magic: d.magic, number: number})
	}
	refused, err := filepath.Glob(filepath.Join(d.dir, "*"+refusedEnd))
	if err != nil {
		return fmt.Errorf("metaq: spill: %w", err)
	}
	for _, name := range refused {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("metaq: spill: %w", err)
		}
		d.used.Add(info.Size())
	}
	for _, s := range found {
		slices.SortFunc(s.segments, func(a, b *segment) int { return int(int64(a.number) - int64(b.number)) })
		for i, g := range s.segments {
			if err := g.checkKind(); err != nil {
				return fmt.Errorf("metaq: spill %s: %w", g.file.Name(), err)
			}
			if err := g.open(i == len(s.segments)-1); err != nil {
				return g.damaged(err)
			}
			d.used.Add(g.size - g.sent)
			s.next = g.number + 1
		}
		s.drop()
	}
	return nil
}

// parseSpillName reads TOPIC.B-P.NUMBER.spill.
func parseSpillName(name string) (at spillPlace, number uint64, err error) {
	wrong := fmt.Errorf("%w: %q is no name of one, such as orders.0-3.00000001.spill", ErrNotSpill, name)
	words := strings.Split(strings.TrimSuffix(name, spillSuffix), ".")
	if len(words) < 3 {
		return at, 0, wrong
	}
	last := len(words) - 1
	var err1, err2, err3 error
	at.topic, err1 = protocol.ParseTopic(strings.Join(words[:last-1], "."))
	at.partition, err2 = zkcoord.ParsePartition(words[last-1])
	number, err3 = strconv.ParseUint(words[last], 10, 63)
	if err1 != nil || err2 != nil || err3 != nil {
		return at, 0, wrong
	}
	return at, number, nil
}

// damaged says of a segment that cannot be read what to do.
func (g *segment) damaged(err error) error {
	if g.magic == failedMagic {
		return fmt.Errorf("metaq: recovery %s: %w: close the consumer, move this file away, open the consumer again; the messages in it are in the log of their broker, as long as that keeps them",
			g.file.Name(), err)
	}
	return fmt.Errorf("metaq: spill %s: %w: close the producer, move this file away, open the producer again; 'metaq spill' prints and sends what can be read of it",
		g.file.Name(), err)
}

// ErrNotSpill is wrapped when a file is none of a producer's spill directory.
var ErrNotSpill = errors.New("no spill file")

// What a file says that is of the other kind.
var (
	errOfConsumer = fmt.Errorf("%w: these are messages whose handler failed and which their consumer tries again (client.WithRecovery), not what a producer has put on its disk; "+
		"those that it has given up are lines of %s", ErrNotSpill, rejectedName)
	errOfVersion  = errors.New("another version of MetaQ has made it, and this one cannot read it: use that version, or a newer one")
	errOfProducer = errors.New("this is what a producer has put on its disk (client.WithOrdered), not what a consumer keeps: each needs a directory of its own")
)

// checkKind says what a segment is if it is of the other kind, or of another version of the format: the last byte of a magic counts those.
func (g *segment) checkKind() error {
	var magic [len(spillMagic)]byte
	if _, err := g.file.ReadAt(magic[:], 0); err != nil {
		return nil // it was being made, or is damaged
	}
	switch m := string(magic[:]); {
	case m == failedMagic && g.magic == spillMagic:
		return errOfConsumer
	case m == spillMagic && g.magic == failedMagic:
		return errOfProducer
	case m != g.magic && m[:len(m)-1] == g.magic[:len(m)-1]:
		return errOfVersion
	}
	return nil
}

// open reads a segment through. Only the last one of a partition may have a torn end, which is cut: nothing of it was ever accepted.
func (g *segment) open(last bool) error {
	info, err := g.file.Stat()
	if err != nil {
		return err
	}
	var header [spillHeader]byte
	if _, err := g.file.ReadAt(header[:], 0); err != nil || string(header[:len(g.magic)]) != g.magic {
		if !last || info.Size() > spillHeader {
			return errors.New("the header is damaged")
		}
		g.sent, g.size = spillHeader, spillHeader // it was being made
		return g.writeHeader()
	}
	sent := int64(binary.BigEndian.Uint64(header[spillSent:]))
	flushed := int64(binary.BigEndian.Uint64(header[spillFlushed:]))
	g.sent, g.size = spillHeader, spillHeader
	for g.size < max(info.Size(), flushed) {
		_, _, n, err := g.read(g.size, info.Size())
		if err != nil {
			if !last || g.size < flushed {
				return err
			}
			return g.file.Truncate(g.size)
		}
		g.size += n
		if g.size == sent {
			g.sent = sent
		}
	}
	return nil
}

func (g *segment) writeHeader() error {
	header := binary.BigEndian.AppendUint64([]byte(g.magic), uint64(g.sent))
	_, err := g.file.WriteAt(binary.BigEndian.AppendUint64(header, uint64(g.size)), 0)
	return err
}

// read reads the frame at an offset of a file with so many bytes, and tells its length.
func (g *segment) read(at, end int64) (flag int32, data []byte, n int64, err error) {
	return readFrame(g.file, at, end)
}

func readFrame(file io.ReaderAt, at, end int64) (flag int32, data []byte, n int64, err error) {
	damaged := fmt.Errorf("damaged at byte %d", at)
	var h [frameHeader]byte
	if end-at < frameHeader {
		return 0, nil, 0, damaged
	}
	if _, err := file.ReadAt(h[:], at); err != nil {
		return 0, nil, 0, err
	}
	length := int64(binary.BigEndian.Uint32(h[:]))
	if end-at-frameHeader < length {
		return 0, nil, 0, damaged
	}
	data = make([]byte, length)
	if _, err := file.ReadAt(data, at+frameHeader); err != nil {
		return 0, nil, 0, err
	}
	if sum := crc32.Update(crc32.Checksum(h[8:], castagnoli), castagnoli, data); sum != binary.BigEndian.Uint32(h[4:]) {
		return 0, nil, 0, damaged
	}
	return int32(binary.BigEndian.Uint32(h[8:])), data, frameHeader + length, nil
}

func appendFrame(dst []byte, flag int32, data []byte) []byte {
	begin := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(data)))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(flag))
	dst = append(dst, data...)
	binary.BigEndian.PutUint32(dst[begin+4:], crc32.Checksum(dst[begin+8:], castagnoli))
	return dst
}

func (s *spill) empty() bool { return len(s.segments) == 0 }

// add puts messages on disk, in order, and returns when they are safe there: all up to the first that does not fit. n tells how many.
func (s *spill) add(list []*sending) (n int, err error) {
	var frames []byte
	for _, m := range list {
		used := s.dir.used.Load() + int64(len(frames)+frameHeader+len(m.data))
		if used > s.dir.max {
			err = fmt.Errorf("%w: %d bytes in %s, with what was refused, the limit is %d", ErrSpillFull, s.dir.used.Load()+int64(len(frames)), s.dir.dir, s.dir.max)
			break
		}
		frames = appendFrame(frames, m.flag, m.data)
		n++
	}
	if n == 0 {
		return 0, err
	}
	if _, _, failed := s.write(frames, true); failed != nil {
		return 0, fmt.Errorf("metaq: spill %s: %w", s.name, failed)
	}
	s.dir.used.Add(int64(len(frames)))
	return n, err
}

// write appends frames and tells where they lie.
func (s *spill) write(frames []byte, flush bool) (g *segment, at int64, err error) {
	if s.broken != nil {
		return nil, 0, s.broken
	}
	if s.empty() || s.segments[len(s.segments)-1].size >= segmentBytes {
		if !s.empty() {
			if err := s.flush(); err != nil { // only the last segment may have a torn end
				return nil, 0, err
			}
		}
		g, err := s.create()
		if err != nil {
			return nil, 0, err
		}
		s.segments = append(s.segments, g)
	}
	g = s.segments[len(s.segments)-1]
	at = g.size
	if _, err := g.file.WriteAt(frames, at); err != nil {
		if cut := g.file.Truncate(at); cut != nil {
			s.broken = errNotUsable
		}
		return nil, 0, err
	}
	g.dirty = true
	if flush {
		if err := s.flush(); err != nil {
			return nil, 0, err
		}
	}
	g.size += int64(len(frames))
	if flush {
		g.noteFlushed()
	}
	return g, at, nil
}

// flush makes the last segment safe.
func (s *spill) flush() error {
	g := s.segments[len(s.segments)-1]
	if !g.dirty {
		return nil
	}
	if err := g.file.Sync(); err != nil {
		s.broken = errNotUsable // whether it is on disk is not known any more, and a later flush would not tell
		return err
	}
	g.dirty = false
	g.noteFlushed()
	return nil
}

// noteFlushed writes into the header that everything up to the end was flushed. An error costs no more than that damage of it passes for a torn end.
func (g *segment) noteFlushed() {
	_, _ = g.file.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(g.size)), spillFlushed)
}

func (s *spill) create() (*segment, error) {
	name := filepath.Join(s.dir.dir, fmt.Sprintf("%s.%08d%s", s.name, s.next, spillSuffix))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	g := &segment{file: f, magic: s.dir.magic, number: s.next, sent: spillHeader, size: spillHeader}
	if err := g.writeHeader(); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	if err := syncDir(s.dir.dir); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	s.next++
	return g, nil
}

// head is the oldest message that waits.
func (s *spill) head() (flag int32, data []byte, err error) {
	g := s.segments[0]
	flag, data, _, err = g.read(g.sent, g.size)
	if err != nil {
		err = g.damaged(err)
	}
	return flag, data, err
}

// advance takes the oldest message away.
func (s *spill) advance(dataBytes int) {
	g := s.segments[0]
	n := int64(frameHeader + dataBytes)
	g.sent += n
	s.dir.used.Add(-n)
	// An error costs no more than that a message is sent again after a restart.
	_, _ = g.file.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(g.sent)), spillSent)
	s.drop()
}

// drop removes segments of which nothing waits.
func (s *spill) drop() {
	for !s.empty() && s.segments[0].sent >= s.segments[0].size {
		g := s.segments[0]
		s.segments = s.segments[1:]
		g.file.Close()
		_ = os.Remove(g.file.Name()) // if it stays, it is found to be done with at the next start
	}
}

// refuse keeps the oldest message, which no broker will ever take, apart from those that wait.
func (s *spill) refuse(flag int32, data []byte) error {
	f, err := os.OpenFile(filepath.Join(s.dir.dir, s.name+refusedEnd), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	frame := appendFrame(nil, flag, data)
	_, err = f.Write(frame)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	s.dir.used.Add(int64(len(frame)))
	s.advance(len(data))
	return nil
}

func (s *spill) close() {
	for _, g := range s.segments {
		g.file.Close()
	}
	s.segments = nil
}
