package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxLineBytes bounds the memory that one line may take; the broker's own limit is smaller as a rule.
const maxLineBytes = 64 << 20

// A source gives the bodies that put stores, io.EOF after the last. A body is the caller's to keep.
type source interface {
	next() ([]byte, error)
}

// argSource are the messages on the command line.
type argSource struct{ args []string }

func (s *argSource) next() ([]byte, error) {
	if len(s.args) == 0 {
		return nil, io.EOF
	}
	body := []byte(s.args[0])
	s.args = s.args[1:]
	return body, nil
}

// lineSource are the lines of a stream without their newline. Everything else is kept, a carriage return and empty lines
// too, so that a file can be put together again from what was stored.
type lineSource struct {
	in   *bufio.Reader
	name string
	line int64
}

func newLineSource(in io.Reader, name string) *lineSource {
	return &lineSource{in: bufio.NewReaderSize(in, 256<<10), name: name}
}

func (s *lineSource) next() ([]byte, error) {
	s.line++
	var body []byte
	for {
		part, err := s.in.ReadSlice('\n')
		if len(body)+len(part) > maxLineBytes {
			return nil, fmt.Errorf("%s line %d is longer than %d bytes", s.name, s.line, maxLineBytes)
		}
		body = append(body, part...)
		switch {
		case err == nil:
			return body[:len(body)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(body) > 0:
			return body, nil // the last line has no newline
		case err == io.EOF:
			return nil, io.EOF
		default:
			return nil, fmt.Errorf("read %s: %w", s.name, err)
		}
	}
}

// wholeSource is a stream that is one message.
type wholeSource struct {
	in   io.Reader
	name string
	done bool
}

func (s *wholeSource) next() ([]byte, error) {
	if s.done {
		return nil, io.EOF
	}
	s.done = true
	body, err := io.ReadAll(io.LimitReader(s.in, maxLineBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.name, err)
	}
	if len(body) > maxLineBytes {
		return nil, fmt.Errorf("%s is longer than %d bytes", s.name, maxLineBytes)
	}
	return body, nil
}
