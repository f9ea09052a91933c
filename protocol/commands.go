package protocol

import (
	"bytes"
	"fmt"
	"math"
)

// parse reads the words of a command without a body.
func (ln *line) parse(req *Request) {
	switch ln.verb {
	case VerbGet:
		ln.parseGet(req)
	case VerbOffset:
		if ln.n < 5 {
			ln.usage(6)
			return
		}
		req.Opaque = ln.takeOpaque(5) // words behind the opaque are not looked at, as in the original
		ln.place(req, ln.int64(4, "offset"))
	case VerbStats, VerbHelp:
		req.Opaque = ln.takeOpaque(2)
		if len(ln.words[1]) > 0 {
			req.Item = ln.words[1]
		}
	case VerbVersion, VerbTopics:
		req.Opaque = ln.takeOpaque(1)
	case VerbQuit:
	case VerbTransaction:
		ln.parseTransaction(req)
	case VerbCommit:
		if ln.expect(5) {
			req.Opaque = ln.takeOpaque(5)
			ln.place(req, ln.number(4, "offset", 0, math.MaxInt64))
		}
	case VerbCommitted:
		if ln.expect(4) {
			req.Opaque = ln.takeOpaque(4)
			ln.place(req, 0)
		}
	case VerbSeek:
		if ln.expect(4) {
			req.Opaque = ln.takeOpaque(4)
			req.Topic, req.Partition, req.Offset = ln.topic(1), ln.int32(2, "partition"), ln.int64(3, "unixMillis")
		}
	case VerbLag:
		if ln.expect(4) {
			req.Opaque = ln.takeOpaque(4)
			req.Topic, req.Partition, req.Offset = ln.topic(1), ln.int32(2, "partition"), ln.number(3, "offset", 0, math.MaxInt64)
		}
	case VerbRoute:
		if ln.expect(2) {
			req.Opaque = ln.takeOpaque(2)
			req.Topic = ln.topic(1)
		}
	case VerbClose, VerbOpen:
		if ln.expect(4) {
			req.Opaque = ln.takeOpaque(4)
			req.Topic, req.Partition = ln.topic(1), int32(ln.number(2, "first", 0, math.MaxInt32))
			req.LastPartition = int32(ln.number(3, "last", int64(req.Partition), math.MaxInt32))
		}
	}
}

// expect checks that there are n words, or one more for the opaque.
func (ln *line) expect(n int) bool {
	if ln.n == n || ln.n == n+1 {
		return true
	}
	ln.usage(n + 1)
	return false
}

// place reads topic, group and partition, words 1 to 3.
func (ln *line) place(req *Request, offset int64) {
	req.Topic, req.Group, req.Partition, req.Offset = ln.topic(1), ln.words[2], ln.int32(3, "partition"), offset
}

// parseGet reads a get. Eight words, the last of them a number, are a get that waits; other words behind the opaque are ignored, as in the original.
func (ln *line) parseGet(req *Request) {
	if ln.n < 6 {
		ln.usage(8)
		return
	}
	if ln.n == 8 && isNumber(ln.words[7]) {
		req.Opaque = ln.takeOpaque(7)
		req.Wait = int32(ln.number(6, "waitMs", 0, math.MaxInt32))
	} else {
		req.Opaque = ln.takeOpaque(6)
	}
	ln.place(req, ln.int64(4, "offset"))
	req.MaxSize = ln.int32(5, "maxSize")
}

var transactionTypes = []string{"BEGIN", "END", "PREPARE", "COMMIT_ONE_PHASE", "COMMIT_TWO_PHASE", "ROLLBACK", "RECOVER", "FORGET"}

func (ln *line) parseTransaction(req *Request) {
	if ln.n < 5 || ln.n > 7 {
		ln.usage(7)
		return
	}
	req.Opaque = ln.takeOpaque(ln.n - 1)
	req.TxKey, req.Session, req.TxType = ln.words[1], ln.words[2], ln.words[3]
	if !validTxKey(req.TxKey) {
		ln.fail("key", fmt.Sprintf("%.40q is not TX:session:number, XID:format:gtrid:bqual:qualifier or null", req.TxKey))
	}
	known := false
	for _, t := range transactionTypes {
		known = known || string(req.TxType) == t
	}
	if !known {
		ln.fail("type", fmt.Sprintf("%.40q is not one of %v", req.TxType, transactionTypes))
	}
	switch {
	case ln.n == 7:
		req.Timeout, req.Qualifier = ln.int32(4, "timeout"), ln.words[5]
	case ln.n == 6 && isNumber(ln.words[4]):
		req.Timeout = ln.int32(4, "timeout")
	case ln.n == 6:
		req.Qualifier = ln.words[4]
	}
}

