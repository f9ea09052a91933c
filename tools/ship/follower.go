//go:build linux

package ship

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	leastPoll = 50 * time.Millisecond // how often open files are looked at,
	mostPoll  = time.Second
	leastScan = 500 * time.Millisecond // and how often files are looked for
	mostScan  = 30 * time.Second
	// restFactor times as long as a look has taken nothing is looked at again, so that many files cost no more than a part of a processor.
	restFactor = 20

	handedBlocks = 2 // that wait for the goroutine that sends
)

// follower follows the files of an input. Everything but what is named below belongs to the goroutine of run.
type follower struct {
	agent *Agent
	input *Input
	log   *slog.Logger
	since time.Time // when the input was first looked at, in this life or an earlier one
	first bool      // it is being looked at for the first time

	streams map[string]*stream
	known   map[identity]*file
	orphans []*file // of which there is no file any more, but there may be a copy
	passed  map[identity]passed
	flying  int // blocks on their way
	queue   []*stream
	open    int     // files
	crowded []*file // that are to be opened when others can be closed
	full    bool    // no other can be, as of the last poll

	scanAt, pollAt time.Time
	troubles       map[string]error // by path: what the last look could not look at
	complained     map[string]bool  // what the log has said of a path already

	blocks chan *block // to send
	wake   chan struct{}
	asks   chan func()
	ended  chan struct{}
	counts counts

	unshipped []error // with Once, after the end: what could not be read

	changes uint64 // of what a checkpoint says

	mu     sync.Mutex
	landed []*block
}

// passed is what was looked at and is not read: a copy of what is still there, or, with an error, a compressed file that is not complete.
type passed struct {
	look
	err error
}

func newFollower(a *Agent, in *Input) *follower {
	return &follower{
		agent: a, input: in, log: a.log.With("input", in.Name),
		streams: map[string]*stream{}, known: map[identity]*file{}, passed: map[identity]passed{}, troubles: map[string]error{}, complained: map[string]bool{},
		blocks: make(chan *block, handedBlocks), wake: make(chan struct{}, 1), asks: make(chan func()), ended: make(chan struct{}),
	}
}

// ask runs a function on the goroutine of the follower, or after that has ended.
func (f *follower) ask(fn func()) {
	done := make(chan struct{})
	select {
	case f.asks <- func() { fn(); close(done) }:
		<-done
	case <-f.ended:
		fn()
	}
}

