package crash

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/wire"
)

const (
	readSize  = 512 << 10
	pollEvery = 2 * time.Millisecond
	group     = "crash"
)

// reader follows a partition, from where it was when the broker died.
type reader struct {
	run    *history.Run
	f      string // history.Get, or history.Final
	number int
	queue  queue
	offset int64
}

func (r *reader) event(kind string) history.Event {
	return history.Event{Proc: fmt.Sprintf("r%d", r.number), Type: kind, F: r.f, Topic: r.queue.Topic, Part: r.queue.Partition, Off: r.offset}
}

// work reads what comes until the connection ends, which the fault does.
func (r *reader) work(addr string) {
	conn, err := wire.Dial(addr)
	if err != nil {
		return // the fault came first
	}
	defer conn.Close()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		status, err := r.get(conn)
		if err != nil {
			return
		}
		if status != 200 {
			<-poll.C
		}
	}
}

// get does one get and notes it.
func (r *reader) get(conn *wire.Conn) (status int, err error) {
	r.run.Add(r.event(history.Invoke))
	a, err := conn.Get(r.queue.Queue, r.offset, readSize)
	e := r.event(history.Info)
	if err != nil {
		e.Err = err.Error()
		r.run.Add(e)
		return 0, err
	}
	e.Type, e.Status = history.OK, a.Code
	switch a.Code {
	case 200:
		e.Got, r.offset = whole(a.Body, r.offset)
	case 301:
		if e.To, err = strconv.ParseInt(string(a.Body), 10, 64); err != nil {
			return 0, fmt.Errorf("%s: 301 %q: %w", r.queue, a.Body, err)
		}
		r.offset = e.To
	case 404:
	default:
		e.Type, e.Err = history.Fail, string(a.Body)
	}
	r.run.Add(e)
	return a.Code, nil
}

// whole takes the whole messages out of an answer, and where the next one begins.
func whole(b []byte, at int64) ([]history.Message, int64) {
	var list []history.Message
	for {
		m, size, err := parseStored(b)
		if size == 0 {
			return list, at
		}
		h := history.Message{Off: at, MID: m.id, Len: len(m.data), CRC: sumOf(m.data)}
		name, numberErr := parseNumber(m.data)
		switch {
		case err != nil:
			h.Bad = err.Error()
		case numberErr != nil:
			h.Bad = numberErr.Error()
		default:
			h.ID = name.id()
			if !bytes.Equal(m.data, name.body()) {
				h.Bad = "its body is not the one that belongs to its number"
			}
		}
		list = append(list, h)
		at += int64(size)
		b = b[size:]
	}
}

// readFinal reads a partition from its first message to its end, for the judge.
func readFinal(run *history.Run, addr string, q queue) error {
	conn, err := wire.Dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for r := (&reader{run: run, f: history.Final, queue: q}); ; {
		at := r.offset
		switch status, err := r.get(conn); {
		case err != nil:
			return err
		case status == 404:
			return nil
		case status != 200 && status != 301:
			return fmt.Errorf("%s: get at %d: %d", q, at, status)
		case r.offset == at:
			return fmt.Errorf("%s: the answer at %d holds no message", q, at)
		}
	}
}

// readAll calls visit for every message of a partition, in its order, and returns where it ends.
func readAll(addr string, q wire.Queue, visit func(stored, error)) (end int64, err error) {
	conn, err := wire.Dial(addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	for at := int64(0); ; {
		a, err := conn.Get(q, at, readSize)
		if err != nil {
			return at, err
		}
		if a.Code == 404 {
			return at, nil
		}
		if a.Code != 200 {
			return at, fmt.Errorf("%s: get at %d: %d %s", q, at, a.Code, a.Body)
		}
		// An answer may end within a message; the next get begins with it. readSize is larger than any message.
		from := at
		for b := a.Body; ; {
			m, size, err := parseStored(b)
			if size == 0 {
				if err != nil {
					return at, fmt.Errorf("%s: message at %d: %w", q, at, err)
				}
				break
			}
			m.offset = at
			visit(m, err)
			at += int64(size)
			b = b[size:]
		}
		if at == from {
			return at, fmt.Errorf("%s: %d bytes at %d hold no message", q, len(a.Body), at)
		}
	}
}
