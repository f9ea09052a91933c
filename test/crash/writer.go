package crash

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// How hard a writer works: so many puts without an answer, and a burst of them so often.
const (
	window     = 48
	burst      = 16
	burstEvery = 2 * time.Millisecond
)

// receipt is an acknowledged message: the promise of the broker.
type receipt struct {
	n      int64
	id     int64
	offset int64
}

// writer sends numbered messages to one partition, over a new connection for each life of the broker.
type writer struct {
	number   int
	queue    queue
	next     int64 // what is below was sent, once
	receipts []receipt
	refused  []string // answers other than 200: nothing here gives a reason for one
}

// work sends until the connection ends, which the kill does.
func (w *writer) work(addr string) {
	conn, err := dial(addr)
	if err != nil {
		w.refused = append(w.refused, fmt.Sprintf("connect: %v", err))
		return
	}
	free := make(chan struct{}, window)
	over := make(chan struct{})
	first := w.next
	done := make(chan int64)
	go func() { done <- w.send(conn, first, free, over) }()
	w.listen(conn, free)
	conn.close()
	close(over)
	w.next = <-done
}

// send puts messages from number n on until the connection fails, and returns the first number that was not sent.
func (w *writer) send(conn *wire, n int64, free chan<- struct{}, over <-chan struct{}) int64 {
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
			buf = fmt.Appendf(buf, "put %s %d %d 0 %d\r\n", w.queue.topic, w.queue.partition, len(body), opaqueOf(n))
			buf = append(buf, body...)
			n++
		}
		// A write that fails may have sent any part of it: all of it counts as sent.
		if _, err := conn.conn.Write(buf); err != nil {
			return n
		}
		select {
		case <-tick.C:
		case <-over:
			return n
		}
	}
}

func opaqueOf(n int64) int64 { return n % (1 << 30) }

// listen notes what is acknowledged until the connection ends.
func (w *writer) listen(conn *wire, free <-chan struct{}) {
	base := w.next
	for {
		a, err := conn.read()
		if err != nil {
			return
		}
		<-free
		if a.code != 200 {
			w.refused = append(w.refused, fmt.Sprintf("%d %s", a.code, a.body))
			continue
		}
		// The window is far smaller than the range of opaques: the distance from the first number of this
		// connection is unambiguous.
		n := base + (a.opaque-opaqueOf(base)+1<<30)%(1<<30)
		words := strings.Fields(string(a.body))
		if len(words) != 3 || words[1] != strconv.Itoa(w.queue.partition) {
			w.refused = append(w.refused, fmt.Sprintf("200 %s", a.body))
			continue
		}
		id, err1 := strconv.ParseInt(words[0], 10, 64)
		offset, err2 := strconv.ParseInt(words[2], 10, 64)
		if err1 != nil || err2 != nil {
			w.refused = append(w.refused, fmt.Sprintf("200 %s", a.body))
			continue
		}
		w.receipts = append(w.receipts, receipt{n, id, offset})
	}
}
