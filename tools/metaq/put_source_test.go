package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLineSource_KeepsEveryByteButTheNewline(t *testing.T) {
	long := strings.Repeat("x", 600<<10) // longer than the reader's buffer
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"one line", "a\n", []string{"a"}},
		{"no newline at the end", "a\nb", []string{"a", "b"}},
		{"empty lines", "\n\na\n\n", []string{"", "", "a", ""}},
		{"carriage returns", "a\r\n\r\n", []string{"a\r", "\r"}},
		{"long", long + "\nb\n", []string{long, "b"}},
		{"bytes that are no text", "\x00\xff\n", []string{"\x00\xff"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLineSource(iotest.OneByteReader(strings.NewReader(c.in)), "test")
			for i, want := range c.want {
				got, err := s.next()
				if err != nil || string(got) != want {
					t.Fatalf("line %d: %.20q, %v, want %.20q", i+1, got, err, want)
				}
			}
			if got, err := s.next(); err != io.EOF {
				t.Fatalf("after the last line: %.20q, %v, want the end", got, err)
			}
		})
	}
}

func TestLineSource_NamesTheLineThatIsTooLong(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("a\n"), zeros{})
	s := newLineSource(endless, "big.log")
	if _, err := s.next(); err != nil {
		t.Fatal(err)
	}
	_, err := s.next()
	if err == nil || !strings.HasPrefix(err.Error(), "big.log line 2 is longer than") {
		t.Fatalf("error %v, want one that names line 2 of big.log", err)
	}
}

func TestLineSource_ReadErrorsAreNotTheEnd(t *testing.T) {
	broken := errors.New("disk on fire")
	s := newLineSource(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), "test")
	if got, err := s.next(); !errors.Is(err, broken) {
		t.Fatalf("%q, %v, want %v", got, err, broken)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
