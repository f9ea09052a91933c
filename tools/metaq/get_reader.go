package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
)

const (
	// readerGroup is what get calls itself when no --group was given; nothing is kept for it.
	readerGroup = "metaq-get"
	// fetchSize is what is asked for at a time; it grows when a single message is larger.
	fetchSize = 1 << 20
	// commitEvery bounds how much a killed get may print again.
	commitEvery = time.Second
	// commitTimeout bounds keeping the positions after an interrupt.
	commitTimeout = 5 * time.Second
)

// reader carries out one get: it fetches from the partitions, prints, and keeps the group's positions.
type reader struct {
	*app
	options *getOptions
	printer *printer
	conn    *client.Conn // for questions and commits
	group   string

	printed int64
	pending map[int32]int64 // positions that are printed but not committed
	kept    time.Time       // when positions were committed last
}

func newReader(a *app, o *getOptions) *reader {
	r := &reader{app: a, options: o, printer: newPrinter(a.out, o.output), group: o.group, pending: make(map[int32]int64)}
	if r.group == "" {
		r.group = readerGroup
	}
	return r
}

func (r *reader) close() {
	if r.conn != nil {
		r.conn.Close()
	}
}

func (r *reader) run(ctx context.Context) (err error) {
	if r.conn, err = r.dial(ctx); err != nil {
		return err
	}
	partitions := []int32{r.options.partition}
	if r.options.partition < 0 {
		if partitions, err = r.partitions(ctx, r.conn, r.options.topic); err != nil {
			return err
		}
		if err := r.tellClosed(ctx, len(partitions)); err != nil {
			return err
		}
	}
	if r.options.from.kind == atOffset && r.options.from.offset > 0 && len(partitions) > 1 {
		return usagef("--from %d is an offset of one partition, and %s has %d: add --partition", r.options.from.offset,
			r.options.topic, len(partitions))
	}
	// Whatever ends the reading: what was printed is flushed and its positions are kept, also after an interrupt.
	defer func() {
		keepCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		if keepErr := r.keep(keepCtx); err == nil {
			err = keepErr
		}
	}()
	if r.options.follow {
		return r.follow(ctx, partitions)
	}
	for _, partition := range partitions {
		if err := r.drain(ctx, partition); err != nil {
			return err
		}
		if r.full() {
			break
		}
	}
	if r.printed == 0 {
		return notFoundf("nothing to read in topic %s", r.options.topic)
	}
	return nil
}

// tellClosed warns of partitions that are left out: the broker lists only those that are open.
func (r *reader) tellClosed(ctx context.Context, open int) error {
	topics, err := r.conn.Topics(ctx)
	if err != nil {
		return fmt.Errorf("topics of %s: %w", r.broker, err)
	}
	for _, t := range topics {
		if t.Name == r.options.topic && t.Partitions > open {
			r.say("%d of %d partitions of %s are closed and not read", t.Partitions-open, t.Partitions, t.Name)
		}
	}
	return nil
}

// full tells whether -n messages have been printed.
func (r *reader) full() bool { return r.options.count > 0 && r.printed >= r.options.count }

// drain prints one partition up to the end it has now.
func (r *reader) drain(ctx context.Context, partition int32) error {
	c, err := r.begin(ctx, partition)
	if err != nil {
		return err
	}
	end, err := r.end(ctx, partition)
	if err != nil {
		return err
	}
	for c.offset < end && !r.full() {
		b, err := c.fetch(ctx, r.conn, -1)
		if err != nil {
			return err
		}
		if b.ended {
			return nil
		}
		if err := r.show(b, end); err != nil {
			return err
		}
		if time.Since(r.kept) > commitEvery {
			if err := r.keep(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin returns the cursor of a partition at the place to start.
func (r *reader) begin(ctx context.Context, partition int32) (*cursor, error) {
	c := &cursor{reader: r, partition: partition, size: fetchSize}
	if r.options.group != "" && !r.options.hasFrom {
		offset, err := r.conn.Committed(ctx, r.options.topic, protocol.Group(r.options.group), partition)
		switch {
		case err == nil:
			c.offset, c.exact = offset, true
			return c, nil
		case isBrokerNotFound(err):
			return c, nil // a new group begins at the beginning
		}
		return nil, fmt.Errorf("position of group %s in partition %d: %w", r.options.group, partition, err)
	}
	var err error
	switch r.options.from.kind {
	case atEarliest:
	case atOffset:
		c.offset, c.exact = r.options.from.offset, r.options.from.offset > 0
	case atLatest:
		c.offset, err = r.end(ctx, partition)
	case atTime:
		c.offset, err = r.conn.Seek(ctx, r.options.topic, partition, r.options.from.time)
		if isBrokerNotFound(err) {
			err = nil // nothing was ever stored there
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start in partition %d: %w", partition, err)
	}
	return c, nil
}

// end returns the end of a partition; one that was never written ends at 0.
func (r *reader) end(ctx context.Context, partition int32) (int64, error) {
	_, err := r.conn.Get(ctx, r.options.topic, r.group, partition, math.MaxInt64, 1, -1)
	var moved *client.MovedError
	switch {
	case errors.As(err, &moved):
		return moved.Offset, nil
	case isBrokerNotFound(err):
		return 0, nil
	case err == nil:
		return 0, fmt.Errorf("the broker has a message at the largest offset of partition %d", partition)
	}
	return 0, fmt.Errorf("end of partition %d: %w", partition, err)
}

// show prints the messages of a batch that begin before end, as far as -n allows.
func (r *reader) show(b batch, end int64) error {
	for _, m := range b.messages {
		if r.full() || m.offset >= end {
			return nil
		}
		if err := r.printer.print(m); err != nil {
			return err
		}
		r.printed++
		r.pending[b.partition] = m.next
	}
	return nil
}

// keep flushes what was printed, and then commits the group's positions.
func (r *reader) keep(ctx context.Context) error {
	if err := r.printer.flush(); err != nil {
		return err
	}
	r.kept = time.Now()
	if r.options.group == "" || r.options.noCommit {
		clear(r.pending)
		return nil
	}
	for partition, offset := range r.pending {
		if err := r.commit(ctx, partition, offset); err != nil {
			return fmt.Errorf("keep the position of group %s in partition %d: %w", r.options.group, partition, err)
		}
		delete(r.pending, partition)
	}
	return nil
}

// commit tells the broker how far the group is in one partition. The connection for it is mostly idle, and may have been lost
// long ago without anybody noticing: then it is made again.
func (r *reader) commit(ctx context.Context, partition int32, offset int64) error {
	group := protocol.Group(r.options.group)
	err := r.conn.Commit(ctx, r.options.topic, group, partition, offset)
	if !client.Retriable(err) {
		return err
	}
	conn, dialErr := r.dial(ctx)
	if dialErr != nil {
		return err
	}
	r.conn.Close()
	r.conn = conn
	return r.conn.Commit(ctx, r.options.topic, group, partition, offset)
}