func (f *follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run looks for files, and from start on follows them, until ctx ends and everything on its way is acknowledged, or hard ends. With Once it ends when nothing is
// left.
func (f *follower) run(ctx, hard context.Context, start <-chan struct{}) {
	defer close(f.ended)
	defer close(f.blocks)
	defer f.closeFiles()
	f.scan(time.Now())
	for started := false; !started; {
		select {
		case ask := <-f.asks:
			ask()
		case <-start:
			started = true
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		f.takeLanded()
		now := time.Now()
		stopping := ctx.Err() != nil
		if hard.Err() != nil || stopping && f.flying == 0 {
			return
		}
		if !stopping {
			f.lookAround(now)
			if f.agent.config.Once && f.nothingLeft() {
				f.unshipped = f.troubled()
				return
			}
		}
		if !stopping && f.shipNext(now) {
			select {
			case ask := <-f.asks:
				ask()
			default:
			}
			continue
		}
		timer.Reset(time.Until(f.pollAt))
		var stop <-chan struct{}
		if !stopping {
			stop = ctx.Done()
		}
		select {
		case <-f.wake:
		case <-timer.C:
			if stopping { // there is no poll that would set it
				f.pollAt = now.Add(leastPoll)
			}
		case ask := <-f.asks:
			ask()
		case <-stop:
		case <-hard.Done():
		}
	}
}

// lookAround looks for files, and at files, when it is time.
func (f *follower) lookAround(now time.Time) {
	if !now.Before(f.scanAt) {
		f.poll(now) // a file that was truncated is known for that before copies are looked at
		f.scan(now)
		took := time.Since(now)
		f.scanAt = now.Add(took + min(max(took*restFactor, leastScan), mostScan))
		f.pollAt = now
	}
	if !now.Before(f.pollAt) {
		f.poll(now)
		took := time.Since(now)
		f.pollAt = now.Add(took + min(max(took*restFactor, leastPoll), mostPoll))
	}
}

// enqueue lets a stream take its turn.
func (f *follower) enqueue(s *stream) {
	if !s.queued {
		s.queued = true
		f.queue = append(f.queue, s)
	}
}

// shipNext hands a block of the stream whose turn it is to the goroutine that sends. false: there is nothing to do until something happens.
func (f *follower) shipNext(now time.Time) bool {
	if len(f.blocks) == cap(f.blocks) {
		return false
	}
	for len(f.queue) > 0 {
		s := f.queue[0]
		if fl := s.current(); fl != nil && f.takesTurn(s, fl, now) {
			switch f.ship(s, fl) {
			case shipped:
				f.queue = append(f.queue[1:], s) // the others come first
				return true
			case noRoom:
				return false // it keeps its turn
			}
			continue // there may be another file of the stream
		}
		f.queue = f.queue[1:]
		s.queued = false
	}
	return false
}

// takesTurn says whether a stream may send. One that may not is queued again by what it waits for.
func (f *follower) takesTurn(s *stream, fl *file, now time.Time) bool {
	switch {
	case s.failed, now.Before(s.retryAt):
		return false
	case s.blocks > 0 && (f.input.Order == OrderStrict || fl.next < fl.alone):
		return false
	case s.blocks >= maxBlocks || s.held >= maxHeld:
		return false
	}
	return true
}

// takeLanded sees to the blocks that are answered.
func (f *follower) takeLanded() {
	f.mu.Lock()
	landed := f.landed
	f.landed = nil
	f.mu.Unlock()
	for _, b := range landed {
		f.land(b)
	}
}

func (f *follower) land(b *block) {
	fl, s := b.file, b.file.stream
	b.landed = true
	if b.failure.Load() != nil && b.lines == 1 {
		b.refused = slices.Clone(b.bodies[0])
	}
	f.agent.budget.give(b.cost)
	recycle(b)
	f.flying--
	s.blocks--
	s.held -= b.cost
	if failure := b.failure.Load(); failure != nil {
		s.failed = true
		f.counts.failed.Add(1)
		if s.reason != (*failure).Error() {
			s.reason = (*failure).Error()
			f.log.Warn("the broker did not take lines: they are sent again", "file", fl.path, "from", b.from, "error", s.reason)
		}
	}
	messages, bytes := fl.messages, fl.bytes
	if fl.advance() {
		f.changes++
		f.counts.messages.Add(fl.messages - messages)
		f.counts.bytes.Add(fl.bytes - bytes)
		if !s.failed {
			s.pause, s.reason = 0, ""
		}
	}
	if s.failed && s.blocks == 0 {
		f.again(s)
	}
	f.enqueue(s)
}

const (
	leastPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
)

// again goes back to what has failed, of a stream of which nothing is on its way.
func (f *follower) again(s *stream) {
	s.failed = false
	s.pause = min(max(2*s.pause, leastPause), mostPause)
	for _, fl := range f.orphans {
		if fl.stream == s {
			fl.blocks = nil
			fl.resetTo(fl.acked, fl.ackedAfter) // if its content is found elsewhere
		}
	}
	for _, fl := range s.files {
		if len(fl.blocks) == 0 {
			continue
		}
		b := fl.blocks[0]
		failure := *b.failure.Load()
		switch {
		case refusedForGood(failure) && b.lines == 1:
			if err := f.agent.refused.add(f.input, fl.path, b.from, b.refused, failure); err != nil {
				f.log.Error("a line that the broker refuses cannot be set aside: the file waits", "file", fl.path, "at", b.from, "error", err)
				break
			}
			f.log.Warn("a line that the broker refuses was set aside", "file", fl.path, "at", b.from, "in", f.agent.refused.path, "error", failure)
			f.counts.refused.Add(1)
			b.failure.Store(nil)
			fl.advance()
			f.changes++
			s.pause = 0
		case refusedForGood(failure):
			fl.alone = max(fl.alone, fl.blocks[len(fl.blocks)-1].to)
			s.pause = 0
		}
		fl.blocks = nil
		fl.resetTo(fl.acked, fl.ackedAfter)
	}
	s.retryAt = time.Now().Add(s.pause) // a poll queues it again
}

// nothingLeft says that everything that was there when it was looked for, and can be read, is acknowledged.
func (f *follower) nothingLeft() bool {
	if f.flying > 0 {
		return false
	}
	for _, s := range f.streams {
		for _, fl := range s.files {
			// One that is not open waits for room, or was renamed meanwhile.
			if !fl.done() && (fl.err == nil || passing(fl.err)) {
				return false
			}
		}
	}
	return true
}

// troubled tells of each file that could not be looked at or read.
func (f *follower) troubled() (list []error) {
	for path, err := range f.troubles {
		list = append(list, fmt.Errorf("%s: %w", path, err))
	}
	for _, s := range f.streams {
		for _, fl := range s.files {
			if fl.err != nil && fl.err != errUnnamed && f.trouble(fl.path) == nil {
				list = append(list, fmt.Errorf("%s: %w", fl.path, fl.err))
			}
		}
	}
	return list
}

func (f *follower) closeFiles() {
	for _, s := range f.streams {
		for _, fl := range s.files {
			fl.close()
		}
	}
	for _, fl := range f.orphans {
		fl.close()
	}
}

// forget drops a file, of which nothing is on its way.
func (f *follower) forget(fl *file) {
	fl.close()
	s := fl.stream
	s.files = slices.DeleteFunc(s.files, func(x *file) bool { return x == fl })
	if f.known[fl.id] == fl {
		delete(f.known, fl.id)
	}
	f.changes++
}

// passing says that a file was renamed or removed between two looks.
func passing(err error) bool { return errors.Is(err, errRenamed) || errors.Is(err, fs.ErrNotExist) }

// mostComplaints bounds what is remembered of that.
const mostComplaints = 10_000

// suffer notes why something cannot be followed.
func (f *follower) suffer(path, what string, err error) {
	if !passing(err) {
		f.troubles[path] = err
	}
	f.complain(path, what, err)
}

// complain logs something of a path once. What was renamed or removed between two looks is no news: it is looked for again.
func (f *follower) complain(path, what string, err error) {
	if passing(err) {
		f.scanAt = time.Time{}
		return
	}
	if len(f.complained) > mostComplaints {
		clear(f.complained)
	}
	if !f.complained[path] {
		f.complained[path] = true
		f.log.Warn(what, "file", path, "error", err)
	}
}
