package zookeeper

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A Line is a way to a server that a test can cut or hold, while others reach the server.
type Line struct {
	Addr string // host:port that leads to the server

	target string
	listen net.Listener
	off    sync.WaitGroup

	mu     sync.Mutex
	change *sync.Cond
	held   [2]bool
	passed [2]int
	cut    bool
	pairs  map[*pair]bool
}

// Direction is one of a Line.
type Direction int

const (
	ToServer Direction = iota
	ToClient
)

// pair is a connection that comes through a Line.
type pair struct{ client, server net.Conn }

func (p *pair) close() {
	p.client.Close()
	p.server.Close()
}

// NewLine makes a Line to the server at an address. It ends with the test.
func NewLine(t testing.TB, target string) *Line {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Addr: listen.Addr().String(), target: target, listen: listen, pairs: map[*pair]bool{}}
	l.change = sync.NewCond(&l.mu)
	l.off.Go(l.accept)
	t.Cleanup(func() {
		listen.Close()
		l.mu.Lock()
		l.cut = true
		l.breakLocked()
		l.mu.Unlock()
		l.off.Wait()
	})
	return l
}

func (l *Line) accept() {
	for {
		client, err := l.listen.Accept()
		if err != nil {
			return
		}
		l.off.Go(func() { l.connect(client) })
	}
}

func (l *Line) connect(client net.Conn) {
	server, err := net.DialTimeout("tcp", l.target, askBound)
	if err != nil {
		client.Close()
		return
	}
	p := &pair{client, server}
	defer p.close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.pairs[p] = true
	l.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() { l.pass(p, ToClient, server, client) })
	l.pass(p, ToServer, client, server)
	back.Wait()
}

// pass passes on what comes in one direction.
func (l *Line) pass(p *pair, d Direction, from io.Reader, to io.Writer) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		for err == nil && l.held[d] && l.pairs[p] {
			l.change.Wait()
		}
		if err == nil && l.pairs[p] {
			l.passed[d]++
			l.mu.Unlock()
			if _, err = to.Write(buf[:n]); err == nil {
				continue
			}
			l.mu.Lock()
		}
		delete(l.pairs, p)
		l.mu.Unlock()
		l.change.Broadcast()
		p.close()
		return
	}
}

func (l *Line) breakLocked() {
	for p := range l.pairs {
		p.close()
	}
	clear(l.pairs)
	l.change.Broadcast()
}

// Cut breaks what is connected, and lets nobody connect.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	l.breakLocked()
}

// Mend lets clients connect again.
func (l *Line) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// Hold lets nothing through in some directions, without a word to anybody.
func (l *Line) Hold(directions ...Direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range directions {
		l.held[d] = true
	}
}

// Passed counts the pieces that have come through in one direction.
func (l *Line) Passed(d Direction) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed[d]
}
