package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/metaq/metaq/client"
)

const (
	// holdTime is how long the broker may hold a get that finds nothing.
	holdTime = 20 * time.Second
	// The pause before a lost connection is tried again starts short and doubles.
	retryFirst = 100 * time.Millisecond
	retryMost  = 3 * time.Second
)

// follow prints what is stored and then what comes, until -n messages were printed or ctx ends.
func (r *reader) follow(ctx context.Context, partitions []int32) error {
	cursors := make([]*cursor, len(partitions))
	for i, partition := range partitions {
		c, err := r.begin(ctx, partition)
		if err != nil {
			return err
		}
		cursors[i] = c
	}

	// Each partition has a connection of its own. Nothing is fetched ahead of the printing but one answer a partition.
	watchCtx, stop := context.WithCancel(ctx)
	batches, failed := make(chan batch), make(chan error, len(cursors))
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stop()
	for _, c := range cursors {
		watchers.Go(func() {
			if err := c.watch(watchCtx, batches); err != nil {
				failed <- err
			}
		})
	}

	keep := time.NewTicker(commitEvery)
	defer keep.Stop()
	for !r.full() {
		select {
		case b := <-batches:
			if err := r.show(b, math.MaxInt64); err != nil {
				return err
			}
			// A person watches: what has come is shown, whether or not more is on its way.
			if err := r.printer.flush(); err != nil {
				return err
			}
		case <-keep.C:
			// While the broker is away the positions stay pending; the cursors tell, and wait for it.
			if err := r.keep(ctx); err != nil && !client.Retriable(err) {
				return err
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// watch hands over what comes at the cursor until ctx ends. A lost connection is made again: whoever follows wants to
// see what comes after a restart of the broker too.
func (c *cursor) watch(ctx context.Context, batches chan<- batch) error {
	var conn *client.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	pause, told := retryFirst, false
	for ctx.Err() == nil {
		var (
			b   batch
			err error
		)
		if conn == nil {
			conn, err = c.reader.dial(ctx)
		}
		if err == nil {
			b, err = c.fetch(ctx, conn, holdTime)
		}
		switch {
		case err == nil:
			if told {
				c.reader.say("partition %d: connected again", c.partition)
			}
			pause, told = retryFirst, false
			if b.ended {
				continue
			}
			select {
			case batches <- b:
			case <-ctx.Done():
			}
		case ctx.Err() != nil:
		case conn != nil && !client.Retriable(err):
			return err
		default:
			if conn != nil {
				conn.Close()
				conn = nil
			}
			if !told {
				c.reader.say("%v: trying again", err)
				told = true
			}
			if err := sleep(ctx, pause); err != nil {
				return nil
			}
			pause = min(2*pause, retryMost)
		}
	}
	return nil
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait: %w", ctx.Err())
	}
}
