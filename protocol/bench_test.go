package protocol

import "testing"

func benchmarkParse(b *testing.B, in []byte) {
	var r Request
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := limits.Parse(in, &r); n != len(in) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkParsePut(b *testing.B) {
	benchmarkParse(b, AppendPut(nil, "topic", 0, 0, make([]byte, 1024), 1))
}

func BenchmarkParseGet(b *testing.B) {
	benchmarkParse(b, AppendGet(nil, "topic", "group", 0, 123456789, 1<<20, -1, 1))
}

func BenchmarkParseVersion(b *testing.B) { benchmarkParse(b, AppendVersion(nil, 1)) }

func BenchmarkParseResponse(b *testing.B) {
	in := AppendPutResult(nil, 1, 1<<60, 3, 123456789)
	var r Response
	b.ReportAllocs()
	for b.Loop() {
		if n, err := ParseResponse(in, 1<<20, &r); n != len(in) || err != nil {
			b.Fatal(n, err)
		}
		if _, _, _, err := ParsePutResult(r.Body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPutResult(b *testing.B) {
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendPutResult(dst[:0], 1, 1<<60, 3, 123456789)
	}
}

func BenchmarkAppendPut(b *testing.B) {
	body := make([]byte, 1024)
	var dst []byte
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendPut(dst[:0], "topic", 0, 0, body, 1)
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	data := make([]byte, 1024)
	var dst []byte
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendMessage(dst[:0], 1, 0, data)
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	in := AppendMessage(nil, 1, 0, make([]byte, 1024))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, size, err := DecodeMessage(in); size != len(in) || err != nil {
			b.Fatal(size, err)
		}
	}
}
