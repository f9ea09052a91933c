package disk

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/test/wire"
)

const (
	perPut     = 16
	letterSize = 1 << 10
	pace       = 10 * time.Millisecond // 1.6 MB/s a queue: the broker looks once a second how full the disk is
	readSize   = 512 << 10
)

// kept is a letter that the broker has acknowledged, and where.
type kept struct{ offset, n int64 }

// writer puts letters to a queue, whether the broker takes them or not.
type writer struct {
	queue wire.Queue
	n     int64
	kept  []kept
	err   error

	acked, refused atomic.Int64
	mu             sync.Mutex
	reason         string    // of the last refusal
	ackedAt        time.Time // when the last put was acknowledged
	slowest        time.Duration
}

func (w *writer) work(addr string, stop <-chan struct{}) {
	c, err := wire.Dial(addr)
	if err != nil {
		w.err = err
		return
	}
	defer c.Close()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if w.err = w.put(c); w.err != nil {
			return
		}
	}
}

func (w *writer) put(c *wire.Conn) error {
	var letters [][]byte
	for i := range perPut {
		letters = append(letters, wire.Letter(w.queue, w.n+int64(i), letterSize))
	}
	began := time.Now()
	receipts, err := c.Put(w.queue, letters...)
	if err != nil {
		return fmt.Errorf("put to %s: %w", w.queue, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slowest = max(w.slowest, time.Since(began))
	for _, r := range receipts {
		switch r.Code {
		case 200:
			w.kept = append(w.kept, kept{r.Offset, w.n})
			w.acked.Add(1)
			w.ackedAt = time.Now()
		case 503:
			w.refused.Add(1)
			w.reason = r.Text
		default:
			return fmt.Errorf("put to %s: %d %s", w.queue, r.Code, r.Text)
		}
		w.n++
	}
	return nil
}

func (w *writer) last() (reason string, ackedAt time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason, w.ackedAt
}

// reader reads its queue from the beginning to the end, again and again.
type reader struct {
	queue wire.Queue
	err   error
	gets  atomic.Int64 // that gave letters
}

func (r *reader) work(addr string, stop <-chan struct{}) {
	c, err := wire.Dial(addr)
	if err != nil {
		r.err = err
		return
	}
	defer c.Close()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for at := int64(0); ; {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		a, err := c.Get(r.queue, at, readSize)
		switch {
		case err != nil:
			r.err = fmt.Errorf("get from %s: %w", r.queue, err)
			return
		case a.Code == 404:
			at = 0
			continue
		case a.Code != 200:
			r.err = fmt.Errorf("get from %s at %d: %s", r.queue, at, a.Text())
			return
		}
		list, next, err := wire.Messages(at, a.Body)
		for _, m := range list {
			if _, openErr := wire.OpenLetter(r.queue, m.Data); openErr != nil {
				err = fmt.Errorf("at %d: %w", m.Offset, openErr)
			}
		}
		if err != nil {
			r.err = fmt.Errorf("get from %s: %w", r.queue, err)
			return
		}
		r.gets.Add(1)
		at = next
	}
}

// load is everybody who works on the broker.
type load struct {
	writers []*writer
	readers []*reader
	stop    chan struct{}
	all     sync.WaitGroup
}

func newLoad(queues []wire.Queue) *load {
	l := &load{}
	for _, q := range queues {
		l.writers, l.readers = append(l.writers, &writer{queue: q}), append(l.readers, &reader{queue: q})
	}
	return l
}

func (l *load) begin(addr string) {
	l.stop = make(chan struct{})
	for _, w := range l.writers {
		l.all.Go(func() { w.work(addr, l.stop) })
	}
	for _, r := range l.readers {
		l.all.Go(func() { r.work(addr, l.stop) })
	}
}

// end stops everybody. Nobody may have seen anything but 200 and 503, and gets that work.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.all.Wait()
	for _, w := range l.writers {
		if w.err != nil {
			t.Error(w.err)
		}
	}
	for _, r := range l.readers {
		if r.err != nil {
			t.Error(r.err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func (l *load) acked() (n int64) {
	for _, w := range l.writers {
		n += w.acked.Load()
	}
	return n
}

func (l *load) refused() (n int64) {
	for _, w := range l.writers {
		n += w.refused.Load()
	}
	return n
}

func (l *load) gets() (n int64) {
	for _, r := range l.readers {
		n += r.gets.Load()
	}
	return n
}

func (l *load) slowest() (d time.Duration) {
	for _, w := range l.writers {
		d = max(d, w.slowest)
	}
	return d
}

// judge reads all queues: they hold what was acknowledged, where it was, and nothing else. No connection has ended on the way, so every
// put has an answer, and one that was refused must not be there.
func (l *load) judge(t *testing.T, addr string) {
	t.Helper()
	c, err := wire.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, w := range l.writers {
		var stored []kept
		for at := int64(0); ; {
			a, err := c.Get(w.queue, at, readSize)
			if err != nil {
				t.Fatal(err)
			}
			if a.Code == 404 {
				break
			}
			if a.Code != 200 {
				t.Fatalf("final read of %s at %d: %s", w.queue, at, a.Text())
			}
			list, next, err := wire.Messages(at, a.Body)
			if err != nil || next == at {
				t.Fatalf("final read of %s at %d: %d messages, %v", w.queue, at, len(list), err)
			}
			for _, m := range list {
				n, err := wire.OpenLetter(w.queue, m.Data)
				if err != nil {
					t.Fatalf("%s at %d: %v", w.queue, m.Offset, err)
				}
				stored = append(stored, kept{m.Offset, n})
			}
			at = next
		}
		if !slices.Equal(stored, w.kept) {
			t.Errorf("%s: %d letters were acknowledged, %d are stored, and they are not the same", w.queue, len(w.kept), len(stored))
		}
	}
}
