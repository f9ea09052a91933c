package protocol

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

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
		{"lag t 0 25 7\r\n", "lag topic=t group= p=0 o=25 opaque=7"},
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

func TestParseInt_AgreesWithStrconv(t *testing.T) {
	for _, word := range []string{
		"0", "-0", "+0", "7", "-7", "+7", "007", "999999999999999999", "-999999999999999999", "1000000000000000000", "9223372036854775807", "9223372036854775808",
		"-9223372036854775808", "-9223372036854775809", "+9223372036854775808", "18446744073709551616", "99999999999999999999", "00000000000000000000000000001",
		"-00000000000000000009223372036854775808", "2147483647", "2147483648", "-2147483648", "-2147483649", "", "-", "+", "+-1", "1-", "0x1", "1e3", "1_0", "/", ":", "1/", "1:",
		" 1", "1 ", "\x00", "\xff", "1\xff", strings.Repeat("9", 4000),
	} {
		for _, bits := range []int{32, 64} {
			low, high := int64(math.MinInt64), int64(math.MaxInt64)
			if bits == 32 {
				low, high = math.MinInt32, math.MaxInt32
			}
			want, err := strconv.ParseInt(word, 10, bits)
			got, ok := parseInt([]byte(word), low, high)
			if ok != (err == nil) || ok && got != want {
				t.Errorf("%.40q in %d bits: %d, %v; want %d, %v", word, bits, got, ok, want, err)
			}
		}
	}
}
