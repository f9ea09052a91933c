package faults

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/wire"
)

// shelf is a running broker with letters in it, and where each of them lies.
type shelf struct {
	broker *process.Broker
	boxes  []*box
}

// box is a queue of letters.
type box struct {
	queue   wire.Queue
	offsets []int64 // of letter n
	sizes   []int   // that the letters were made with
	end     int64
}

// Sizes of letters: most are small, some are larger than what is copied on its way to the socket.
const (
	smallLetter = 2 << 10
	largeLetter = 60 << 10
	largeEvery  = 20
	perPut      = 50
)

// awaitBound is how long something may take that has to come.
const awaitBound = 60 * time.Second

// newShelf starts a broker and fills it until its log has so many sealed segments.
func newShelf(t *testing.T, config string, sealed int) *shelf {
	t.Helper()
	s := &shelf{broker: process.Start(t, process.Options{Config: config})}
	for _, topic := range []string{"flushed", "written"} {
		s.boxes = append(s.boxes, &box{queue: wire.Queue{Topic: topic}})
	}
	for len(s.files(t, "log/*.idx")) < sealed {
		for _, b := range s.boxes {
			if refused := b.put(t, s.broker.Addr); refused != "" {
				t.Fatalf("put to %s: %s", b.queue, refused)
			}
		}
	}
	return s
}

// put adds letters, and tells what the first refused one was answered.
func (b *box) put(t *testing.T, addr string) (refused string) {
	t.Helper()
	c, err := wire.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var letters [][]byte
	first := len(b.sizes)
	for n := first; n < first+perPut; n++ {
		size := smallLetter
		if n%largeEvery == 0 {
			size = largeLetter
		}
		b.sizes = append(b.sizes, size)
		letters = append(letters, wire.Letter(b.queue, int64(n), size))
	}
	receipts, err := c.Put(b.queue, letters...)
	if err != nil {
		t.Fatalf("put to %s: %v", b.queue, err)
	}
	for i, r := range receipts {
		if r.Code != 200 {
			// Whether it is stored is not known: it is not asked for, and may not be in the way.
			b.sizes = b.sizes[:first+i]
			return r.Text
		}
		b.offsets = append(b.offsets, r.Offset)
		b.end = r.Offset + recordHeader + int64(len(letters[i]))
	}
	return ""
}

// recordHeader is what the broker stores before the data of a message, in bytes.
const recordHeader = 20

// files are the files of the data directory that a pattern names, sorted, as paths.
func (s *shelf) files(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(s.broker.Data, pattern))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// cut makes a file shorter, as somebody else would.
func cut(t *testing.T, name string, to int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() <= to {
		t.Fatalf("%s has %d bytes and cannot be cut to %d", name, info.Size(), to)
	}
	if err := os.Truncate(name, to); err != nil {
		t.Fatal(err)
	}
}

func sizeOf(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// readTally is what was found by reading all letters in one way.
type readTally struct{ sound, refused int }

// readAll asks for each letter of a box, at most size bytes at a time. Each answer must be sound letters, the right ones, or say that they are
// damaged; the connection must stand.
func (b *box) readAll(t *testing.T, addr string, size int) (found readTally) {
	t.Helper()
	c, err := wire.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := 0; n < len(b.offsets); {
		a, err := c.Get(b.queue, b.offsets[n], size)
		if err != nil {
			t.Fatalf("get of %s at %d, letter %d: %v", b.queue, b.offsets[n], n, err)
		}
		if a.Code == 500 {
			found.refused++
			n++
			continue
		}
		if a.Code != 200 {
			t.Fatalf("get of %s at %d, letter %d: %s", b.queue, b.offsets[n], n, a.Text())
		}
		list, _, err := wire.Messages(b.offsets[n], a.Body)
		if err != nil || len(list) == 0 {
			t.Fatalf("get of %s at %d, letter %d of size %d: %d messages in %d bytes, %v", b.queue, b.offsets[n], n, b.sizes[n], len(list), len(a.Body), err)
		}
		for _, m := range list {
			if n == len(b.offsets) {
				break // what was refused and is stored all the same
			}
			got, err := wire.OpenLetter(b.queue, m.Data)
			if err != nil || got != int64(n) || m.Offset != b.offsets[n] {
				t.Fatalf("%s serves letter %d at %d where letter %d was put at %d: %v", b.queue, got, m.Offset, n, b.offsets[n], err)
			}
			found.sound++
			n++
		}
	}
	return found
}

// readEverything reads all boxes in small and in large pieces, and returns what part of the letters was refused.
func (s *shelf) readEverything(t *testing.T) (refused float64) {
	t.Helper()
	all := 0
	var sum readTally
	for _, b := range s.boxes {
		for _, size := range []int{largeLetter + 4096, 1 << 20} {
			found := b.readAll(t, s.broker.Addr, size)
			sum.sound, sum.refused = sum.sound+found.sound, sum.refused+found.refused
			all += len(b.offsets)
		}
	}
	if sum.sound+sum.refused != all {
		t.Fatalf("%d letters served and %d refused of %d", sum.sound, sum.refused, all)
	}
	return float64(sum.refused) / float64(all)
}

// stands sees that the broker is there and that no command has panicked.
func (s *shelf) stands(t *testing.T) {
	t.Helper()
	if ended, err := s.broker.Ended(t, 0); ended {
		t.Fatalf("the broker has ended: %v", err)
	}
	if n := s.broker.Metric(t, "metaq_panics_total"); n != 0 {
		t.Errorf("%v commands panicked", n)
	}
}

// await waits for something, with a bound.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	wait.Until(t, 5*time.Millisecond, awaitBound, what, is)
}
