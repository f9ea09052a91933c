package protocol

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestParseResponse(t *testing.T) {
	in := AppendPutResult(nil, -7, 1234567, 3, 25)
	in = AppendResult(in, StatusNotFound, 8, "Could not find message at position 0")
	in = append(AppendValueHeader(in, 5, 9), "bytes"...)
	for i := range in {
		// An answer that is cut anywhere asks for more.
		var r Response
		rest, n := in[:i], 1
		for n > 0 && len(rest) > 0 {
			var err error
			if n, err = ParseResponse(rest, 100, &r); err != nil {
				t.Fatalf("cut at %d: %v", i, err)
			}
			rest = rest[n:]
		}
	}
	var r Response
	n, err := ParseResponse(in, 100, &r)
	if err != nil || r.Status != StatusOK || r.Opaque != -7 || string(r.Body) != "1234567 3 25" {
		t.Fatalf("%+v %v", r, err)
	}
	if id, partition, offset, err := ParsePutResult(r.Body); id != 1234567 || partition != 3 || offset != 25 || err != nil {
		t.Fatal(id, partition, offset, err)
	}
	in = in[n:]
	n, err = ParseResponse(in, 100, &r)
	if err != nil || r.Status != StatusNotFound || r.Opaque != 8 || string(r.Body) != "Could not find message at position 0" {
		t.Fatalf("%+v %v", r, err)
	}
	n, err = ParseResponse(in[n:], 100, &r)
	if err != nil || !r.Value || r.Opaque != 9 || string(r.Body) != "bytes" || n != len("value 5 9\r\nbytes") {
		t.Fatalf("%+v %v", r, err)
	}
	for _, bad := range []string{"HTTP/1.1 200 OK\r\n", "value x 1\r\n", "result 200 5\r\n", "result 200 -1 1\r\n", "value 101 1\r\n", "\r\n", "value 9999999999999 1\r\n", "result 200 5 2147483648\r\n", "result 99 5 1\r\n", "value 5 1 1\r\n",
		strings.Repeat("x", 128)} {
		if _, err := ParseResponse([]byte(bad), 100, &r); !errors.Is(err, ErrResponse) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte("result 200 5 1\r\nhello"))
	f.Add([]byte("value 2 1\r\nab"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var r Response
		n, err := ParseResponse(in, 1<<20, &r)
		if n < 0 || n > len(in) || err != nil && n != 0 {
			t.Fatalf("%q: %d, %v", in, n, err)
		}
		if n > 0 {
			again := AppendResultBytes(nil, r.Status, r.Opaque, r.Body)
			if r.Value {
				again = append(AppendValueHeader(nil, len(r.Body), r.Opaque), r.Body...)
			}
			var s Response
			if m, err := ParseResponse(again, 1<<20, &s); m != len(again) || err != nil || s.Value != r.Value || s.Status != r.Status || s.Opaque != r.Opaque || !bytes.Equal(s.Body, r.Body) {
				t.Fatalf("%q became %q: %d, %v", in, again, m, err)
			}
			if m, err := ParseResponse(bytes.Clone(in[:n]), 1<<20, &s); m != n || err != nil {
				t.Fatalf("%q cut at its end: %d, %v", in, m, err)
			}
		}
		if id, partition, offset, err := ParsePutResult(in); err == nil {
			again := AppendPutResult(nil, 1, id, partition, offset)
			if _, err := ParseResponse(again, 1<<20, &r); err != nil {
				t.Fatalf("%q: %v", again, err)
			}
			if i, p, o, err := ParsePutResult(r.Body); i != id || p != partition || o != offset || err != nil {
				t.Fatalf("%q became %q", in, r.Body)
			}
		}
	})
}
