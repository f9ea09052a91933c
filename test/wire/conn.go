package wire

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// answerBound is how long an answer may take.
const answerBound = 60 * time.Second

// Conn is a connection to a broker, for one goroutine.
type Conn struct {
	Net net.Conn
	in  *bufio.Reader
}

// Dial connects to a broker.
func Dial(addr string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", addr, answerBound)
	if err != nil {
		return nil, err
	}
	return New(c), nil
}

// New makes a connection of one that is there.
func New(c net.Conn) *Conn { return &Conn{Net: c, in: bufio.NewReaderSize(c, 64<<10)} }

// Close ends the connection; the broker may have done so before.
func (c *Conn) Close() { _ = c.Net.Close() }

// Answer is a response: 200 with messages to a get, else a code and a text.
type Answer struct {
	Code   int
	Opaque int64
	Body   []byte
}

// Text is the body as words for people.
func (a Answer) Text() string { return fmt.Sprintf("%d %.200s", a.Code, a.Body) }

// Moved is the offset of a 301.
func (a Answer) Moved() (int64, bool) {
	n, err := strconv.ParseInt(string(a.Body), 10, 64)
	return n, a.Code == 301 && err == nil
}

// Read reads one answer.
func (c *Conn) Read() (Answer, error) {
	if err := c.Net.SetReadDeadline(time.Now().Add(answerBound)); err != nil {
		return Answer{}, err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return Answer{}, err
	}
	words := strings.Fields(line)
	var fields []string // code, length, opaque
	switch {
	case len(words) == 4 && words[0] == "result":
		fields = words[1:]
	case len(words) == 3 && words[0] == "value":
		fields = []string{"200", words[1], words[2]}
	default:
		return Answer{}, fmt.Errorf("response %q is none", line)
	}
	var numbers [3]int64
	for i, f := range fields {
		if numbers[i], err = strconv.ParseInt(f, 10, 32); err != nil {
			return Answer{}, fmt.Errorf("response %q: %w", line, err)
		}
	}
	a := Answer{Code: int(numbers[0]), Opaque: numbers[2], Body: make([]byte, numbers[1])}
	_, err = io.ReadFull(c.in, a.Body)
	return a, err
}

// Command sends one command line, and reads its answer.
func (c *Conn) Command(format string, args ...any) (Answer, error) {
	if _, err := fmt.Fprintf(c.Net, format+"\r\n", args...); err != nil {
		return Answer{}, err
	}
	return c.Read()
}

// Get asks for messages from an offset on.
func (c *Conn) Get(q Queue, offset int64, size int) (Answer, error) {
	if err := c.Ask(q, offset, size); err != nil {
		return Answer{}, err
	}
	return c.Read()
}

// Ask is a Get whose answer is left to Read.
func (c *Conn) Ask(q Queue, offset int64, size int) error {
	_, err := fmt.Fprintf(c.Net, "get %s wire %d %d %d 1\r\n", q.Topic, q.Partition, offset, size)
	return err
}

// Receipt is what a put was answered with.
type Receipt struct {
	Code       int
	ID, Offset int64
	Text       string // of a code other than 200
}

// Put sends messages to a queue in one go and reads all answers.
func (c *Conn) Put(q Queue, bodies ...[]byte) ([]Receipt, error) {
	var buf []byte
	for i, b := range bodies {
		buf = fmt.Appendf(buf, "put %s %d %d 0 %d\r\n", q.Topic, q.Partition, len(b), i)
		buf = append(buf, b...)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Net.Write(buf)
		sent <- err
	}()
	receipts := make([]Receipt, len(bodies))
	for range bodies {
		a, err := c.Read()
		if err != nil {
			return nil, err
		}
		if a.Opaque < 0 || a.Opaque >= int64(len(bodies)) {
			return nil, fmt.Errorf("an answer to request %d, which was not sent", a.Opaque)
		}
		r := Receipt{Code: a.Code, Text: string(a.Body)}
		if a.Code == 200 {
			if _, err := fmt.Sscanf(string(a.Body), "%d %d %d", &r.ID, new(int), &r.Offset); err != nil {
				return nil, fmt.Errorf("the answer %q to a put: %w", a.Body, err)
			}
		}
		receipts[a.Opaque] = r
	}
	return receipts, <-sent
}
