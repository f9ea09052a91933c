package protocol

import (
	"bytes"
	"fmt"
	"math"
)

// NoOpaque is the opaque of a command that has none.
const NoOpaque int32 = math.MaxInt32

// CRLF ends a line of an answer. A command line may end with a bare LF as well.
const CRLF = "\r\n"

// Limits bound what Parse accepts, before anything is taken.
type Limits struct {
	Line int // bytes of a command line, without its end
	Body int // bytes of the data of a put
}

// Request is one command. Its slices are views of the parsed input.
type Request struct {
	Verb          Verb
	Topic         []byte
	Group         []byte
	Partition     int32 // -1 in a put: the broker chooses
	LastPartition int32 // close, open: the last of the range that begins with Partition
	Offset        int64 // seek: unix milliseconds
	MaxSize       int32 // get
	Wait          int32 // get: milliseconds to wait for something; -1: answer at once
	Flag          int32 // put, sync
	Checksum      int64 // put, sync; means something if HasChecksum
	HasChecksum   bool
	MessageID     int64  // sync
	TxKey         []byte // put in a transaction; transaction
	Session       []byte // transaction, as are the next three
	TxType        []byte
	Timeout       int32 // seconds
	Qualifier     []byte
	Item          []byte // stats, help; nil: none
	Body          []byte // put, sync
	Opaque        int32
}

// SyntaxError says what is wrong with a command.
type SyntaxError struct {
	Verb   Verb // VerbNone if the verb is not known
	Field  string
	Reason string
	Opaque int32 // NoOpaque if it cannot be read
	Fatal  bool  // the framing is lost: answer, then close the connection
}

func (e *SyntaxError) Error() string {
	switch {
	case e.Verb == VerbNone:
		return e.Reason
	case e.Field == "":
		return fmt.Sprintf("%s: %s", e.Verb, e.Reason)
	}
	return fmt.Sprintf("%s: %s %s", e.Verb, e.Field, e.Reason)
}

// maxWords bounds the words of a line that are kept; the longest command has 8. What follows is ignored, or is one too many.
const maxWords = 10

// line is a command line split at single spaces.
type line struct {
	verb   Verb
	words  [maxWords][]byte
	n      int // words, trailing empty ones dropped
	opaque int32
	err    *SyntaxError // the first thing that was wrong
}

// Parse reads the command that begins b, after blank lines. n is what it used of b; 0 without an error says that more bytes are needed.
// If b holds a blank line and then nothing whole, the blank line is used and req.Verb is VerbNone.
//
// An error is a *SyntaxError, and what req holds then means nothing. If it is not Fatal, n is the bytes of the bad command, the body of
// a put included, and the next command begins behind them; the error comes once all of them are there, so that nothing is answered
// twice. A fatal error comes as soon as it is known: a declared length beyond the limit before a byte of the body is.
//
// Parse never looks beyond b and allocates only for an error.
func (l Limits) Parse(b []byte, req *Request) (n int, err error) {
	req.Verb = VerbNone
	start := blank(b)
	end := bytes.IndexByte(b[start:min(len(b), start+l.Line+2)], '\n')
	if end < 0 {
		if len(b)-start > l.Line+1 {
			return len(b), l.overLong()
		}
		return start, nil
	}
	text := b[start : start+end]
	if len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	}
	n = start + end + 1
	if len(text) > l.Line {
		return n, l.overLong()
	}
	var ln line
	ln.split(text)
	ln.verb = ParseVerb(ln.words[0])
	*req = Request{Verb: ln.verb, Wait: -1, Opaque: NoOpaque}
	if ln.verb == VerbNone {
		if ln.n == 1 && len(ln.words[0]) == 0 {
			return n, nil // spaces only
		}
		return n, &SyntaxError{Reason: fmt.Sprintf("unknown command %.40q; type help for the list", ln.words[0]), Opaque: ln.lastOpaque()}
	}
	if ln.verb == VerbPut || ln.verb == VerbSync {
		return l.parseWithBody(&ln, b, n, req)
	}
	ln.parse(req)
	if ln.err != nil {
		return n, ln.err
	}
	return n, nil
}

func (l Limits) overLong() error {
	return &SyntaxError{Reason: fmt.Sprintf("the line has more than %d bytes, which is the limit (maxLineLength)", l.Line), Opaque: NoOpaque, Fatal: true}
}

// blank is how many bytes at the beginning of b are empty lines.
func blank(b []byte) int {
	i := 0
	for {
		switch {
		case i < len(b) && b[i] == '\n':
			i++
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			i += 2
		default:
			return i
		}
	}
}

func (ln *line) split(text []byte) {
	for len(text) > 0 && text[len(text)-1] == ' ' {
		text = text[:len(text)-1]
	}
	for ln.n < maxWords {
		i := bytes.IndexByte(text, ' ')
		if i < 0 {
			ln.words[ln.n] = text
			ln.n++
			break
		}
		ln.words[ln.n] = text[:i]
		ln.n++
		text = text[i+1:]
	}
	ln.opaque = NoOpaque
}

