package main

import (
	"strings"
	"testing"
)

func TestPrinter(t *testing.T) {
	id := int64(1_000_000)<<idTimeShift | 7
	text := message{topic: "t", partition: 2, offset: 40, id: id, attribute: "a", payload: []byte("h\"i<&>")}
	binary := message{topic: "t", id: -5, payload: []byte{0xff, 0}}
	empty := message{topic: "t"}
	for _, c := range []struct {
		format string
		in     message
		want   string
	}{
		{"raw", text, "h\"i<&>\n"},
		{"raw", empty, "\n"},
		{"hex", text, "6822693c263e\n"},
		{"hex", binary, "ff00\n"},
		{"json", text, `{"topic":"t","partition":2,"offset":40,"id":4194304000007,"time":"2011-04-27T09:31:00.503Z","attribute":"a","data":"h\"i<&>"}` + "\n"},
		{"json", binary, `{"topic":"t","partition":0,"offset":0,"id":-5,"data_base64":"/wA="}` + "\n"},
		{"json", empty, `{"topic":"t","partition":0,"offset":0,"id":0,"data":""}` + "\n"},
	} {
		var out strings.Builder
		p := newPrinter(&out, c.format)
		if err := p.print(c.in); err != nil {
			t.Fatal(err)
		}
		if err := p.flush(); err != nil {
			t.Fatal(err)
		}
		if out.String() != c.want {
			t.Errorf("%s: %s, want %s", c.format, out.String(), c.want)
		}
	}
}
