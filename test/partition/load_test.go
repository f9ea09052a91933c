package partition

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/wire"
)

const (
	partitions = 8
	letterSize = 200
	putEvery   = 2 * time.Millisecond
)

func queue(part int) wire.Queue { return wire.Queue{Topic: topicName, Partition: part} }

// writer puts messages to all partitions in turn, until stop is called.
type writer struct {
	run  *history.Run
	addr string
	quit chan struct{}
	done chan error

	mu   sync.Mutex
	ends [partitions]int64 // behind the last message that was acknowledged
	n    int64
}

func write(run *history.Run, addr string) *writer {
	w := &writer{run: run, addr: addr, quit: make(chan struct{}), done: make(chan error, 1)}
	go func() { w.done <- w.work() }()
	return w
}

func (w *writer) stop() error {
	close(w.quit)
	return <-w.done
}

func (w *writer) work() error {
	conn, err := wire.Dial(w.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	pace := time.NewTicker(putEvery)
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
		case <-w.quit:
			return nil
		}
		part := int(w.n % partitions)
		data := wire.Letter(queue(part), w.n, letterSize)
		e := history.Event{Proc: fmt.Sprintf("w%d", part), Type: history.Invoke, F: history.Put, Topic: topicName, Part: part, ID: fmt.Sprintf("w%d-%d", part, w.n), Len: len(data), CRC: sumOf(data), Level: history.Flushed, Attempt: 1}
		w.run.Add(e)
		receipts, err := conn.Put(queue(part), data)
		if err == nil && receipts[0].Code != 200 {
			err = fmt.Errorf("put: %d %s", receipts[0].Code, receipts[0].Text)
		}
		if err != nil {
			e.Type, e.Err = history.Info, err.Error()
			w.run.Add(e)
			return err // nothing is between the writer and the broker
		}
		e.Type, e.Off, e.MID, e.Status = history.OK, receipts[0].Offset, receipts[0].ID, 200
		w.run.Add(e)
		w.mu.Lock()
		w.ends[part] = e.Off + history.RecordHeader + int64(len(data))
		w.n++
		w.mu.Unlock()
	}
}

func (w *writer) written() [partitions]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ends
}

// span is a claim of a consumer.
type span struct {
	who      string
	claim    int
	from, to int64 // nanoseconds; to is 0 as long as it holds
}

// ledger is what the consumers have told.
type ledger struct {
	run *history.Run

	mu      sync.Mutex
	spans   [partitions][]*span
	seen    [partitions]int64 // behind the last message that was handed over
	handed  int
	again   int // of them, handed over before
	refused int // commits
}

// member is a consumer that runs.
type member struct {
	who   string // which of the consumers it is
	id    string // of this process
	cmd   *exec.Cmd
	in    io.Closer
	taken chan error
}

// listen runs a consumer and takes down what it tells. It ends with the test.
func (l *ledger) listen(t *testing.T, who, id string, line ...string) *member {
	t.Helper()
	m := &member{who: who, id: id, cmd: exec.Command(line[0], append(line[1:len(line):len(line)], id)...), taken: make(chan error, 1)}
	m.cmd.Stderr = t.Output()
	in, err := m.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.in = in
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { m.taken <- l.take(m, out) }()
	t.Cleanup(func() {
		if m.cmd.ProcessState == nil { // the test has failed before
			_ = m.cmd.Process.Kill() // it may have ended by itself
			_ = m.cmd.Wait()
		}
	})
	return m
}

// leave lets it leave the group.
func (m *member) leave(t *testing.T) {
	t.Helper()
	m.in.Close()
	if err := <-m.taken; err != nil {
		t.Errorf("%s: %v", m.id, err)
	}
	if err := m.cmd.Wait(); err != nil {
		t.Errorf("%s: %v", m.id, err)
	}
}

