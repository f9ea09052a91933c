package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// requests are all commands that clients send, as the encoders make them, with what must be parsed.
func requests(topic Topic, group Group, partition int32, offset int64, body []byte, opaque int32) [][]byte {
	if len(body) > limits.Body {
		body = body[:limits.Body]
	}
	return [][]byte{
		AppendPut(nil, topic, partition, 1, body, opaque), AppendGet(nil, topic, string(group), partition, offset, 4096, -1, opaque),
		AppendGet(nil, topic, string(group), partition, offset, 4096, 300, opaque), AppendOffset(nil, topic, string(group), partition, offset, opaque),
		AppendCommit(nil, topic, group, partition, max(offset, 0), opaque), AppendCommitted(nil, topic, group, partition, opaque),
		AppendSeek(nil, topic, partition, offset, opaque), AppendRoute(nil, topic, opaque), AppendTopics(nil, opaque), AppendVersion(nil, opaque),
		AppendStats(nil, "topics", opaque), AppendStats(nil, "", opaque), AppendHelp(nil, "put", opaque),
		AppendClose(nil, topic, 1, 3, opaque), AppendOpen(nil, topic, 1, 3, opaque),
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add("topic", "group", int32(0), int64(0), []byte("hello"), int32(7))
	f.Add("a.b-c_d", "g", int32(-1), int64(-1), []byte("\r\nquit\r\n"), int32(-2147483648))
	f.Fuzz(func(t *testing.T, topicName, groupName string, partition int32, offset int64, body []byte, opaque int32) {
		topic, err := ParseTopic(topicName)
		if err != nil {
			return
		}
		group, err := ParseGroup(groupName)
		if err != nil {
			return
		}
		for _, in := range requests(topic, group, partition, offset, body, opaque) {
			var r Request
			n, err := limits.Parse(in, &r)
			if err != nil || n != len(in) || r.Opaque != opaque {
				t.Fatalf("%.100q: %d of %d bytes, opaque %d, %v", in, n, len(in), r.Opaque, err)
			}
			var again []byte
			switch r.Verb {
			case VerbPut:
				if r.Checksum != int64(Checksum(r.Body)) || !r.HasChecksum {
					t.Fatalf("%.100q: checksum %d", in, r.Checksum)
				}
				again = AppendPut(nil, Topic(r.Topic), r.Partition, r.Flag, r.Body, r.Opaque)
			case VerbGet:
				again = AppendGet(nil, Topic(r.Topic), string(r.Group), r.Partition, r.Offset, r.MaxSize, r.Wait, r.Opaque)
			case VerbOffset:
				again = AppendOffset(nil, Topic(r.Topic), string(r.Group), r.Partition, r.Offset, r.Opaque)
			case VerbCommit:
				again = AppendCommit(nil, Topic(r.Topic), Group(r.Group), r.Partition, r.Offset, r.Opaque)
			case VerbSeek:
				again = AppendSeek(nil, Topic(r.Topic), r.Partition, r.Offset, r.Opaque)
			default:
				again = in
			}
			if !bytes.Equal(again, in) {
				t.Fatalf("%.100q became %.100q", in, again)
			}
		}
	})
}

// FuzzParse parses whatever comes: it must use a sensible number of bytes, stay within its input, and find the same in a copy that ends
// where the command ends.
func FuzzParse(f *testing.F) {
	for _, in := range requests("t", "g", 0, 0, []byte("hello"), 1) {
		f.Add(in)
	}
	f.Add([]byte("put t 0 99999999999999999999 0 1\r\n"))
	f.Add([]byte("\r\n\n\rput\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var r, again Request
		n, err := limits.Parse(in, &r)
		if n < 0 || n > len(in) || n == 0 && err != nil {
			t.Fatalf("%q: used %d of %d bytes, %v", in, n, len(in), err)
		}
		if n == 0 || err != nil {
			return
		}
		if r.Verb != VerbNone && r.Verb != VerbPut && r.Verb != VerbSync && in[n-1] != '\n' {
			t.Fatalf("%q: ends at %d, not behind a line", in, n)
		}
		if m, err := limits.Parse(bytes.Clone(in[:n]), &again); m != n || err != nil || text(r) != text(again) {
			t.Fatalf("%q: %s; cut at its end: %s, %d, %v", in, text(r), text(again), m, err)
		}
	})
}

// parseAll parses a stream that comes in pieces, and prints what it finds.
func parseAll(in []byte, cuts ...int) string {
	var out strings.Builder
	var buf []byte
	cuts = append(cuts, len(in))
	from := 0
	for _, cut := range cuts {
		buf = append(buf, in[from:cut]...)
		from = cut
		for {
			var r Request
			n, err := limits.Parse(buf, &r)
			var bad *SyntaxError
			if errors.As(err, &bad) && bad.Fatal {
				fmt.Fprintln(&out, "fatal", bad)
				return out.String()
			}
			if n == 0 {
				break
			}
			if err != nil {
				fmt.Fprintln(&out, err)
			} else if r.Verb != VerbNone {
				fmt.Fprintln(&out, text(r))
			}
			buf = append([]byte(nil), buf[n:]...)
		}
	}
	return out.String()
}

func FuzzParseSplit(f *testing.F) {
	f.Add(bytes.Join(requests("t", "g", 0, 0, []byte("hello"), 1), nil), uint16(7), uint16(40))
	f.Add([]byte("put t x 5 0 1\r\nhello\r\n\r\nversion 1\r\nput t 0 5 0\nhello\n"), uint16(15), uint16(16))
	f.Fuzz(func(t *testing.T, in []byte, a, b uint16) {
		if len(in) == 0 {
			return
		}
		x, y := int(a)%len(in), int(b)%len(in)
		if x > y {
			x, y = y, x
		}
		if whole, split := parseAll(in), parseAll(in, x, y); whole != split {
			t.Fatalf("%q cut at %d and %d:\n%s\nwhole:\n%s", in, x, y, split, whole)
		}
	})
}

func TestParse_SplitAtEveryByte(t *testing.T) {
	in := bytes.Join(requests("t", "g", 0, 0, []byte("he\r\nllo"), 1), []byte("\r\n"))
	whole := parseAll(in)
	if n := strings.Count(whole, "\n"); n != 15 {
		t.Fatalf("%d commands, want 15:\n%s", n, whole)
	}
	for i := range in {
		if split := parseAll(in, i); split != whole {
			t.Fatalf("cut at %d:\n%s\nwhole:\n%s", i, split, whole)
		}
	}
}
