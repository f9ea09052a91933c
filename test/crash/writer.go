package crash

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/wire"
)

// How hard a writer works: so many puts without an answer, and a burst of them so often.
const (
	window     = 48
	burst      = 8
	burstEvery = 2 * time.Millisecond
)

// writer sends numbered messages to one partition, over a new connection for each life of the broker.
type writer struct {
	run    *history.Run
	number int
	queue  queue
	next   int64 // what is below was sent, once
}

func (w *writer) event(kind string, n int64) history.Event {
	return history.Event{Proc: fmt.Sprintf("w%d", w.number), Type: kind, F: history.Put, Topic: w.queue.Topic, Part: w.queue.Partition,
		ID: number{w.number, n}.id(), Level: w.queue.level, Attempt: 1}
}

// work sends until the connection ends, which the fault does.
func (w *writer) work(addr string) {
	conn, err := wire.Dial(addr)
	if err != nil {
		return // the fault came first: nothing was sent
	}
	free := make(chan struct{}, window)
	over := make(chan struct{})
	first := w.next
	done := make(chan int64)
	go func() { done <- w.send(conn, first, free, over) }()
	open := w.listen(conn, free)
	conn.Close()
	close(over)
	w.next = <-done
	for n := first; n < w.next; n++ {
		if !open[n] {
			e := w.event(history.Info, n)
			e.Err = "the connection ended"
			w.run.Add(e)
		}
	}
}

// send puts messages from number n on until the connection fails, and returns the first number that was not sent.
func (w *writer) send(conn *wire.Conn, n int64, free chan<- struct{}, over <-chan struct{}) int64 {
	tick := time.NewTicker(burstEvery)
	defer tick.Stop()
	var buf []byte
	for {
		buf = buf[:0]
		for range burst {
			select {
			case free <- struct{}{}:
			case <-over:
				return n
			}
			body := number{w.number, n}.body()
			e := w.event(history.Invoke, n)
			e.Len, e.CRC = len(body), sumOf(body)
			w.run.Add(e)
			buf = fmt.Appendf(buf, "put %s %d %d 0 %d\r\n", w.queue.Topic, w.queue.Partition, len(body), opaqueOf(n))
			buf = append(buf, body...)
			n++
		}
		// A write that fails may have sent any part of it: all of it counts as sent.
		if _, err := conn.Net.Write(buf); err != nil {
			return n
		}
		select {
		case <-tick.C:
		case <-over:
			return n
		}
	}
}

func sumOf(b []byte) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(b)) }

func opaqueOf(n int64) int64 { return n % (1 << 30) }

// listen notes what is answered until the connection ends, and returns which numbers were.
func (w *writer) listen(conn *wire.Conn, free <-chan struct{}) map[int64]bool {
	answered := map[int64]bool{}
	base := w.next
	for {
		a, err := conn.Read()
		if err != nil {
			return answered
		}
		<-free
		// The window is far smaller than the range of opaques: the distance from the first number of this
		// connection is unambiguous.
		n := base + (a.Opaque-opaqueOf(base)+1<<30)%(1<<30)
		answered[n] = true
		w.run.Add(w.outcome(n, a))
	}
}

// uncertain is in the text of a 503 that does not say whether the message is stored.
const uncertain = "a restart of the broker tells whether this is stored"

// outcome is the event of an answer. Only 503 says that nothing was stored, if it does not say otherwise.
func (w *writer) outcome(n int64, a wire.Answer) history.Event {
	e := w.event(history.Info, n)
	e.Status, e.Err = a.Code, string(a.Body)
	if a.Code == 503 && !strings.Contains(e.Err, uncertain) {
		e.Type = history.Fail
	}
	if a.Code != 200 {
		return e
	}
	words := strings.Fields(e.Err)
	if len(words) != 3 || words[1] != strconv.Itoa(w.queue.Partition) {
		return e
	}
	id, err1 := strconv.ParseInt(words[0], 10, 64)
	offset, err2 := strconv.ParseInt(words[2], 10, 64)
	if err1 == nil && err2 == nil {
		e.Type, e.MID, e.Off, e.Err = history.OK, id, offset, ""
	}
	return e
}