// kill ends it as kill -9 does. What it had counts as given up then.
func (l *ledger) kill(t *testing.T, m *member) {
	t.Helper()
	if err := m.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill %s: %v", m.id, err)
	}
	<-m.taken        // the line that it was writing may be half a line
	_ = m.cmd.Wait() // it was killed
	now := time.Now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, spans := range l.spans {
		for _, s := range spans {
			if s.who == m.who && s.claim > 0 && s.to == 0 {
				s.to = now
			}
		}
	}
}

func (l *ledger) take(m *member, out io.Reader) error {
	for d := json.NewDecoder(bufio.NewReader(out)); ; {
		var n note
		if err := d.Decode(&n); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		l.note(m, n)
	}
}

func (l *ledger) note(m *member, n note) {
	who := m.who
	l.mu.Lock()
	defer l.mu.Unlock()
	switch n.What {
	case acquired:
		l.spans[n.Part] = append(l.spans[n.Part], &span{who: who, claim: n.Claim, from: n.T})
	case released:
		for _, s := range l.spans[n.Part] {
			if s.who == who && s.claim == n.Claim && s.to == 0 {
				s.to = n.T
			}
		}
	case refused:
		l.refused++
	case handed:
		e := history.Event{Proc: fmt.Sprintf("%s-%d", m.id, n.Claim), Type: history.Invoke, F: history.Get, Topic: topicName, Part: n.Part, Group: groupName, Off: n.Off}
		l.run.Add(e)
		e.Type, e.Status, e.Got = history.OK, 200, n.Got
		l.run.Add(e)
		for _, m := range n.Got {
			l.handed++
			if m.Off < l.seen[n.Part] {
				l.again++
			}
			l.seen[n.Part] = max(l.seen[n.Part], m.Off+history.RecordHeader+int64(m.Len))
		}
		// Lines of other consumers may come later than this one, so who had the partition is looked at in the end.
		l.spans[n.Part] = append(l.spans[n.Part], &span{who: who, claim: -n.Claim, from: n.T, to: n.T})
	}
}

// owners is who has the partitions now.
func (l *ledger) owners() (list [partitions]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for part, spans := range l.spans {
		for _, s := range spans {
			if s.claim > 0 && s.to == 0 {
				list[part] = s.who
			}
		}
	}
	return list
}

// come is how far the group has come.
func (l *ledger) come() [partitions]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// double is how long two had a partition, all partitions together, and how often one handed over messages while another one had the partition. All
// consumers have ended.
func (l *ledger) double() (twice time.Duration, outside int) {
	for _, spans := range l.spans {
		for i, a := range spans {
			for _, b := range spans[i+1:] {
				if a.who == b.who {
					continue
				}
				both := min(a.to, b.to) - max(a.from, b.from)
				switch {
				case a.claim > 0 && b.claim > 0 && both > 0:
					twice += time.Duration(both)
				case (a.claim > 0) != (b.claim > 0) && both >= 0:
					outside++
				}
			}
		}
	}
	return twice, outside
}

// readAll reads all partitions to their ends, for the judge.
func readAll(t *testing.T, run *history.Run, addr string) {
	t.Helper()
	conn, err := wire.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for part := range partitions {
		e := history.Event{Proc: fmt.Sprintf("final%d", part), F: history.Final, Topic: topicName, Part: part}
		for e.Status != 404 {
			e.Type, e.Got = history.Invoke, nil
			run.Add(e)
			a, err := conn.Get(queue(part), e.Off, 1<<20)
			if err != nil || a.Code != 200 && a.Code != 404 {
				t.Fatalf("%s at %d: %s %v", queue(part), e.Off, a.Text(), err)
			}
			next := e.Off
			if a.Code == 200 {
				list, to, err := wire.Messages(e.Off, a.Body)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range list {
					e.Got = append(e.Got, judged(part, m))
				}
				next = to
			}
			e.Type, e.Status = history.OK, a.Code
			run.Add(e)
			e.Off = next
		}
	}
}

// statsSayRegistered reads the answer to `stats zk`.
func statsSayRegistered(text string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "registered true" {
			return true
		}
	}
	return false
}
