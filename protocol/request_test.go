package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var limits = Limits{Line: 4096, Body: 1 << 20}

// text prints what a request says, for tables.
func text(r Request) string {
	s := fmt.Sprintf("%v topic=%s group=%s p=%d o=%d", r.Verb, r.Topic, r.Group, r.Partition, r.Offset)
	switch r.Verb {
	case VerbPut, VerbSync:
		s = fmt.Sprintf("%v topic=%s p=%d flag=%d sum=%v,%d tx=%s id=%d body=%q", r.Verb, r.Topic, r.Partition, r.Flag, r.HasChecksum, r.Checksum, r.TxKey, r.MessageID, r.Body)
	case VerbGet:
		s += fmt.Sprintf(" max=%d wait=%d", r.MaxSize, r.Wait)
	case VerbStats, VerbHelp:
		s = fmt.Sprintf("%v item=%s", r.Verb, r.Item)
	case VerbVersion, VerbQuit, VerbTopics, VerbNone:
		s = r.Verb.String()
	case VerbTransaction:
		s = fmt.Sprintf("%v key=%s session=%s type=%s timeout=%d qualifier=%s", r.Verb, r.TxKey, r.Session, r.TxType, r.Timeout, r.Qualifier)
	case VerbClose, VerbOpen:
		s = fmt.Sprintf("%v topic=%s %d-%d", r.Verb, r.Topic, r.Partition, r.LastPartition)
	}
	return fmt.Sprintf("%s opaque=%d", s, r.Opaque)
}

