//go:build linux

package ship

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// newlines finds the ends of lines in some encoding.
type newlines struct {
	width int // bytes of a code unit
	high  int // which byte of the unit is 0 in a newline, of UTF-16
}

// index is where the next newline begins, -1 if there is none. b begins with a whole unit.
func (n newlines) index(b []byte) int {
	if n.width == 1 {
		return bytes.IndexByte(b, '\n')
	}
	low := 1 - n.high
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		at := (from + i) &^ 1
		if (from+i)&1 == low && at+1 < len(b) && b[at+n.high] == 0 {
			return at
		}
		from += i + 1
	}
}

// charset is how the text of an input is written.
type charset struct {
	newlines
	text     encoding.Encoding // nil: bytes are taken as they are
	bomTells bool              // UTF-16, in the order that the file's first two bytes tell
}

// charsetOf finds an encoding by its name.
func charsetOf(name string) (charset, error) {
	one, two := newlines{width: 1}, newlines{width: 2}
	switch strings.ToLower(name) {
	case "", "raw":
		return charset{newlines: one}, nil
	case "utf-16", "utf16":
		return charset{newlines: newlines{width: 2, high: 1}, text: unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), bomTells: true}, nil
	case "utf-16le", "utf16le":
		two.high = 1
		return charset{newlines: two, text: unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)}, nil
	case "utf-16be", "utf16be":
		return charset{newlines: two, text: unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)}, nil
	case "utf-8", "utf8":
		return charset{newlines: one, text: unicode.UTF8}, nil
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return charset{}, fmt.Errorf("the encoding %q is not known: raw, utf-8, utf-16, utf-16le, utf-16be, gbk, gb18030, big5, shift_jis, euc-kr, iso-8859-1 and the others that web browsers know", name)
	}
	return charset{newlines: one, text: e}, nil
}

// of is the charset of one file: the order of bytes of UTF-16 stands at its beginning, and is little-endian if it does not.
func (c charset) of(s source) (charset, error) {
	if !c.bomTells {
		return c, nil
	}
	b := make([]byte, 2)
	if n, err := s.ReadAt(b, 0); n < 2 {
		return c, err
	}
	name := "utf-16le"
	if b[0] == 0xfe && b[1] == 0xff {
		name = "utf-16be"
	}
	return charsetOf(name)
}

var bom = []byte("\ufeff")

// replacement is what becomes of bytes that are no character.
const replacement = "\uFFFD"

// decode makes UTF-8 of a line, or of the lines of an event. What cannot be decoded becomes U+FFFD. A carriage return at the end of a line goes, and so does a byte
// order mark at the beginning. Without an encoding everything stays as it is.
func (c charset) decode(line []byte) []byte {
	if c.text == nil {
		return line
	}
	text := line
	if c.text != unicode.UTF8 || !utf8.Valid(line) {
		var err error
		if text, err = c.text.NewDecoder().Bytes(line); err != nil {
			text = bytes.ToValidUTF8(line, []byte(replacement)) // decoders replace what they cannot read, and have no errors
		}
	}
	if bytes.Contains(text, []byte("\r\n")) {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	return bytes.TrimSuffix(bytes.TrimPrefix(text, bom), []byte("\r"))
}
