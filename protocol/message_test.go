package protocol

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

// The worked examples of the format.
func TestMessage_Examples(t *testing.T) {
	for _, c := range []struct {
		data string
		flag int32
		hex  string
	}{
		{"hello", 0, "000000053610a686000000000012d6870000000068656c6c6f"},
		{"a", 0, "0000000168b7be43000000000012d6870000000061"},
		{"", 0, "0000000000000000000000000012d68700000000"},
		{"\x00\x00\x00\x03abchello", 1, "0000000c3c622b2c000000000012d687000000010000000361626368656c6c6f"},
	} {
		got := AppendMessage(nil, 1234567, c.flag, []byte(c.data))
		if hex.EncodeToString(got) != c.hex {
			t.Errorf("%q: %x, want %s", c.data, got, c.hex)
		}
		m, size, err := DecodeMessage(append(got, "more"...))
		if err != nil || size != len(got) || m.ID != 1234567 || m.Flag != c.flag || string(m.Data) != c.data {
			t.Errorf("%q: decoded %+v, %d, %v", c.data, m, size, err)
		}
		for i := range got {
			if _, size, err := DecodeMessage(got[:i]); size != 0 || err != nil {
				t.Errorf("%q cut at %d: %d, %v", c.data, i, size, err)
			}
		}
	}
	m := Message{Flag: 1, Data: AppendAttribute(nil, "abc", []byte("hello"))}
	if attribute, payload, err := m.Attribute(); err != nil || string(attribute) != "abc" || string(payload) != "hello" {
		t.Errorf("attribute %q, payload %q, %v", attribute, payload, err)
	}
	if _, _, err := (Message{Flag: 1, Data: []byte{0, 0, 0, 9, 'x'}}).Attribute(); err == nil {
		t.Error("an attribute that is longer than the data is accepted")
	}
}

func TestDecodeMessage_Damage(t *testing.T) {
	b := AppendMessage(nil, 1, 0, []byte("hello"))
	b[len(b)-1] ^= 1
	if _, size, err := DecodeMessage(b); size != len(b) || !errors.Is(err, ErrChecksum) {
		t.Errorf("a changed byte: %d, %v", size, err)
	}
	b[0] = 0x80
	if _, size, err := DecodeMessage(b); size != 0 || !errors.Is(err, ErrLength) {
		t.Errorf("a negative length: %d, %v", size, err)
	}
	b[0] = 0x7f
	if _, size, err := DecodeMessage(b); size != 0 || err != nil {
		t.Errorf("a length of 2 GB: %d, %v", size, err)
	}
	if n := MessageSize(b); n != 0x7f000000+5+RecordHeader {
		t.Errorf("its size is %d", n)
	}
}

func FuzzMessageDecode(f *testing.F) {
	f.Add(AppendMessage(nil, 1, 1, AppendAttribute(nil, "abc", []byte("hello"))))
	f.Add(make([]byte, 20))
	f.Add([]byte("\xff\xff\xff\xff0000000000000000"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, size, err := DecodeMessage(in)
		if size < 0 || size > len(in) || err != nil && !errors.Is(err, ErrChecksum) && !errors.Is(err, ErrLength) {
			t.Fatalf("%x: size %d, %v", in, size, err)
		}
		if size == 0 || err != nil {
			return
		}
		if again := AppendMessage(nil, m.ID, m.Flag, m.Data); !bytes.Equal(again[:4], in[:4]) || !bytes.Equal(again[8:], in[8:size]) {
			t.Fatalf("%x became %x", in[:size], again)
		}
		if attribute, payload, err := m.Attribute(); err == nil && m.Flag&FlagAttribute != 0 &&
			!bytes.Equal(AppendAttribute(nil, string(attribute), payload), m.Data) {
			t.Fatalf("%x: attribute %x, payload %x", m.Data, attribute, payload)
		}
	})
}
