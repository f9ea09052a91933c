package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
)

// keptSocket keeps what was written, each write for itself.
type keptSocket struct {
	nullSocket
	writes []string
}

func (s *keptSocket) Write(p []byte) (int, error) {
	s.writes = append(s.writes, string(p))
	return len(p), nil
}

// sharedLoop is an event loop that only the caller runs, with as many connections. asked counts how often it wanted to drain.
func sharedLoop(t testing.TB, connections int) (l *loop, conns []*conn, sockets []*keptSocket, asked *int) {
	t.Helper()
	first := looseConn(t)
	l = first.server.newLoop(0)
	asked = new(int)
	l.wake, l.shared = func() { *asked++ }, true
	for range connections {
		sock := &keptSocket{}
		c := &conn{server: first.server, sock: sock}
		l.add(c)
		conns, sockets = append(conns, c), append(sockets, sock)
	}
	return l, conns, sockets, asked
}

func TestLoop_PutsOfReadableConnectionsAreAppendedTogether(t *testing.T) {
	l, conns, sockets, asked := sharedLoop(t, 3)
	conns[0].feed([]byte("put t 0 1 0 1\r\naput t 0 1 0 2\r\nb"))
	conns[1].feed([]byte("put t 0 1 0 3\r\nc"))
	conns[0].feed([]byte("put t 0 1 0 4\r\nd"))
	for i, s := range sockets {
		if len(s.writes) > 0 {
			t.Fatalf("connection %d was answered before the puts were appended: %q", i, s.writes)
		}
	}
	if *asked != 1 {
		t.Fatalf("the loop was woken %d times for one batch", *asked)
	}
	l.drain()
	opaques := func(s *keptSocket) string {
		var list []string
		for b := []byte(strings.Join(s.writes, "")); len(b) > 0; {
			var r protocol.Response
			n, err := protocol.ParseResponse(b, 1<<20, &r)
			if err != nil || n == 0 || r.Status != protocol.StatusOK {
				t.Fatalf("answer %+v of %q: %v", r, b, err)
			}
			list, b = append(list, fmt.Sprint(r.Opaque)), b[n:]
		}
		return strings.Join(list, " ")
	}
	for i, want := range []string{"1 2 4", "3", ""} {
		if got := opaques(sockets[i]); got != want {
			t.Errorf("connection %d: answers %s, want %s; %q", i, got, want, sockets[i].writes)
		}
	}
	for i, c := range conns {
		if c.collected != 0 || c.waitingPuts != 0 {
			t.Errorf("connection %d still counts %d collected and %d waiting puts", i, c.collected, c.waitingPuts)
		}
	}
}

func TestLoop_ACommandComesBehindThePutsOfItsConnectionOnly(t *testing.T) {
	l, conns, sockets, _ := sharedLoop(t, 2)
	conns[0].feed([]byte("put t 0 1 0 1\r\na"))
	conns[1].feed([]byte("version 2\r\n"))
	if len(sockets[0].writes) > 0 || len(sockets[1].writes) != 1 {
		t.Fatalf("a command of another connection ended the batch: %q %q", sockets[0].writes, sockets[1].writes)
	}
	conns[0].feed([]byte("get t group 0 0 4096 3\r\n"))
	if len(sockets[0].writes) != 1 || !strings.HasPrefix(sockets[0].writes[0], "result 200 ") || !strings.Contains(sockets[0].writes[0], "value ") {
		t.Fatalf("want the put's answer, then the get's, in one write: %q", sockets[0].writes)
	}
	l.drain()
	if len(sockets[0].writes) != 1 {
		t.Errorf("answered twice: %q", sockets[0].writes[1:])
	}
}

func TestLoop_ALargeBatchDoesNotWait(t *testing.T) {
	_, conns, sockets, _ := sharedLoop(t, 2)
	conns[0].feed(pipelinedPuts(eagerSize/1024+1, 1024))
	if n := strings.Count(strings.Join(sockets[0].writes, ""), "result 200"); n != eagerSize/1024+1 {
		t.Errorf("%d puts answered", n)
	}
}

func TestLoop_ALoneConnectionDoesNotWait(t *testing.T) {
	_, conns, sockets, asked := sharedLoop(t, 1)
	conns[0].feed([]byte("put t 0 1 0 1\r\na"))
	if *asked != 0 || len(sockets[0].writes) != 1 {
		t.Errorf("woken %d times, answers %q", *asked, sockets[0].writes)
	}
}

func TestLoop_ClosedConnectionsPutsAreAppendedAllTheSame(t *testing.T) {
	l, conns, _, _ := sharedLoop(t, 2)
	conns[0].feed([]byte("put t 0 4 0 1\r\ngone"))
	if text := l.server.admission.enter(conns[0].remote); text != "" {
		t.Fatal(text)
	}
	conns[0].gone()
	l.drain()
	sock := &keptSocket{}
	reader := &conn{server: l.server, sock: sock}
	l.add(reader)
	reader.feed([]byte("get t group 0 0 4096 3\r\n"))
	if !strings.Contains(strings.Join(sock.writes, ""), "gone") {
		t.Errorf("the put was dropped: %q", sock.writes)
	}
}
