package history

import (
	"fmt"
	"time"
)

// A Header is the first line of a history.
type Header struct {
	Test    string `json:"test"`
	Seed    uint64 `json:"seed"`
	Commit  string `json:"commit,omitempty"`  // of the source, if it is known
	Go      string `json:"go,omitempty"`      // version of the toolchain
	Machine string `json:"machine,omitempty"` // system, architecture, processors, kernel
	Config  string `json:"config,omitempty"`  // SHA-256 of the broker's configuration

	// Window is how long before a power cut a put at level L0 can have been acknowledged and be lost all the same. 0: nothing may be lost.
	Window time.Duration `json:"window,omitempty"`
	// Expires names the topics with a retention: what is before the first offset of their final read has expired.
	Expires []string `json:"expires,omitempty"`
}

// What an event says about its operation.
const (
	Invoke = "invoke"
	OK     = "ok"
	Fail   = "fail"
	Info   = "info"
)

// The operations.
const (
	Put      = "put"      // of one message
	Get      = "get"      // by a reader that follows; ok with the messages, or with status 301 and where to go on
	Final    = "final"    // like Get, after the last fault: ok with status 404 says that it has come to the end
	End      = "end"      // asks for the readable end of a partition
	Commit   = "commit"   // of a group's offset
	Position = "position" // asks for the committed offset of a group; status 404: there is none
	Nemesis  = "nemesis"  // invoke: a fault begins, ok: it is healed
	Phase    = "phase"    // a remark
)

// The levels of an acknowledgement.
const (
	Accepted = "L0" // survives the death of the process
	Flushed  = "L1" // survives a power cut
)

// PowerCut is the ID of the nemesis event after which unflushed data are gone.
const PowerCut = "power cut"

// An Event is one line.
type Event struct {
	T       int64     `json:"t"` // nanoseconds since the beginning of the run, monotonic
	Proc    string    `json:"proc"`
	Type    string    `json:"type"`
	F       string    `json:"f"`
	Topic   string    `json:"topic,omitempty"`
	Part    int       `json:"part,omitempty"`
	ID      string    `json:"id,omitempty"`    // of a message: PROC-NUMBER, numbers rising; of a nemesis: the fault
	Group   string    `json:"group,omitempty"` // of readers, commits and positions
	Len     int       `json:"len,omitempty"`   // of the data of a message
	CRC     string    `json:"crc,omitempty"`   // CRC-32 of the data, hexadecimal
	Off     int64     `json:"off"`             // put ok: where it is stored; get: where it begins; end, commit, position: the value
	To      int64     `json:"to,omitempty"`    // get with status 301: where to go on
	MID     int64     `json:"mid,omitempty"`   // the message id that the broker gave
	Status  int       `json:"status,omitempty"`
	Level   string    `json:"level,omitempty"`
	Attempt int       `json:"attempt,omitempty"` // of a put: 1, or more when the same message is sent again
	Node    string    `json:"node,omitempty"`
	Epoch   int       `json:"epoch,omitempty"`
	Err     string    `json:"err,omitempty"`
	Got     []Message `json:"got,omitempty"` // whole messages, in the order of the answer
}

// A Message is one that was read.
type Message struct {
	Off int64  `json:"off"`
	ID  string `json:"id"` // as its data say; "" if they say none
	MID int64  `json:"mid"`
	Len int    `json:"len"`
	CRC string `json:"crc"`
	Bad string `json:"bad,omitempty"` // what is wrong with it by itself: checksum, flag, body
}

// RecordHeader is what the broker stores before the data of a message, in bytes. An offset counts it.
const RecordHeader = 20

func (m Message) end() int64 { return m.Off + RecordHeader + int64(m.Len) }

// partition names a partition.
type partition struct {
	topic string
	part  int
}

func (p partition) String() string { return fmt.Sprintf("%s-%d", p.topic, p.part) }

func (e Event) partition() partition { return partition{e.Topic, e.Part} }
