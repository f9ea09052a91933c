package soak

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/metaq/metaq/test/wire"
)

// load is what clients did.
type load struct {
	puts, refused, reads, moved, connections atomic.Int64

	mu    sync.Mutex
	wrong []string
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

const (
	perPut     = 512
	letterSize = 160
	perGet     = 1 << 20
)

// produce puts letters as fast as they are answered.
func (l *load) produce(addr string, q wire.Queue, stop <-chan struct{}) {
	c, err := wire.Dial(addr)
	if err != nil {
		l.fault("connect: %v", err)
		return
	}
	defer c.Close()
	for n := int64(0); ; {
		select {
		case <-stop:
			return
		default:
		}
		letters := make([][]byte, perPut)
		for i := range letters {
			letters[i] = wire.Letter(q, n, letterSize)
			n++
		}
		receipts, err := c.Put(q, letters...)
		if err != nil {
			l.fault("put to %s: %v", q, err)
			return
		}
		for _, r := range receipts {
			if r.Code == 200 {
				l.puts.Add(1)
			} else if l.refused.Add(1); r.Code != 503 {
				l.fault("put to %s: %d %s", q, r.Code, r.Text)
			}
		}
	}
}

// consume follows a queue and judges each message.
func (l *load) consume(addr string, q wire.Queue, stop <-chan struct{}) {
	c, err := wire.Dial(addr)
	if err != nil {
		l.fault("connect: %v", err)
		return
	}
	defer c.Close()
	for offset := int64(0); ; {
		select {
		case <-stop:
			return
		default:
		}
		// Waits up to a second for more, so that a consumer at the end does not spin.
		if _, err := fmt.Fprintf(c.Net, "get %s soak %d %d %d 1000 1\r\n", q.Topic, q.Partition, offset, perGet); err != nil {
			l.fault("get of %s: %v", q, err)
			return
		}
		a, err := c.Read()
		if err != nil {
			l.fault("get of %s: %v", q, err)
			return
		}
		if to, ok := a.Moved(); ok {
			l.moved.Add(1)
			offset = to
			continue
		}
		if a.Code == 404 {
			continue
		}
		list, next, err := wire.Messages(offset, a.Body)
		if a.Code != 200 || err != nil {
			l.fault("get of %s at %d: %.100s, %v", q, offset, a.Text(), err)
			return
		}
		for _, m := range list {
			if _, err := wire.OpenLetter(q, m.Data); err != nil {
				l.fault("%s at %d: %v", q, m.Offset, err)
			}
		}
		l.reads.Add(int64(len(list)))
		offset = next
	}
}

// wave opens connections, uses each in another way, and closes them: in order, in the middle of a command, or with an answer unread.
func (l *load) wave(addr string, size int, topic string) {
	var conns []net.Conn
	for i := range size {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			l.fault("connect: %v", err)
			break
		}
		conns = append(conns, c)
		l.connections.Add(1)
		switch i % 4 {
		case 0:
			_, err = io.WriteString(c, "version 1\r\n")
		case 1:
			_, err = io.WriteString(c, "put "+topic+" 0 100 0 1\r\nhalf of it")
		case 2:
			_, err = io.WriteString(c, "get "+topic+" soak 0 0 65536 5000 1\r\n")
		case 3:
			_, err = io.WriteString(c, "put "+topic+" 0 5 0 1\r\nhello")
		}
		if err != nil {
			l.fault("write to a new connection: %v", err)
		}
	}
	for _, c := range conns {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			l.fault("close: %v", err)
		}
	}
}
