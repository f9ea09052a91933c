package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"time"
	"unicode/utf8"
)

// idEpoch is where the clock in message ids starts (protocol: milliseconds since 2011-04-27 09:14:20.503 UTC), and
// idTimeShift is how many bits of an id are not time.
const (
	idEpoch     = 1303895660503
	idTimeShift = 22
)

// message is one stored message as get prints it.
type message struct {
	topic     string
	broker    *int // of a cluster
	partition int32
	offset    int64
	next      int64 // offset behind it
	id        int64
	attribute string
	payload   []byte
}

// messageJSON is a line of -o json. A payload that is no UTF-8 text comes as data_base64.
type messageJSON struct {
	Topic     string  `json:"topic"`
	Broker    *int    `json:"broker,omitempty"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	ID        int64   `json:"id"`
	Time      string  `json:"time,omitempty"`
	Attribute string  `json:"attribute,omitempty"`
	Data      *string `json:"data,omitempty"`
	Base64    *string `json:"data_base64,omitempty"`
}

// printer writes messages in one of the formats of get.
type printer struct {
	out    *bufio.Writer
	format string
	json   *json.Encoder
	line   []byte
}

func newPrinter(w io.Writer, format string) *printer {
	out := bufio.NewWriterSize(w, 64<<10)
	p := &printer{out: out, format: format, json: json.NewEncoder(out)}
	// The output is for programs and people, not for the inside of a web page.
	p.json.SetEscapeHTML(false)
	return p
}

func (p *printer) print(m message) error {
	p.line = p.line[:0]
	switch p.format {
	case "json":
		return p.json.Encode(m.forJSON())
	case "hex":
		p.line = hex.AppendEncode(p.line, m.payload)
	default:
		p.line = append(p.line, m.payload...)
	}
	p.line = append(p.line, '\n')
	_, err := p.out.Write(p.line)
	return err
}

func (p *printer) flush() error { return p.out.Flush() }

func (m message) forJSON() messageJSON {
	j := messageJSON{Topic: m.topic, Broker: m.broker, Partition: m.partition, Offset: m.offset, ID: m.id, Attribute: m.attribute}
	if m.id > 0 {
		j.Time = time.UnixMilli(m.id>>idTimeShift + idEpoch).UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	j.Data, j.Base64 = jsonData(m.payload)
	return j
}

// jsonData is a payload as it is, or in base64 if it is no UTF-8 text.
func jsonData(payload []byte) (text, encoded *string) {
	s := string(payload)
	if utf8.ValidString(s) {
		return &s, nil
	}
	s = base64.StdEncoding.EncodeToString(payload)
	return nil, &s
}
