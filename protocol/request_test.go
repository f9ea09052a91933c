package protocol

import (
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
		{"put t 0 5 0\r\nhello", -1, NoOpaque, false, "opaque is missing"},
		{"put t 0 5\nhello", -1, NoOpaque, false, "too few words"},
		{"put\r\n", -1, NoOpaque, true, "length is missing"},
		{"put t 0\r\n", -1, NoOpaque, true, "length is missing"},
		{"put t 0 5 0 -1 null 5 6 7 8 9\r\nhello", -1, NoOpaque, false, "too many words"},
		{"put t 0 9223372036854775808 0 31\r\n", -1, 31, true, "length"},
		{"put t 0 18446744073709551621 0 31\r\nhello", -1, 31, true, "length"},
		{"put t 4294967296 5 0 29\r\nhello", -1, 29, false, "partition"},
		{"put t 0 5 0 9223372036854775808 29\r\nhello", -1, 29, false, "checksum"},
		{"put t 0 5 0 -1 foo 29\r\nhello", -1, 29, false, "transaction key"},
		{"put t 0 5 0  29\r\nhello", -1, 29, false, "transaction key"},
		{"put t 0 1048576 \r\n" + strings.Repeat("x", 1<<20), -1, NoOpaque, false, "too few words"},
		{"put t 0 5 0 -1 null 5 5\r\nhello", -1, 5, false, "words"},
		{"put t 0 5 0 zz 19\r\nhello", -1, 19, false, "transaction key"},
		{"put t 0 1 0 2147483648\r\na", -1, NoOpaque, false, "opaque"},
		{"get t g 0 zero 4096 5\r\n", -1, 5, false, "offset"},
		{"get t g 0 0 2147483648 5\r\n", -1, 5, false, "maxSize"},
		{"get t g 0\r\n", -1, NoOpaque, false, "expected"},
		{"get t g 0 0 4096 x 5\r\n", -1, 5, false, "waitMs"},
		{"get t g 0 0 4096 -1 5\r\n", -1, 5, false, "waitMs"},
		{"get t g 0 9223372036854775808 4096 5\r\n", -1, 5, false, "offset"},
		{"get t g 0 --1 4096 5\r\n", -1, 5, false, "offset"},
		{"get t g 0 - 4096 5\r\n", -1, 5, false, "offset"},
		{"get t g 0  4096 5\r\n", -1, 5, false, "offset"},
		{"get t g 0 1_0 4096 5\r\n", -1, 5, false, "offset"},
		{"get\tt\tg\r\n", -1, NoOpaque, false, "help"},
		{" get t g 0 0 1 1\r\n", -1, 1, false, "unknown command \"\""},
		{"result 200 0 1\r\n", -1, 1, false, "help"},
		{"\x00\xff\r\n", -1, NoOpaque, false, `"\x00\xff"`},
		{"get  g 0 0 1 1\r\n", -1, 1, false, "topic"},
		{"offset t g 0 x 3\r\n", -1, 3, false, "offset"},
		{"offset t g 0\r\n", -1, NoOpaque, false, "expected"},
		{"version abc\r\n", -1, NoOpaque, false, "opaque"},
		{"stats help x\r\n", -1, NoOpaque, false, "opaque"},
		{"commit t g 0 -1 3\r\n", -1, 3, false, "offset"},
		{"close t 3 1 3\r\n", -1, 3, false, "last"},
		{"transaction FOO:1 s1 BEGIN 1\r\n", -1, 1, false, "key"},
		{"transaction TX:s1:120 s1 begin 1\r\n", -1, 1, false, "type"},
		{"transaction TX:s1:x s1 BEGIN 1\r\n", -1, 1, false, "key"},
		{"transaction XID:100:ab:cd s1 BEGIN 1\r\n", -1, 1, false, "key"},
		{"transaction XID:1:xy:cd:u s1 BEGIN 1\r\n", -1, 1, false, "key"},
		{"transaction TX:s1:121 s1 BEGIN\r\n", -1, NoOpaque, false, "words"},
		{"transaction TX:s1:1 s1 BEGIN x u 1\r\n", -1, 1, false, "timeout"},
		{"sync t 0 5 0\r\nhello", -1, NoOpaque, false, "words"},
		{"route t 1 2\r\n", -1, 2, false, "words"},
		{"seek t 0 x 3\r\n", -1, 3, false, "unixMillis"},
		{"lag t 0 -1 3\r\n", -1, 3, false, "offset"},
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

func TestParse_LineOfTheLimitPasses(t *testing.T) {
	l := Limits{Line: 32, Body: 8}
	for _, end := range []string{"\n", "\r\n"} {
		var r Request
		in := "stats " + strings.Repeat("x", 26) + end
		if n, err := l.Parse([]byte(in), &r); n != len(in) || err != nil {
			t.Errorf("32 bytes and %q: %d, %v", end, n, err)
		}
		for i := range len(in) {
			if n, err := l.Parse([]byte(in[:i]), &r); n != 0 || err != nil {
				t.Errorf("32 bytes and %q, cut at %d: %d, %v", end, i, n, err)
			}
		}
		in = "stats " + strings.Repeat("x", 27) + end
		if _, err := l.Parse([]byte(in), &r); err == nil {
			t.Errorf("33 bytes and %q are accepted", end)
		}
	}
}

func TestParse_BlankLines(t *testing.T) {
	for _, c := range []struct {
		in   string
		used int
	}{{"", 0}, {"\r", 0}, {"\r\n", 2}, {"\n\r\n\n", 4}, {"\n\r", 1}, {"   \r\n", 5}, {"\r\nvers", 2}, {"\nput t 0 5 0 1\r\nhell", 0}} {
		var r Request
		if n, err := limits.Parse([]byte(c.in), &r); n != c.used || err != nil || r.Verb != VerbNone {
			t.Errorf("%q: %d bytes, %v, %v; want %d", c.in, n, r.Verb, err, c.used)
		}
	}
}

// The answers to the bad commands come in their place: what is behind them is understood.
func TestParse_GoesOnBehindABadPut(t *testing.T) {
	got := parseAll([]byte("version 1\r\nput t x 13 0 2\r\nversion 666\r\n version 3\r\nversion 4\r\n"))
	want := "version opaque=1\n" +
		"put: partition \"x\" is not a number from -2147483648 to 2147483647\n" +
		"unknown command \"\"; type help for the list\n" +
		"version opaque=4\n"
	if got != want {
		t.Fatalf("got\n%swant\n%s", got, want)
	}
}

func TestParse_WaitsForTheBodyOfABadPut(t *testing.T) {
	in := []byte("put t x 5 0 2\r\nhello")
	var r Request
	for i := range in {
		if n, err := limits.Parse(in[:i], &r); n != 0 || err != nil {
			t.Fatalf("cut at %d: %d, %v", i, n, err)
		}
	}
}

func TestParse_HugeLengthIsRefusedBeforeItsBytesCome(t *testing.T) {
	var r Request
	_, err := limits.Parse([]byte("put t 0 2000000000 0 1\r\n"), &r)
	var bad *SyntaxError
	if !errors.As(err, &bad) || !bad.Fatal || bad.Opaque != 1 || !strings.Contains(bad.Reason, "1048576") {
		t.Fatalf("2 GB declared: %v", err)
	}
}

func TestParse_DoesNotAllocate(t *testing.T) {
	var r Request
	for _, in := range []string{
		"put t 0 5 0 907060870 12\r\nhello", "put t 0 5 0 907060870 12\r\nhel", "put t 0 5 0 1", "get t g 0 25 4096 2\r\n", "get t g 0 25 4096 200 2\r\n", "offset t g 0 0 1\r\n", "version 1\r\n", "stats topics 1\r\n", "\r\n",
		"commit t g 0 100 7\r\n", "committed t g 0 7\r\n", "seek t 0 17000 7\r\n", "lag t 0 25 7\r\n",
	} {
		b := []byte(in)
		if n := testing.AllocsPerRun(100, func() { limits.Parse(b, &r) }); n != 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
	}
}