func TestParse_Commands(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"put t 0 5 0 11\r\nhello", `put topic=t p=0 flag=0 sum=false,0 tx= id=0 body="hello" opaque=11`},
		{"put t -1 5 0 907060870 12\r\nhello", `put topic=t p=-1 flag=0 sum=true,907060870 tx= id=0 body="hello" opaque=12`},
		{"put t 0 5 0 -1 12\r\nhello", `put topic=t p=0 flag=0 sum=false,-1 tx= id=0 body="hello" opaque=12`},
		{"put t 0 5 0 -2 12\r\nhello", `put topic=t p=0 flag=0 sum=true,-2 tx= id=0 body="hello" opaque=12`},
		{"put t 0 5 0 TX:s:1 12\r\nhello", `put topic=t p=0 flag=0 sum=false,0 tx=TX:s:1 id=0 body="hello" opaque=12`},
		{"put t 0 5 0 -1 null 12\r\nhello", `put topic=t p=0 flag=0 sum=false,-1 tx=null id=0 body="hello" opaque=12`},
		{"put t 0 5 0 33 \r\nhello", `put topic=t p=0 flag=0 sum=false,0 tx= id=0 body="hello" opaque=33`},
		{"PUT t 0 5 0\nhello", `put topic=t p=0 flag=0 sum=false,0 tx= id=0 body="hello" opaque=2147483647`},
		{"put t 0 0 -1 +8\r\n", `put topic=t p=0 flag=-1 sum=false,0 tx= id=0 body="" opaque=8`},
		{"\r\n\n\r\nget t g 0 25 4096 2\r\n", "get topic=t group=g p=0 o=25 max=4096 wait=-1 opaque=2"},
		{"get t g 0 0 4096\n", "get topic=t group=g p=0 o=0 max=4096 wait=-1 opaque=2147483647"},
		{"get t g 0 0 4096 5 extra\r\n", "get topic=t group=g p=0 o=0 max=4096 wait=-1 opaque=5"},
		{"get t g 0 0 4096 200 5\r\n", "get topic=t group=g p=0 o=0 max=4096 wait=200 opaque=5"},
		{"get t any/group:x 0 -9223372036854775808 -2147483648 5\r\n", "get topic=t group=any/group:x p=0 o=-9223372036854775808 max=-2147483648 wait=-1 opaque=5"},
		{"offset t g 0 9223372036854775807 9\r\n", "offset topic=t group=g p=0 o=9223372036854775807 opaque=9"},
		{"offset t g 0 0 1 2\r\n", "offset topic=t group=g p=0 o=0 opaque=1"},
		{"stats\r\n", "stats item= opaque=2147483647"},
		{"stats  5\r\n", "stats item= opaque=5"},
		{"stats topics 7\r\n", "stats item=topics opaque=7"},
		{"version\n", "version opaque=2147483647"},
		{"version 5 extra\r\n", "version opaque=5"},
		{"quit now please\r\n", "quit opaque=2147483647"},
		{"sync t 0 5 0 1234567 60\r\nhello", `sync topic=t p=0 flag=0 sum=false,0 tx= id=1234567 body="hello" opaque=60`},
		{"sync t 0 5 0 1234567 907060870 61\r\nhello", `sync topic=t p=0 flag=0 sum=true,907060870 tx= id=1234567 body="hello" opaque=61`},
		{"transaction TX:s1:1 s1 BEGIN 1\r\n", "transaction key=TX:s1:1 session=s1 type=BEGIN timeout=0 qualifier= opaque=1"},
		{"transaction XID:1:a:b:u s1 BEGIN 30 u 1\r\n", "transaction key=XID:1:a:b:u session=s1 type=BEGIN timeout=30 qualifier=u opaque=1"},
		{"transaction null s1 RECOVER u 6\r\n", "transaction key=null session=s1 type=RECOVER timeout=0 qualifier=u opaque=6"},
		{"commit t g 0 100 7\r\n", "commit topic=t group=g p=0 o=100 opaque=7"},
		{"committed t g 0 7\r\n", "committed topic=t group=g p=0 o=0 opaque=7"},
		{"seek t 0 1700000000000 7\r\n", "seek topic=t group= p=0 o=1700000000000 opaque=7"},
		{"topics\n", "topics opaque=2147483647"},
		{"route t 3\r\n", "route topic=t group= p=0 o=0 opaque=3"},
		{"help put\n", "help item=put opaque=2147483647"},
		{"close t 0 3 1\r\n", "close topic=t 0-3 opaque=1"},
		{"open t 1 1\n", "open topic=t 1-1 opaque=2147483647"},
	} {
		var r Request
		n, err := limits.Parse([]byte(c.in+"version 1\r\n"), &r)
		if err != nil || n != len(c.in) || text(r) != c.want {
			t.Errorf("%q:\n got %s (%d bytes of %d, %v)\nwant %s", c.in, text(r), n, len(c.in), err, c.want)
		}
	}
}