// lastOpaque guesses the opaque of a command that cannot be read: its last word, if that is a number.
func (ln *line) lastOpaque() int32 {
	if ln.n == 1 || ln.n == maxWords {
		return NoOpaque // there is none, or it is not among the words that were kept
	}
	if v, ok := parseInt(ln.words[ln.n-1], math.MinInt32, math.MaxInt32); ok {
		return int32(v)
	}
	return NoOpaque
}

func (ln *line) fail(field, reason string) {
	if ln.err == nil {
		ln.err = &SyntaxError{Verb: ln.verb, Field: field, Reason: reason, Opaque: ln.opaque}
	}
}

// usage is the sentence for a wrong number of words. With more than most of them the last is taken for the opaque, with fewer none is.
func (ln *line) usage(most int) {
	wrong := "too few"
	if ln.n > most {
		wrong = "too many"
		ln.opaque = ln.lastOpaque()
	}
	ln.fail("", fmt.Sprintf("%s words; expected: %s", wrong, usages[ln.verb]))
}

var usages = [...]string{
	VerbPut:         "put topic partition length flag [checksum] [transaction] [opaque], then length bytes",
	VerbGet:         "get topic group partition offset maxSize [[waitMs] opaque]",
	VerbOffset:      "offset topic group partition offset [opaque]",
	VerbStats:       "stats [item [opaque]]",
	VerbVersion:     "version [opaque]",
	VerbQuit:        "quit",
	VerbSync:        "sync topic partition length flag messageId [checksum] opaque, then length bytes",
	VerbTransaction: "transaction key session type [timeout] [qualifier] opaque",
	VerbCommit:      "commit topic group partition offset [opaque]",
	VerbCommitted:   "committed topic group partition [opaque]",
	VerbSeek:        "seek topic partition unixMillis [opaque]",
	VerbLag:         "lag topic partition offset [opaque]",
	VerbTopics:      "topics [opaque]",
	VerbRoute:       "route topic [opaque]",
	VerbHelp:        "help [verb [opaque]]",
	VerbClose:       "close topic first last [opaque]",
	VerbOpen:        "open topic first last [opaque]",
}

// Usage is the form of a command, for people.
func (v Verb) Usage() string {
	if int(v) < len(usages) {
		return usages[v]
	}
	return ""
}

func (ln *line) int32(i int, field string) int32 {
	return int32(ln.number(i, field, math.MinInt32, math.MaxInt32))
}

func (ln *line) int64(i int, field string) int64 {
	return ln.number(i, field, math.MinInt64, math.MaxInt64)
}

func (ln *line) number(i int, field string, low, high int64) int64 {
	v, ok := parseInt(ln.words[i], low, high)
	if !ok && ln.err == nil {
		ln.fail(field, fmt.Sprintf("%.40q is not a number from %d to %d", ln.words[i], low, high))
	}
	return v
}

// takeOpaque reads word i as the opaque; it is read first, so that an error can carry it. Without a word i there is none.
func (ln *line) takeOpaque(i int) int32 {
	if i < ln.n {
		if v, ok := parseInt(ln.words[i], math.MinInt32, math.MaxInt32); ok {
			ln.opaque = int32(v)
		} else {
			ln.fail("opaque", fmt.Sprintf("%.40q is not a number of 32 bits", ln.words[i]))
		}
	}
	return ln.opaque
}

func (ln *line) topic(i int) []byte {
	if len(ln.words[i]) == 0 {
		ln.fail("topic", "is empty (words are separated by a single space)")
	}
	return ln.words[i]
}

func isNumber(word []byte) bool {
	_, ok := parseInt(word, math.MinInt64, math.MaxInt64)
	return ok
}

// digits64 is how many decimal digits always fit into 64 bits.
const digits64 = 18

// parseInt reads a decimal number as Java's Integer.parseInt does: a sign, which may be +, then digits.
func parseInt(word []byte, low, high int64) (int64, bool) {
	i, negative := 0, false
	if len(word) > 0 && (word[0] == '-' || word[0] == '+') {
		negative = word[0] == '-'
		i = 1
	}
	if i == len(word) {
		return 0, false
	}
	var v int64                  // negative, because there is one more of these
	if len(word)-i <= digits64 { // nearly always: nothing can overflow
		for ; i < len(word); i++ {
			d := word[i] - '0'
			if d > 9 {
				return 0, false
			}
			v = v*10 - int64(d)
		}
	}
	for ; i < len(word); i++ {
		d := int64(word[i] - '0')
		if word[i] < '0' || word[i] > '9' || v < (math.MinInt64+d)/10 {
			return 0, false
		}
		v = v*10 - d
	}
	if !negative {
		if v == math.MinInt64 {
			return 0, false
		}
		v = -v
	}
	return v, v >= low && v <= high
}
