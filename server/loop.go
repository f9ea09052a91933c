package server

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

// task is something that another goroutine wants done on a loop.
type task interface{ run(l *loop) }

// dropped is called for a task that will not run because the loop has ended, from any goroutine.
func dropped(t task) {
	if holds, ok := t.(*jobDone); ok {
		holds.drop()
	}
}

// taskFunc is a function as a task.
type taskFunc func(l *loop)

func (f taskFunc) run(l *loop) { f(l) }

// loop is the one goroutine that may touch some connections: an event loop of gnet with thousands of them, or the goroutine of a
// single plain connection. What is not marked otherwise belongs to that goroutine.
type loop struct {
	server *Server
	counts *counters
	wake   func() // has drain called on the loop soon; called with mu held, so never after close
	shared bool   // it serves several connections

	mu     sync.Mutex
	tasks  []task // guarded by mu
	asked  bool   // drain is on its way; guarded by mu
	closed bool   // guarded by mu

	spare []task
	conns []*conn // every connection of the loop, at conn.slot
	sweep int     // where the next sweep goes on

	// One pass over the input of one connection. All of it is empty between passes.
	passing *conn
	request protocol.Request
	out     []byte    // answers that are ready
	began   time.Time // when the pass began
	join    []byte    // the rest of the last read and this one
	views   [][]byte  // of the log, while they are an answer
	gather  [][]byte  // what is written with one call

	// The puts that are collected. Those of all connections that an event loop finds readable at once are appended together.
	batch      store.Batch
	puts       []pendingPut // what the batch holds, in order
	tally      topicTally   // counts of puts that are not in their topic yet
	collecting time.Time    // when the first of them came
	answers    []byte       // to one connection, while they are made

	acks  []*ackWait // to be used again
	turns []*conn    // connections whose pass goes on later
	dirty []*conn    // connections whose due answers are written at the end of drain
}

func (s *Server) newLoop(shard int) *loop {
	return &loop{server: s, counts: &s.counts[shard%len(s.counts)]}
}

// post hands a task to the loop. It may be called from any goroutine and never blocks. After close the task is dropped.
func (l *loop) post(t task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		dropped(t)
		return
	}
	l.tasks = append(l.tasks, t)
	if !l.asked {
		l.asked = true
		l.wake()
	}
}

// commitSoon has the puts that were collected appended once all connections that are readable now have had their pass: that saves a
// write and a turn of the log's lock for each of them.
func (l *loop) commitSoon() {
	if len(l.puts) == 0 {
		return
	}
	if l.shared && len(l.conns) > 1 && l.batch.Size() < eagerSize && l.askDrain() {
		return
	}
	l.commit()
}

// eagerSize is when waiting for more puts gains nothing any more, in bytes of the batch: a write call is cheap beside that, and the
// processor's cache still holds it.
const eagerSize = 48 << 10

// commitCollected appends the puts that were collected, outside of a pass. A panic costs no more than these.
func (l *loop) commitCollected() {
	defer func() {
		if r := recover(); r != nil {
			l.counts.panics.Add(1)
			l.server.errorLog.Error().Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg("appending puts panicked")
			l.dropPuts(protocol.StatusError, internalError)
		}
	}()
	l.commit()
}

// askDrain has drain called soon; false if the loop is closed.
func (l *loop) askDrain() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && !l.asked {
		l.asked = true
		l.wake()
	}
	return !l.closed
}

// close makes the loop deaf: gnet's poller must not be woken once its descriptors may belong to somebody else.
func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, t := range l.tasks {
		dropped(t)
	}
	l.tasks = nil
}

// drain appends the puts that were collected, runs what was posted, then writes answers that became due, one write a connection.
func (l *loop) drain() {
	l.commitCollected()
	l.mu.Lock()
	tasks := l.tasks
	l.tasks, l.spare = l.spare[:0], nil
	l.asked = false
	l.mu.Unlock()
	for i, t := range tasks {
		t.run(l)
		tasks[i] = nil
	}
	l.spare = tasks[:0]
	n := min(len(l.dirty), drainWrites)
	for _, c := range l.dirty[:n] {
		c.writeDue()
	}
	l.dirty = slices.Delete(l.dirty, 0, n)
	if len(l.dirty) > 0 {
		l.askDrain()
	}
}

// drainWrites bounds the connections that one drain writes to. Peers that all wait for the same flush are answered in turns then: what the first
// ones send next is appended, and its flush begins, while the others get their answers. Otherwise disk and network would take turns.
const drainWrites = 4

// add makes a connection part of the loop.
func (l *loop) add(c *conn) {
	c.slot = len(l.conns)
	l.conns = append(l.conns, c)
	c.loop.Store(l)
}

// remove takes a connection out of the loop.
func (l *loop) remove(c *conn) {
	last := len(l.conns) - 1
	l.conns[c.slot] = l.conns[last]
	l.conns[c.slot].slot = c.slot
	l.conns[last] = nil
	l.conns = l.conns[:last]
}

// sweepSize bounds the connections that one tick looks at.
const sweepSize = 8192

// tick looks after timers: each connection is seen about once in sweepTicks ticks.
func (l *loop) tick(now time.Time) {
	n := min(len(l.conns)/sweepTicks+1, sweepSize, len(l.conns))
	for range n {
		if len(l.conns) == 0 {
			return
		}
		if l.sweep >= len(l.conns) {
			l.sweep = 0
		}
		c := l.conns[l.sweep]
		l.sweep++
		c.check(now)
	}
}

// ownerOf is the loop that a connection belongs to now. A connection moves at most once, from an event loop to a goroutine of its own.
type ownerOf struct{ atomic.Pointer[loop] }

// drainAll ends every connection of the loop in order.
func (l *loop) drainAll() {
	for _, c := range slices.Clone(l.conns) {
		c.drain()
	}
}

// closeAll ends every connection of the loop at once.
func (l *loop) closeAll() {
	for _, c := range slices.Clone(l.conns) {
		c.end("the broker stops")
	}
}
