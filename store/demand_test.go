package store

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// coldMapping is a mapping whose pages come into memory only when they are asked for. It counts the calls.
type coldMapping struct {
	vfs.Mapping
	mu                           sync.Mutex
	pages                        map[int64]bool
	cached, small, large, waited int       // calls
	read                         int64     // bytes from the disk
	reading                      chan bool // if not nil, each Load waits until somebody sends, or closes it
}

const coldPage = 4096

// each visits the pages of a range, as one call that count counts.
func (m *coldMapping) each(offset, length int64, count *int, visit func(page int64)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := offset / coldPage; p*coldPage < offset+length; p++ {
		visit(p)
	}
	*count++
}

func (m *coldMapping) bring(p int64) {
	if !m.pages[p] {
		m.pages[p] = true
		m.read += coldPage
	}
}

func (m *coldMapping) Cached(offset, length int64) (n int64) {
	m.each(offset, length, &m.cached, func(p int64) {
		if m.pages[p] {
			n += coldPage
		}
	})
	return min(n, length)
}

func (m *coldMapping) Prefetch(offset, length int64) { m.each(offset, length, &m.small, m.bring) }

func (m *coldMapping) Advise(offset, length int64) { m.each(offset, length, &m.waited, m.bring) }

func (m *coldMapping) Load(offset, length int64) {
	if m.reading != nil {
		<-m.reading
	}
	m.each(offset, length, &m.large, m.bring)
}

func (m *coldMapping) evict() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pages = map[int64]bool{}
}

func newColdDemand(size int64) (*demand, *coldMapping) {
	m := &coldMapping{pages: map[int64]bool{}}
	return newDemand(m, size), m
}

// get is what a read does with its pieces.
func (d *demand) get(queue uint32, list ...piece) { d.finish(list, d.begin(queue, list, nil)) }

const (
	demandFile  = 64 << 20
	demandEvery = 1 << 20 // a message of each queue, of a page
)

// scattered are the messages of a queue in a file in which the queues are mixed.
func scattered(queue uint32) (list []piece) {
	for at := int64(queue) * coldPage; at < demandFile; at += demandEvery {
		list = append(list, piece{at, at + coldPage})
	}
	return list
}

func TestDemand_OneQueueAloneReadsItsPagesOnly(t *testing.T) {
	d, m := newColdDemand(demandFile)
	list := scattered(7)
	for n := range list {
		d.get(7, list[n])
	}
	if want := int64(len(list)) * coldPage; m.read != want || m.large != 0 {
		t.Errorf("%d bytes read, %d blocks; want %d bytes and no block", m.read, m.large, want)
	}
}

func TestDemand_AllQueuesReadEachBlockOnce(t *testing.T) {
	d, m := newColdDemand(demandFile)
	queues := demandEvery / coldPage
	for q := range queues {
		d.get(uint32(q), scattered(uint32(q))...)
	}
	if m.read != demandFile || m.large != demandFile/loadBlock {
		t.Errorf("%d bytes read, %d blocks; want %d and %d", m.read, m.large, demandFile, demandFile/loadBlock)
	}
	messages := queues * demandFile / demandEvery
	if calls := m.cached + m.small + m.waited + m.large; calls > messages/20 {
		t.Errorf("%d calls for %d messages, want one for 20 at most", calls, messages)
	}
}

func TestDemand_AReaderOfLargePiecesGetsBlocks(t *testing.T) {
	d, m := newColdDemand(demandFile)
	const answer = 1 << 20
	for at := int64(0); at < 16<<20; at += answer {
		d.get(1, piece{at, at + answer})
	}
	if m.large != 16<<20/loadBlock || m.small != 0 || m.read != 16<<20 {
		t.Errorf("%d blocks, %d small reads, %d bytes; want 8 blocks, 16 MiB and nothing else", m.large, m.small, m.read)
	}
}

// Blocks are worth what small reads have cost, and no more: when memory is short and each block is dropped before the next reader comes, the disk
// reads them once for each time they were paid for.
func TestDemand_BlocksThatDoNotStayArePaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, m := newColdDemand(demandFile)
		asked, mixed := int64(0), demandEvery/coldPage
		for n := range mixed {
			for _, p := range scattered(uint32(n)) {
				d.get(uint32(n), p)
				asked += p.to - p.from + readGap
				m.evict()
			}
			time.Sleep(2 * loadedFor)
		}
		if most := (sharedWeight + 1) * asked; m.read > most || m.large == 0 || m.small == 0 {
			t.Errorf("%d bytes read, in %d blocks and %d small reads; want both, and %d bytes at most", m.read, m.large, m.small, most)
		}
	})
}

