package crash

import (
	"fmt"
	"hash/crc32"
	"time"
)

const (
	readSize  = 512 << 10
	pollEvery = 2 * time.Millisecond
)

// sight is a message that a reader was given while the broker was under load.
type sight struct {
	offset int64
	id     int64
	sum    uint32
}

// reader follows a partition, from where it was when the broker died.
type reader struct {
	queue  queue
	offset int64
	seen   []sight
	wrong  []string
}

// follow reads what comes until the connection ends, which the kill does.
func (r *reader) follow(addr string) {
	conn, err := dial(addr)
	if err != nil {
		r.wrong = append(r.wrong, fmt.Sprintf("connect: %v", err))
		return
	}
	defer conn.close()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		a, err := conn.get(r.queue, r.offset, readSize)
		if err != nil {
			return
		}
		switch a.code {
		case 200:
			r.take(a.body)
		case 404:
			<-poll.C
		default:
			r.wrong = append(r.wrong, fmt.Sprintf("get at %d: %d %s", r.offset, a.code, a.body))
			return
		}
	}
}

// take notes the whole messages of an answer.
func (r *reader) take(b []byte) {
	for {
		m, size, err := parseStored(b)
		if err != nil {
			r.wrong = append(r.wrong, fmt.Sprintf("message at %d while under load: %v", r.offset, err))
		}
		if size == 0 {
			return
		}
		r.seen = append(r.seen, sight{r.offset, m.id, crc32.ChecksumIEEE(m.data)})
		r.offset += int64(size)
		b = b[size:]
	}
}

// readAll calls visit for every message of a partition, in its order, and returns where it ends.
func readAll(addr string, q queue, visit func(stored, error)) (end int64, err error) {
	conn, err := dial(addr)
	if err != nil {
		return 0, err
	}
	defer conn.close()
	for at := int64(0); ; {
		a, err := conn.get(q, at, readSize)
		if err != nil {
			return at, err
		}
		if a.code == 404 {
			return at, nil
		}
		if a.code != 200 {
			return at, fmt.Errorf("%s: get at %d: %d %s", q, at, a.code, a.body)
		}
		// An answer may end within a message; the next get begins with it. readSize is larger than any message.
		from := at
		for b := a.body; ; {
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
			return at, fmt.Errorf("%s: %d bytes at %d hold no message", q, len(a.body), at)
		}
	}
}