func TestParse_Errors(t *testing.T) {
	for _, c := range []struct {
		in     string
		used   int // -1: all
		opaque int32
		fatal  bool
		says   string
	}{
		{"foo bar 1\r\n", -1, 1, false, "help"},
		{"stat\r\n", -1, NoOpaque, false, "help"},
		{"put t 0 abc 0 28\r\nhello", 18, 28, true, "length"},
		{"put t 0 -5 0 31\r\nhello", 17, 31, true, "length"},
		{"put t 0 2147483648 0 31\r\nhello", 25, 31, true, "length"},
		{"put t 0 1048577 0 31\r\n", 22, 31, true, "maxMessageSize"},
		{"put  t 0 5 0 32\r\nhello", 17, 32, true, "length"},
		{"put t x 5 0 29\r\nhello", -1, 29, false, "partition"},
		{"put t 0 5 f 30\r\nhello", -1, 30, false, "flag"},
		{"put t 0 1 2147483648 30\r\na", -1, 30, false, "flag"},
		{"put t 0 5 0\r\nhello", -1, NoOpaque, false, "words"},
		{"put t 0 5 0 -1 null 5 5\r\nhello", -1, 5, false, "words"},
		{"put t 0 5 0 zz 19\r\nhello", -1, 19, false, "transaction key"},
		{"put t 0 1 0 2147483648\r\na", -1, NoOpaque, false, "opaque"},
		{"get t g 0 zero 4096 5\r\n", -1, 5, false, "offset"},
		{"get t g 0 0 2147483648 5\r\n", -1, 5, false, "maxSize"},
		{"get t g 0\r\n", -1, NoOpaque, false, "expected"},
		{"get  g 0 0 1 1\r\n", -1, 1, false, "topic"},
		{"offset t g 0 x 3\r\n", -1, 3, false, "offset"},
		{"version abc\r\n", -1, NoOpaque, false, "opaque"},
		{"stats help x\r\n", -1, NoOpaque, false, "opaque"},
		{"commit t g 0 -1 3\r\n", -1, 3, false, "offset"},
		{"close t 3 1 3\r\n", -1, 3, false, "last"},
		{"transaction FOO:1 s1 BEGIN 1\r\n", -1, 1, false, "key"},
		{"transaction TX:s1:120 s1 begin 1\r\n", -1, 1, false, "type"},
		{"sync t 0 5 0\r\nhello", -1, NoOpaque, false, "words"},
		{"version " + strings.Repeat("1", 5000) + "\r\n", -1, NoOpaque, true, "4096"},
		{"version " + strings.Repeat("1", 5000), -1, NoOpaque, true, "4096"},
	} {
		var r Request
		n, err := limits.Parse([]byte(c.in), &r)
		var bad *SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%.60q: no error, %s", c.in, text(r))
			continue
		}
		if c.used < 0 {
			c.used = len(c.in)
		}
		if !bad.Fatal && n != c.used || bad.Fatal != c.fatal || bad.Opaque != c.opaque || !strings.Contains(bad.Error(), c.says) {
			t.Errorf("%.60q: %q, opaque %d, fatal %v, %d bytes; want %q in it, %d, %v, %d", c.in, bad, bad.Opaque, bad.Fatal, n, c.says, c.opaque, c.fatal, c.used)
		}
	}
}

func TestParse_HugeLengthIsRefusedBeforeItsBytesCome(t *testing.T) {
	var r Request
	_, err := limits.Parse([]byte("put t 0 2000000000 0 1\r\n"), &r)
	var bad *SyntaxError
	if !errors.As(err, &bad) || !bad.Fatal {
		t.Fatalf("2 GB declared: %v", err)
	}
}

func TestParse_DoesNotAllocate(t *testing.T) {
	var r Request
	for _, in := range []string{
		"put t 0 5 0 907060870 12\r\nhello", "get t g 0 25 4096 2\r\n", "get t g 0 25 4096 200 2\r\n", "offset t g 0 0 1\r\n", "version 1\r\n",
		"commit t g 0 100 7\r\n", "committed t g 0 7\r\n", "seek t 0 17000 7\r\n",
	} {
		b := []byte(in)
		if n := testing.AllocsPerRun(100, func() { limits.Parse(b, &r) }); n != 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
	}
}

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

func FuzzName(f *testing.F) {
	for _, s := range []string{"t", "a-1", "../x", "a/../../b", "%2e", ".x", "-x", "con", strings.Repeat("x", 256), "ü", "a b", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := ParseTopic(s)
		if ok := ValidTopic([]byte(s)); ok != (err == nil) {
			t.Fatalf("%q: %v, but ValidTopic says %v", s, err, ok)
		}
		if err == nil && (strings.ContainsAny(s, "/\\ \r\n\x00%:*") || s == "." || s == ".." || len(s) > 255) {
			t.Fatalf("%q passes", s)
		}
	})
}

func BenchmarkParsePut(b *testing.B) {
	in := AppendPut(nil, "topic", 0, 0, make([]byte, 1024), 1)
	var r Request
	b.ReportAllocs()
	for b.Loop() {
		limits.Parse(in, &r)
	}
}