// validTxKey checks the form of a transaction's key: TX:session:number, XID:format:gtrid:bqual:qualifier with two words in hex, or null.
func validTxKey(key []byte) bool {
	if rest, ok := bytes.CutPrefix(key, []byte("TX:")); ok {
		i := bytes.LastIndexByte(rest, ':') // a session may contain colons
		return i > 0 && isNumber(rest[i+1:])
	}
	rest, ok := bytes.CutPrefix(key, []byte("XID:"))
	if !ok {
		return string(key) == "null"
	}
	format, rest, _ := bytes.Cut(rest, []byte(":"))
	global, rest, _ := bytes.Cut(rest, []byte(":"))
	branch, qualifier, ok := bytes.Cut(rest, []byte(":"))
	return ok && isNumber(format) && isHex(global) && isHex(branch) && len(qualifier) > 0
}

func isHex(word []byte) bool {
	for _, c := range word {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return false
		}
	}
	return true
}

// parseWithBody reads a put or a sync whose line ends at lineEnd in b. The body is looked for only once the line says how long it is; a bad line
// with a readable length is skipped together with its body.
func (l Limits) parseWithBody(ln *line, b []byte, lineEnd int, req *Request) (int, error) {
	typed := lineEnd < 2 || b[lineEnd-2] != '\r'
	if ln.verb == VerbPut {
		ln.parsePut(req, typed)
	} else {
		ln.parseSync(req)
	}
	length, ok := parseInt(ln.words[3], 0, math.MaxInt32)
	for i := 1; i < ln.n && i < 4; i++ {
		ok = ok && len(ln.words[i]) > 0
	}
	if ln.n < 4 || !ok {
		reason := "is missing"
		if ln.n >= 4 {
			reason = fmt.Sprintf("%.40q is not a number from 0 to %d with single spaces before it", ln.words[3], l.Body)
		}
		return lineEnd, &SyntaxError{Verb: ln.verb, Field: "length", Opaque: ln.opaque, Fatal: true,
			Reason: fmt.Sprintf("%s, so the end of the data is not known; expected: %s", reason, usages[ln.verb])}
	}
	if length > int64(l.Body) {
		return lineEnd, &SyntaxError{Verb: ln.verb, Field: "length", Opaque: ln.opaque, Fatal: true,
			Reason: fmt.Sprintf("%d is more than %d bytes, which is the limit (maxMessageSize)", length, l.Body)}
	}
	if int64(len(b)-lineEnd) < length {
		req.Verb = VerbNone // blank lines before the command stay, too: they are read again with it
		return 0, nil
	}
	n := lineEnd + int(length)
	if ln.err != nil {
		return n, ln.err
	}
	req.Body = b[lineEnd:n:n]
	return n, nil
}

// parsePut reads the words of a put. A program has to send the opaque (a line of the original that lacks it is malformed); a line that
// ends with a bare LF was typed by a person, who may leave it out.
func (ln *line) parsePut(req *Request, typed bool) {
	switch {
	case ln.n == 5:
		if !typed {
			ln.fail("opaque", "is missing, which only a line that ends with a bare LF may leave out; expected: "+usages[ln.verb])
		}
	case ln.n == 6:
		req.Opaque = ln.takeOpaque(5)
	case ln.n == 7:
		req.Opaque = ln.takeOpaque(6)
		if c := ln.words[5]; len(c) > 0 && (c[0] == '-' || '0' <= c[0] && c[0] <= '9') {
			ln.checksum(req, 5)
		} else {
			req.TxKey = c
		}
	case ln.n == 8:
		req.Opaque = ln.takeOpaque(7)
		ln.checksum(req, 5)
		req.TxKey = ln.words[6]
	default:
		ln.usage(8)
		return
	}
	if req.TxKey != nil && !validTxKey(req.TxKey) {
		ln.fail("transaction", fmt.Sprintf("%.40q is neither a checksum nor a transaction key", req.TxKey))
	}
	req.Topic, req.Partition, req.Flag = ln.topic(1), ln.int32(2, "partition"), ln.int32(4, "flag")
}

// checksum reads a checksum; -1 means that there is none.
func (ln *line) checksum(req *Request, i int) {
	req.Checksum = ln.int64(i, "checksum")
	req.HasChecksum = req.Checksum != -1
}

func (ln *line) parseSync(req *Request) {
	if ln.n != 7 && ln.n != 8 {
		ln.usage(8)
		return
	}
	req.Opaque = ln.takeOpaque(ln.n - 1)
	if ln.n == 8 {
		ln.checksum(req, 6)
	}
	req.Topic, req.Partition, req.Flag = ln.topic(1), ln.int32(2, "partition"), ln.int32(4, "flag")
	req.MessageID = ln.int64(5, "messageId")
}
