package server

import (
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

// job is a command that may block. run appends its answer to a buffer, on a worker, but for the views of the log that it ends with. What it needs from
// another machine is waited for by await, if that is set, on a goroutine of its own, so that the workers are there for the others.
type job struct {
	opaque int32
	await  func()
	run    func(buf []byte) ([]byte, *store.Held)
}

// enqueue has a command run on a worker, which appends its answer to a buffer.
func (c *conn) enqueue(l *loop, opaque int32, run func(buf []byte) []byte) {
	c.enqueueJob(l, job{opaque: opaque, run: func(buf []byte) ([]byte, *store.Held) { return run(buf), nil }})
}

// enqueueJob has a job run. The jobs of a connection run one after the other, so a connection holds at most one answer in memory
// that the loop has not seen, and one connection cannot keep all workers busy.
func (c *conn) enqueueJob(l *loop, j job) {
	if !c.mayWait(j.opaque) {
		return
	}
	c.waiting++
	c.jobs = append(c.jobs, j)
	c.startJob()
}

// startJob gives the next job to the workers, unless the peer has enough to read.
func (c *conn) startJob() {
	switch {
	case c.closed || c.working || len(c.jobs) == 0:
	case c.congested():
		c.retryLater()
	default:
		c.working = true
		next := c.jobs[0]
		if c.jobs = c.jobs[1:]; len(c.jobs) == 0 {
			c.jobs = nil
		}
		if next.await == nil {
			c.server.workers.submit(c, next)
			return
		}
		go func() {
			next.await()
			c.server.workers.submit(c, next)
		}()
	}
}

// workerPool runs jobs. Its queue holds at most one job a connection, so the bound on connections is its bound.
type workerPool struct {
	server *Server
	mu     sync.Mutex
	ready  *sync.Cond
	queue  []queuedJob // guarded by mu
	closed bool        // guarded by mu
	done   sync.WaitGroup
	buffer sync.Pool // of *[]byte
}

type queuedJob struct {
	conn *conn
	job  job
}

func newWorkerPool(s *Server) *workerPool {
	w := &workerPool{server: s, buffer: sync.Pool{New: func() any { return new([]byte) }}}
	w.ready = sync.NewCond(&w.mu)
	return w
}

func (w *workerPool) start() {
	for range workers {
		w.done.Go(w.work)
	}
}

// stop waits for the jobs that are running. What is queued is dropped: its connections are gone.
func (w *workerPool) stop() {
	w.mu.Lock()
	w.closed = true
	w.queue = nil
	w.ready.Broadcast()
	w.mu.Unlock()
	w.done.Wait()
}

func (w *workerPool) submit(c *conn, j job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.queue = append(w.queue, queuedJob{c, j})
		w.ready.Signal()
	}
}

// next waits for a job; false after stop.
func (w *workerPool) next() (q queuedJob, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && !w.closed {
		w.ready.Wait()
	}
	if w.closed {
		return q, false
	}
	q = w.queue[0]
	w.queue[0] = queuedJob{}
	w.queue = w.queue[1:]
	return q, true
}

func (w *workerPool) work() {
	for {
		q, ok := w.next()
		if !ok {
			return
		}
		buf := w.buffer.Get().(*[]byte)
		done := &jobDone{conn: q.conn, opaque: q.job.opaque, answer: buf}
		*buf, done.held = w.run(q.job, (*buf)[:0])
		q.conn.loop.Load().post(done)
	}
}

// run runs one job. A panic is answered, and costs only this command.
func (w *workerPool) run(j job, buf []byte) (out []byte, held *store.Held) {
	defer func() {
		if r := recover(); r != nil {
			w.server.counts[0].panics.Add(1)
			w.server.errorLog.Error().Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg("a command panicked on a worker")
			out, held = protocol.AppendResult(buf[:0], protocol.StatusError, j.opaque, internalError), nil
		}
	}()
	return j.run(buf)
}

// jobDone brings the answer of a job to the loop.
type jobDone struct {
	conn   *conn
	opaque int32
	answer *[]byte
	held   *store.Held // the rest of the answer
}

// drop is called instead of run when the loop has ended.
func (d *jobDone) drop() {
	if d.held != nil {
		d.held.Release()
	}
}

func (d *jobDone) run(l *loop) {
	c := d.conn
	if now := c.loop.Load(); now != l {
		now.post(d)
		return
	}
	c.working = false
	c.waiting--
	if d.held != nil {
		c.sendHeld(l, d.opaque, *d.answer, d.held)
	} else {
		c.sendLate(*d.answer)
	}
	if cap(*d.answer) <= maxScratch {
		l.server.workers.buffer.Put(d.answer)
	}
	c.startJob()
}
