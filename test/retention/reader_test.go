package retention

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/metaq/metaq/test/wire"
)

// tally counts what all readers saw.
type tally struct {
	answers  atomic.Int64 // with messages
	messages atomic.Int64
	moved    atomic.Int64 // "go on at another offset"
	outlived atomic.Int64 // answers of which the last byte was read when the queue's minimum was beyond them

	mu    sync.Mutex
	wrong []string
}

func (n *tally) fault(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wrong = append(n.wrong, fmt.Sprintf(format, args...))
}

// take judges an answer to a get at an offset and returns where to go on.
func (n *tally) take(q wire.Queue, offset int64, a wire.Answer) (next int64) {
	if to, ok := a.Moved(); ok {
		n.moved.Add(1)
		if to <= offset {
			n.fault("%s: a get at %d was sent back to %d", q, offset, to)
		}
		return to
	}
	switch a.Code {
	case 404:
		return offset
	case 200:
	default:
		n.fault("%s: a get at %d: %s", q, offset, a.Text())
		return offset
	}
	list, next, err := wire.Messages(offset, a.Body)
	if err != nil {
		n.fault("%s: a get at %d: %v", q, offset, err)
		return offset
	}
	for _, m := range list {
		if _, err := wire.OpenLetter(q, m.Data); err != nil {
			n.fault("%s at %d: %v", q, m.Offset, err)
		}
	}
	n.answers.Add(1)
	n.messages.Add(int64(len(list)))
	return next
}

// lag reads a queue from its beginning, slower than it is deleted, so that it is overtaken again and again.
func (n *tally) lag(addr string, q wire.Queue, stop <-chan struct{}) {
	c, err := wire.Dial(addr)
	if err != nil {
		n.fault("connect: %v", err)
		return
	}
	defer c.Close()
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for offset := int64(0); ; {
		select {
		case <-stop:
			return
		case <-pause.C:
		}
		a, err := c.Get(q, offset, 4<<10)
		if err != nil {
			n.fault("%s: get: %v", q, err)
			return
		}
		offset = n.take(q, offset, a)
	}
}

// pipeline is how many large answers a slow reader asks for at once: more than the kernel's buffers hold.
const pipeline = 8

// hold asks for large answers at the oldest message and takes seconds to read them.
func (n *tally) hold(addr string, q wire.Queue, stop <-chan struct{}) {
	watch, err := wire.Dial(addr)
	if err != nil {
		n.fault("connect: %v", err)
		return
	}
	defer watch.Close()
	for round := 0; ; round++ {
		select {
		case <-stop:
			return
		default:
		}
		if err := n.holdOnce(addr, watch, q, stop); err != nil {
			n.fault("%s: slow reader, round %d: %v", q, round, err)
			return
		}
	}
}

func (n *tally) holdOnce(addr string, watch *wire.Conn, q wire.Queue, stop <-chan struct{}) error {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		control := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
		if control != nil {
			return control
		}
		return err
	}}
	nc, err := dialer.Dial("tcp", addr)
	if err != nil {
		return err
	}
	slow := &slowConn{Conn: nc, pause: time.NewTicker(4 * time.Millisecond), stop: stop}
	defer slow.pause.Stop()
	c := wire.New(slow)
	defer c.Close()
	a, err := c.Get(q, 0, 1)
	if err != nil {
		return err
	}
	first, ok := a.Moved()
	if !ok {
		n.take(q, 0, a)
	}
	for range pipeline {
		if err := c.Ask(q, first, 512<<10); err != nil {
			return err
		}
	}
	for range pipeline {
		a, err := c.Read()
		if err != nil {
			return err
		}
		next := n.take(q, first, a)
		if a.Code != 200 {
			continue
		}
		now, err := watch.Get(q, 0, 1)
		if err != nil {
			return err
		}
		if minimum, ok := now.Moved(); ok && minimum >= next {
			n.outlived.Add(1)
		}
	}
	return nil
}

// slowConn reads a few KiB at a time, with pauses until stop.
type slowConn struct {
	net.Conn
	pause *time.Ticker
	stop  <-chan struct{}
}

func (c *slowConn) Read(b []byte) (int, error) {
	select {
	case <-c.pause.C:
		return c.Conn.Read(b[:min(len(b), 8<<10)])
	case <-c.stop:
		return c.Conn.Read(b)
	}
}
