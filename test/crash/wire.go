package crash

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// answerBound is how long an answer may take; a kill ends the connection much earlier.
const answerBound = 60 * time.Second

// wire is a connection to the broker.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(addr string) (*wire, error) {
	c, err := net.DialTimeout("tcp", addr, answerBound)
	if err != nil {
		return nil, err
	}
	return &wire{conn: c, in: bufio.NewReaderSize(c, 64<<10)}, nil
}

// close ends the connection; the broker may have done so before.
func (w *wire) close() { _ = w.conn.Close() }

// answer is a response: of a get, code is 200 and the body holds messages.
type answer struct {
	code   int
	opaque int64
	body   []byte
}

func (w *wire) read() (answer, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(answerBound)); err != nil {
		return answer{}, err
	}
	line, err := w.in.ReadString('\n')
	if err != nil {
		return answer{}, err
	}
	words := strings.Fields(line)
	var fields []string // code, length, opaque
	switch {
	case len(words) == 4 && words[0] == "result":
		fields = words[1:]
	case len(words) == 3 && words[0] == "value":
		fields = []string{"200", words[1], words[2]}
	default:
		return answer{}, fmt.Errorf("response %q is none", line)
	}
	var numbers [3]int64
	for i, f := range fields {
		if numbers[i], err = strconv.ParseInt(f, 10, 32); err != nil {
			return answer{}, fmt.Errorf("response %q: %w", line, err)
		}
	}
	a := answer{code: int(numbers[0]), opaque: numbers[2], body: make([]byte, numbers[1])}
	_, err = io.ReadFull(w.in, a.body)
	return a, err
}

// ask sends one command line and reads its answer.
func (w *wire) ask(format string, args ...any) (answer, error) {
	if _, err := fmt.Fprintf(w.conn, format+"\r\n", args...); err != nil {
		return answer{}, err
	}
	return w.read()
}

// get asks for the messages from an offset on.
func (w *wire) get(q queue, offset int64, size int) (answer, error) {
	return w.ask("get %s %s %d %d %d 1", q.topic, group, q.partition, offset, size)
}

// queue names a partition, and the level of its acknowledgements.
type queue struct {
	topic     string
	partition int
	level     string
}

func (q queue) String() string { return fmt.Sprintf("%s-%d", q.topic, q.partition) }
