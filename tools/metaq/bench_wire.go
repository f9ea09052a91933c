package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/metaq/metaq/protocol"
)

// dialTimeout bounds setting up one connection.
const dialTimeout = 5 * time.Second

// wire is a bare connection of a benchmark. It speaks the protocol with nothing in between, so that the figures are the
// broker's and not those of the client's retries and buffers. One goroutine may write while another reads.
type wire struct {
	nc   net.Conn
	out  *bufio.Writer
	buf  []byte // answers: buf[head:tail] is not parsed yet
	head int
	tail int
}

func dialWire(ctx context.Context, addr string) (*wire, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wire{nc: nc, out: bufio.NewWriterSize(nc, 256<<10), buf: make([]byte, 64<<10)}, nil
}

func (w *wire) close() { w.nc.Close() }

// read returns the next answer. Its body is valid until the next call.
func (w *wire) read(r *protocol.Response) error {
	for {
		if w.tail > w.head {
			n, err := protocol.ParseResponse(w.buf[w.head:w.tail], maxAnswer, r)
			if err != nil {
				return fmt.Errorf("answer of the broker: %w", err)
			}
			if n > 0 {
				w.head += n
				return nil
			}
		}
		if err := w.fill(); err != nil {
			return err
		}
	}
}

// buffered tells whether more bytes of answers are here already.
func (w *wire) buffered() bool { return w.tail > w.head }

// maxAnswer bounds what an answer may make a benchmark allocate.
const maxAnswer = 128 << 20

func (w *wire) fill() error {
	if w.head > 0 {
		w.tail = copy(w.buf, w.buf[w.head:w.tail])
		w.head = 0
	}
	if w.tail == len(w.buf) {
		bigger := make([]byte, 2*len(w.buf))
		copy(bigger, w.buf)
		w.buf = bigger
	}
	n, err := w.nc.Read(w.buf[w.tail:])
	w.tail += n
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return fmt.Errorf("the broker closed the connection")
	}
	return err
}

// ask sends one command and reads its answer.
func (w *wire) ask(command []byte, r *protocol.Response) error {
	if _, err := w.out.Write(command); err != nil {
		return err
	}
	if err := w.out.Flush(); err != nil {
		return err
	}
	return w.read(r)
}

// answerText describes an answer that was not the expected one.
func answerText(r *protocol.Response) string {
	return fmt.Sprintf("result %d %s", int(r.Status), strings.TrimSpace(string(r.Body)))
}