// Who comes to a block that is being read waits for it instead of reading it as well.
func TestDemand_ManyReadersOfABlockReadItOnce(t *testing.T) {
	d, m := newColdDemand(demandFile)
	m.reading = make(chan bool)
	var begun, readers sync.WaitGroup
	begun.Add(8)
	for q := range 8 {
		readers.Go(func() {
			begun.Done()
			d.get(uint32(q), piece{0, 1 << 20})
			if m.Cached(0, 1<<20) < 1<<20 {
				t.Error("a reader goes on before the block is there")
			}
		})
	}
	begun.Wait()
	m.reading <- true
	close(m.reading) // a second read ends at once, and is counted
	readers.Wait()
	if m.large != 1 {
		t.Errorf("%d reads, want 1", m.large)
	}
}

// A block that was there a moment ago is not looked at, and later it is.
func TestDemand_LooksAgainAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, m := newColdDemand(demandFile)
		for _, c := range []struct {
			when        string
			before      func()
			looks, read int
		}{
			{"at first", func() {}, 1, 1},
			{"at once", func() {}, 0, 0},
			{"a moment before the time", func() { time.Sleep(loadedFor - time.Second) }, 0, 0},
			{"after the time", func() { time.Sleep(2 * loadedFor) }, 1, 0},
			{"after the time, without the block", func() { m.evict(); time.Sleep(2 * loadedFor) }, 1, 1},
		} {
			c.before()
			looked, read := m.cached, m.large
			d.get(9, piece{1 << 20, 2 << 20})
			if m.cached-looked != c.looks || m.large-read != c.read {
				t.Errorf("%s: %d looks and %d reads, want %d and %d", c.when, m.cached-looked, m.large-read, c.looks, c.read)
			}
		}
	})
}

// coldFS is a disk whose files are in memory only as far as they were asked for.
type coldFS struct {
	vfs.FS
	mu   sync.Mutex
	maps map[string]*coldMapping
}

type coldFile struct {
	vfs.File
	fs   *coldFS
	name string
}

func (f *coldFS) OpenRead(name string) (vfs.File, error) {
	file, err := f.FS.OpenRead(name)
	return &coldFile{file, f, name}, err
}

func (f *coldFile) Map(length int64) (vfs.Mapping, error) {
	m, err := f.File.Map(length)
	if err != nil {
		return nil, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	c := &coldMapping{Mapping: m, pages: map[int64]bool{}}
	f.fs.maps[f.name] = c
	return c, nil
}

// of is the sum over all mapped files of a kind.
func (f *coldFS) of(suffix string, sum func(*coldMapping) int) (n int) {
	for name, m := range f.maps {
		if strings.HasSuffix(name, suffix) {
			n += sum(m)
		}
	}
	return n
}

// A log of many queues, of which nothing is in memory: one queue alone costs little more than its pages, all together each file once, with few calls.
func TestRead_AColdLogOfManyQueues(t *testing.T) {
	const (
		queues  = 256
		rounds  = 200
		message = 1000
	)
	mem := vfs.NewMem()
	options := testOptions(mem, groupCommit)
	options.LogSegmentSize = 16 << 20
	s := mustOpen(t, options)
	list := make([]*Queue, queues)
	for i := range list {
		list[i] = mustQueue(t, s, "t", int32(i))
	}
	content := func(queue, n int) string { return fmt.Sprintf("%*d", message, queue*rounds+n) }
	for n := range rounds {
		var b Batch
		for i, q := range list { // a run each
			b.Add(q, 0, []byte(content(i, n)))
		}
		if _, err := s.Append(&b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bytes := func(m *coldMapping) int { return int(m.read) }
	calls := func(m *coldMapping) int { return m.cached + m.small + m.waited + m.large }
	open := func(t *testing.T) (*Store, *coldFS) {
		cold := &coldFS{FS: mem, maps: map[string]*coldMapping{}}
		options.FS, options.ReadOnly = cold, true
		return mustOpen(t, options), cold
	}
	drain := func(t *testing.T, s *Store, queue int) {
		t.Helper()
		got := bodies(t, s.Queue([]byte("t"), int32(queue)), 0)
		if len(got) != rounds {
			t.Fatalf("%d messages of queue %d, want %d", len(got), queue, rounds)
		}
		for n, text := range got {
			if text != content(queue, n) {
				t.Fatalf("message %d of queue %d is %.20q", n, queue, text)
			}
		}
	}
	t.Run("one", func(t *testing.T) {
		s, cold := open(t)
		drain(t, s, 100)
		if got, most := cold.of(".log", bytes), 2*coldPage*rounds+8*firstRead; got > most {
			t.Errorf("%d bytes of the log are read for %d messages on a page each, want %d at most", got, rounds, most)
		}
	})
	t.Run("all", func(t *testing.T) {
		s, cold := open(t)
		for i := range queues {
			drain(t, s, i)
		}
		if got := cold.of(".log", calls) + cold.of(".idx", calls); got > queues*rounds/4 {
			t.Errorf("%d calls for %d messages, want one for 4 at most", got, queues*rounds)
		}
	})
}
