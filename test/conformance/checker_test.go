package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// fake is a broker that says what it is told, right or wrong.
type fake struct {
	replies []string // one for each piece that is read, "" = none; then the version answer, for ever
	close   bool     // closes after the last reply
}

func (f fake) serve(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.talk(c)
		}
	}()
	return l.Addr().String()
}

func (f fake) talk(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 64<<10)
	for turn := 0; ; turn++ {
		if _, err := c.Read(buf); err != nil {
			return
		}
		reply := "result 200 3 987654\r\n1.0"
		if turn < len(f.replies) {
			reply = f.replies[turn]
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
		if f.close && turn >= len(f.replies)-1 {
			return
		}
	}
}

func vectorOf(t *testing.T, text string) Vector {
	t.Helper()
	var v Vector
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	v.Name = "v"
	return v
}

// answer is a well-formed result with the opaque 1.
func answer(body string) string { return fmt.Sprintf("result 200 %d 1\r\n%s", len(body), body) }

// Each case is a vector and a broker; the checker has to accept the right ones and to convict the wrong ones, for the
// reason given.
func TestCheckerConvicts(t *testing.T) {
	const (
		put = `{"match":"exact","steps":[{"send":"put t 0 5 0 7\r\nhello","expect":["result 200 ${len} 7\r\n${id:m1} 0 0"]}`
		// A put and the get of what it stored: the id of the first has to be in the second.
		putGet  = put + `,{"send":"get t g 0 0 99 8\r\n","expect":["value 25 8\r\n${hex:000000053610a686}${be8:m1}${hex:00000000}hello"]}]}`
		stored  = "result 200 5 7\r\n7 0 0"
		idSeven = "\x00\x00\x00\x00\x00\x00\x00\x07"
		value   = "value 25 8\r\n\x00\x00\x00\x05\x36\x10\xa6\x86" + idSeven + "\x00\x00\x00\x00hello"

		status    = `{"match":"status-only","steps":[{"send":"x 1\r\n","expect":["result 404 9 1\r\nnot here"]}]}`
		closes    = `{"match":"exact","steps":[{"send":"quit\r\n","expect":[],"then":"closed"}]}`
		silent    = `{"match":"exact","steps":[{"send":"x\r\n","expect":[],"then":"silent"}]}`
		orError   = `{"match":"exact","steps":[{"send":"x 1\r\n","expect":[],"then":"closed","or_error":true}]}`
		alt       = `{"match":"exact","steps":[{"send":"x 1\r\n","expect":["value 1 1\r\nd"],"alt":[{"expect":["result 301 2 1\r\n25"]}]}]}`
		unordered = `{"match":"exact","steps":[{"send":"x 1\r\n","unordered":true,"expect":["result 200 1 1\r\na","result 200 1 2\r\n${num}"]}]}`
		template  = `{"match":"template","steps":[{"send":"s 1\r\n","expect":["result 200 ${len} 1\r\nat ${broker} ${word} ${dec}\r\n${line}\r\n${lines:STAT [a-z]+ \\d+}END\r\n"]}]}`
		run       = `{"match":"exact","steps":[{"send":"x ${run} 1\r\n","expect":["result 200 6 1\r\n${run}"]}]}`
		sum       = `{"match":"exact","steps":[{"send":"x 1\r\n","expect":["result 200 2 1\r\n${num:n}"]},{"send":"y 1\r\n","expect":["result 200 2 1\r\n${=n+25}"]}]}`
		rep       = `{"match":"exact","steps":[{"send":"x 1\r\n","expect":["value 30 1\r\n${rep:a:30}"]}]}`
		noPing    = `{"match":"exact","no_ping":true,"steps":[{"send":"x 1\r\n","expect":["result 200 0 1\r\n"]}]}`
	)
	cases := []struct {
		name   string
		vector string
		broker fake
		want   string // what the error has to contain; "" = accepted
	}{
		{"right", putGet, fake{replies: []string{stored, value}}, ""},
		{"another byte of data", putGet, fake{replies: []string{stored, strings.Replace(value, "hello", "hellp", 1)}}, "response 1 differs"},
		{"another checksum", putGet, fake{replies: []string{stored, strings.Replace(value, "\xa6", "\xa7", 1)}}, "response 1 differs"},
		{"another id", putGet, fake{replies: []string{stored, strings.Replace(value, idSeven, "\x00\x00\x00\x00\x00\x00\x00\x08", 1)}}, "response 1 differs"},
		{"another flag", putGet, fake{replies: []string{stored, strings.Replace(value, "\x00\x00\x00\x00hello", "\x00\x00\x00\x01hello", 1)}}, "response 1 differs"},
		{"another opaque", putGet, fake{replies: []string{"result 200 5 8\r\n7 0 0"}}, "response 1 differs"},
		{"another offset", putGet, fake{replies: []string{"result 200 5 7\r\n7 0 1"}}, "response 1 differs"},
		{"one byte more in the body", putGet, fake{replies: []string{"result 200 6 7\r\n7 0 0 "}}, "response 1 differs"},
		{"an id that is no number", putGet, fake{replies: []string{"result 200 5 7\r\nx 0 0"}}, "response 1 differs"},
		{"half an answer", putGet, fake{replies: []string{"result 200 5 7\r\n7 0"}}, "no response, an unfinished one"},
		{"no answer", putGet, fake{replies: []string{""}}, "no response"},
		{"closed instead of an answer", putGet, fake{replies: []string{""}, close: true}, "connection closed"},
		{"an answer twice", putGet, fake{replies: []string{stored, value + value}}, "out of step"},
		{"out of step at the end", put + "]}", fake{replies: []string{stored, "result 200 3 7\r\n1.0"}}, "out of step"},
		{"not asked at the end", noPing, fake{replies: []string{"result 200 0 1\r\n", "result 500 0 7\r\n"}}, ""},

		{"another text where only the status counts", status, fake{replies: []string{"result 404 4 1\r\nelse"}}, ""},
		{"another status", status, fake{replies: []string{"result 403 4 1\r\nelse"}}, "response 1 differs"},
		{"another opaque where only the status counts", status, fake{replies: []string{"result 404 4 2\r\nelse"}}, "response 1 differs"},
		{"a value instead of a result", status, fake{replies: []string{"value 4 1\r\nelse"}}, "response 1 differs"},
		{"a line that is no response", status, fake{replies: []string{"\r\n"}}, "response 1 differs"},

		{"closed", closes, fake{replies: []string{""}, close: true}, ""},
		{"not closed", closes, fake{replies: []string{""}}, "was not closed"},
		{"an answer, then closed", closes, fake{replies: []string{"result 200 0 1\r\n"}, close: true}, "before the close"},

		{"silent", silent, fake{replies: []string{""}}, ""},
		{"not silent", silent, fake{replies: []string{"result 400 0 1\r\n"}}, "instead of silence"},
		{"closed instead of silent", silent, fake{replies: []string{""}, close: true}, "instead of silence"},

		{"an error where it is allowed", orError, fake{replies: []string{"result 400 2 1\r\nno"}}, ""},
		{"closed where an error is allowed", orError, fake{replies: []string{""}, close: true}, ""},
		{"an error, then closed", orError, fake{replies: []string{"result 500 2 1\r\nno"}, close: true}, ""},
		{"a success where only an error is allowed", orError, fake{replies: []string{"result 200 2 1\r\nok"}}, "before the close"},
		{"silence where an error is allowed", orError, fake{replies: []string{""}}, "was not closed"},

		{"the first outcome", alt, fake{replies: []string{"value 1 1\r\nd"}}, ""},
		{"the other outcome", alt, fake{replies: []string{"result 301 2 1\r\n25"}}, ""},
		{"neither outcome", alt, fake{replies: []string{"result 301 2 1\r\n24"}}, "response 1 differs"},

		{"in another order", unordered, fake{replies: []string{"result 200 1 2\r\n9result 200 1 1\r\na"}}, ""},
		{"the same one twice", unordered, fake{replies: []string{"result 200 1 1\r\naresult 200 1 1\r\na"}}, "response 2 differs"},
		{"one of two", unordered, fake{replies: []string{"result 200 1 2\r\n9"}}, "no response"},

		{"a template", template, fake{replies: []string{answer("at meta://h-1:8123 1.0-x 0.25\r\nany thing\r\nSTAT a 1\r\nSTAT bc 22\r\nEND\r\n")}}, ""},
		{"a line that fits no template", template, fake{replies: []string{answer("at meta://h:1 1.0-x 0.25\r\nany thing\r\nSTAT a 1\r\nSTAT bc xx\r\nEND\r\n")}}, "response 1 differs"},
		{"a name that is not of this run", run, fake{replies: []string{"result 200 6 1\r\n??????"}}, "response 1 differs"},
		{"a sum", sum, fake{replies: []string{"result 200 2 1\r\n30", "result 200 2 1\r\n55"}}, ""},
		{"a wrong sum", sum, fake{replies: []string{"result 200 2 1\r\n30", "result 200 2 1\r\n56"}}, "response 1 differs"},
		{"a repeated byte", rep, fake{replies: []string{"value 30 1\r\n" + strings.Repeat("a", 30)}}, ""},
		{"one of a repeated byte wrong", rep, fake{replies: []string{"value 30 1\r\n" + strings.Repeat("a", 29) + "b"}}, "response 1 differs"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checker := &Checker{Addr: c.broker.serve(t), Timeout: 300 * time.Millisecond, Silence: 100 * time.Millisecond, Closing: 300 * time.Millisecond}
			err := checker.Play(vectorOf(t, c.vector))
			if c.want == "" && err != nil {
				t.Fatalf("convicted: %v", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// A vector that cannot be read must not pass.
func TestUnreadableTokens(t *testing.T) {
	for _, text := range []string{"${nothing}", "${=unknown}", "${be8:unknown}", "${hex:0}", "${rep:ab:2}", "${rep:a:x}", "${rep:a:-1}", "Ā"} {
		if data, err := newNotation().build(text); err == nil {
			t.Errorf("built %q from %q", data, text)
		}
	}
	for _, text := range []string{"${nothing}", "${=unknown+1}", "${lines:(}", "${other:x}"} {
		if re, _, err := newNotation().pattern(text); err == nil {
			t.Errorf("pattern %q from %q", re, text)
		}
	}
	n := newNotation()
	n.numbers["a"] = 1
	if data, err := n.build("${be8:a:4:9}"); err == nil {
		t.Errorf("built %q from bytes 4 to 9 of 8", data)
	}
}
