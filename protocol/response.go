package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// Response is one answer. Body is a view of the parsed input: a text, or stored messages if Value is set.
type Response struct {
	Value  bool
	Status Status // StatusOK for a value
	Opaque int32
	Body   []byte
}

// maxResponseLine is longer than any first line of an answer.
const maxResponseLine = 128

// ErrResponse is wrapped by the errors of ParseResponse: what came is no answer of a broker, and the connection is of no more use.
var ErrResponse = errors.New("protocol: not an answer of a broker")

// ParseResponse reads the answer that begins b. n is what it used of b, 0 when more bytes are needed. A body of more than maxBody
// bytes is an error before anything is taken.
func ParseResponse(b []byte, maxBody int, r *Response) (n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxResponseLine)], '\n')
	if end < 0 {
		if len(b) >= maxResponseLine {
			return 0, fmt.Errorf("%w: no line end in %d bytes: %.40q", ErrResponse, maxResponseLine, b)
		}
		return 0, nil
	}
	first := bytes.TrimSuffix(b[:end], []byte("\r"))
	var ln line
	ln.split(first)
	var length, opaque, code int64
	ok := false
	switch {
	case string(ln.words[0]) == "value" && ln.n == 3:
		code = int64(StatusOK)
		length, ok = parseInt(ln.words[1], 0, math.MaxInt32)
	case string(ln.words[0]) == "result" && ln.n == 4:
		if code, ok = parseInt(ln.words[1], 100, 999); ok {
			length, ok = parseInt(ln.words[2], 0, math.MaxInt32)
		}
	}
	if ok {
		opaque, ok = parseInt(ln.words[ln.n-1], math.MinInt32, math.MaxInt32)
	}
	if !ok {
		if bytes.HasPrefix(first, []byte("HTTP/")) {
			return 0, fmt.Errorf("%w: %.80q; this is an HTTP port, the broker's own is another one (serverPort, 8123 by default)", ErrResponse, first)
		}
		return 0, fmt.Errorf("%w: %.80q", ErrResponse, first)
	}
	if length > int64(maxBody) {
		return 0, fmt.Errorf("%w: it announces %d bytes, the limit is %d", ErrResponse, length, maxBody)
	}
	n = end + 1 + int(length)
	if len(b) < n {
		return 0, nil
	}
	*r = Response{Value: ln.n == 3, Status: Status(code), Opaque: int32(opaque), Body: b[end+1 : n : n]}
	return n, nil
}

// ParsePutResult reads the text of the answer to a put. Ids of an original broker may be negative.
func ParsePutResult(text []byte) (id int64, partition int32, offset int64, err error) {
	var ln line
	ln.split(text)
	p := int64(0)
	ok := ln.n == 3
	if ok {
		id, ok = parseInt(ln.words[0], math.MinInt64, math.MaxInt64)
	}
	if ok {
		p, ok = parseInt(ln.words[1], math.MinInt32, math.MaxInt32)
	}
	if ok {
		offset, ok = parseInt(ln.words[2], math.MinInt64, math.MaxInt64)
	}
	if !ok {
		return 0, 0, 0, fmt.Errorf("%w: %.80q is not \"id partition offset\"", ErrResponse, text)
	}
	return id, int32(p), offset, nil
}
