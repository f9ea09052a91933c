package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
)

type metaqReader struct {
	k     net.Conn
	r     *bufio.Reader
	topic string
	buf   []byte
}

func (m *metaqPeer) reader(parts int) (*metaqReader, error) {
	k, err := net.Dial("tcp", m.addr)
	if err != nil {
		return nil, err
	}
	return &metaqReader{k: k, r: bufio.NewReaderSize(k, 256<<10), topic: topicName(parts)}, nil
}

// reply reads one answer: data for "value", the number for result 200/301/302, nil data for 404.
func (r *metaqReader) reply() (data []byte, num int64, moved bool, err error) {
	line, err := r.r.ReadSlice('\n')
	if err != nil {
		return nil, 0, false, err
	}
	f := bytes.Fields(line)
	if len(f) >= 2 && string(f[0]) == "value" {
		n, _ := strconv.Atoi(string(f[1]))
		if cap(r.buf) < n {
			r.buf = make([]byte, n)
		}
		r.buf = r.buf[:n]
		if _, err := io.ReadFull(r.r, r.buf); err != nil {
			return nil, 0, false, err
		}
		return r.buf, 0, false, nil
	}
	if len(f) < 4 {
		return nil, 0, false, fmt.Errorf("unexpected reply %q", line)
	}
	code, _ := strconv.Atoi(string(f[1]))
	n, _ := strconv.Atoi(string(f[2]))
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return nil, 0, false, err
	}
	switch {
	case code == 200 || code == 301 || code == 302:
		num, err = strconv.ParseInt(string(b), 10, 64)
		return nil, num, code != 200, err
	case code == 404:
		return nil, 0, false, nil
	}
	return nil, 0, false, fmt.Errorf("reply %d %q", code, b)
}

func (r *metaqReader) maxOffset(part int) (int64, error) {
	fmt.Fprintf(r.k, "offset %s bench %d %d 0\r\n", r.topic, part, int64(math.MaxInt64))
	_, n, _, err := r.reply()
	return n, err
}

// each calls f for every whole message and returns the bytes they took.
func eachMetaq(b []byte, f func(p []byte)) (int, error) {
	o := 0
	for o+20 <= len(b) {
		n := int(binary.BigEndian.Uint32(b[o:]))
		if o+20+n > len(b) {
			break
		}
		p := b[o+20 : o+20+n]
		if binary.BigEndian.Uint32(b[o+4:]) != metaSum(p) {
			return o, fmt.Errorf("checksum differs at %d", o)
		}
		f(p)
		o += 20 + n
	}
	return o, nil
}

// replyOp is reply with the opaque, which the callers set to the partition.
func (r *metaqReader) replyOp() (data []byte, op int, num int64, moved bool, err error) {
	if _, err := r.r.Peek(1); err != nil {
		return nil, 0, 0, false, err
	}
	for n := 32; ; n += 32 {
		if n > r.r.Buffered() {
			n = r.r.Buffered()
		}
		b, _ := r.r.Peek(n)
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			f := bytes.Fields(b[:i])
			op, err = strconv.Atoi(string(f[len(f)-1]))
			break
		}
		if _, err := r.r.Peek(r.r.Buffered() + 1); err != nil {
			return nil, 0, 0, false, err
		}
	}
	if err != nil {
		return nil, 0, 0, false, err
	}
	data, num, moved, err = r.reply()
	return data, op, num, moved, err
}
