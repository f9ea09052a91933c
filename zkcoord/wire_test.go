package zkcoord

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// zkFrame is a frame with a number and a few bytes.
func zkFrame(xid int32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 20)
	return append(binary.BigEndian.AppendUint32(b, uint32(xid)), make([]byte, 16)...)
}

// A server has heard of us when we sent what it answers, however late the answer is read, and not when it says something by itself.
func TestHeardConn_AnAnswerIsAsOldAsItsRequest(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	var now time.Duration
	var heard []time.Duration
	c := &heardConn{Conn: near, clock: func() time.Duration { return now }, heard: func(at time.Duration) { heard = append(heard, at) }, granted: func(time.Duration) {}}
	buf := make([]byte, 24)
	send := func(at time.Duration, xid int32) {
		t.Helper()
		now = at
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(far, make([]byte, 24))
			read <- err
		}()
		if _, err := c.Write(zkFrame(xid)); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
	}
	come := func(at time.Duration, xid int32, want string) {
		t.Helper()
		now, heard = at, nil
		written := make(chan error, 1)
		go func() {
			_, err := far.Write(zkFrame(xid))
			written <- err
		}()
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(heard) != want {
			t.Errorf("number %d, read at %s: heard at %v, want %s", xid, at, heard, want)
		}
	}
	const ping = -2
	send(1*time.Second, 0) // the greeting, and its answer
	come(2*time.Second, 0, "[]")
	send(3*time.Second, 1)
	send(4*time.Second, ping)
	send(5*time.Second, 2)
	come(60*time.Second, eventXid, "[]")
	come(61*time.Second, 1, "[3s]")
	come(62*time.Second, eventXid, "[]")
	send(63*time.Second, ping)
	come(64*time.Second, ping, "[4s]")
	come(65*time.Second, 2, "[5s]")
	come(66*time.Second, ping, "[1m3s]")
	come(67*time.Second, ping, "[]") // nobody has asked
}

// Sessions spread over the servers of an ensemble, and each goes through all of them before it pauses.
func TestRotation_BeginsAnywhere(t *testing.T) {
	servers := []string{"a:1", "b:1", "c:1"}
	first := map[string]int{}
	for range 300 {
		var r rotation
		must(t, r.Init(servers))
		var round []string
		for i := range servers {
			server, pause := r.Next()
			if pause {
				t.Fatalf("it pauses after %d of %d servers", i, len(servers))
			}
			round = append(round, server)
		}
		first[round[0]]++
		if !sameSet(round, servers) {
			t.Fatalf("a round is %q", round)
		}
		if again, pause := r.Next(); again != round[0] || !pause {
			t.Fatalf("after a round it goes on with %s, pause %v", again, pause)
		}
	}
	for _, s := range servers {
		if first[s] < 50 {
			t.Errorf("%d of 300 began with %s, want about 100", first[s], s)
		}
	}
}
