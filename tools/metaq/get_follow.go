package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

const (
	// holdTime is how long the broker may hold a get that finds nothing.
	holdTime = 20 * time.Second
	// The pause before a lost connection is tried again starts short and doubles.
	retryFirst = 100 * time.Millisecond
	retryMost  = 3 * time.Second
)

// follow prints what is stored and then what comes, until -n messages were printed or ctx ends.
func (r *reader) follow(ctx context.Context, partitions []zkcoord.Partition) error {
	var cursors []*cursor
	for _, partition := range partitions {
		c := r.newCursor(partition)
		cursors = append(cursors, c)
		if r.away[partition.Broker] {
			c.late, c.unasked = true, true
			continue
		}
		conn, err := r.connTo(ctx, partition)
		if err != nil {
			return err
		}
		if err := c.begin(ctx, conn); err != nil {
			return err
		}
	}

	// Each partition has a connection of its own. Nothing is fetched ahead of the printing but one answer a partition.
	watchCtx, stop := context.WithCancel(ctx)
	batches, failed := make(chan batch), make(chan error)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stop()
	watch := func(c *cursor) {
		watchers.Go(func() {
			err := c.watch(watchCtx, batches)
			if err == nil {
				return
			}
			select {
			case failed <- err:
			case <-watchCtx.Done():
			}
		})
	}
	for _, c := range cursors {
		watch(c)
	}

	var topic *zkcoord.FollowedTopic
	if r.cluster != nil && r.options.partition == nil {
		topic = r.cluster.directory.Follow(zkcoord.UseSubscribe, r.options.topic)
		defer topic.Close()
	}
	var changed <-chan struct{} // of a cluster
	keep := time.NewTicker(commitEvery)
	defer keep.Stop()
	for !r.full() {
		if topic != nil {
			var offers []zkcoord.Offer
			offers, _, changed = topic.Offers()
			for _, p := range masterPartitions(offers) {
				if !r.known[p] {
					r.known[p] = true
					r.say("partition %s is new", p)
					c := r.newCursor(p)
					c.late, c.unasked = true, true
					watch(c)
				}
			}
		}
		select {
		case <-changed:
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
	pause, told := retryFirst, c.reader.away[c.partition.Broker]
	for ctx.Err() == nil {
		var (
			b   batch
			err error
		)
		if conn == nil {
			conn, err = c.reader.dialTo(ctx, c.partition)
		}
		if err == nil && c.late {
			err = c.begin(ctx, conn)
			c.late = err != nil
		}
		if err == nil {
			wait := holdTime
			if told {
				wait = -1 // so that it can be told soon
			}
			b, err = c.fetch(ctx, conn, wait)
		}
		switch {
		case err == nil:
			if told {
				c.reader.say("partition %s: connected again", c.name())
			}
			pause, told, c.unasked = retryFirst, false, false
			if b.ended {
				continue
			}
			select {
			case batches <- b:
			case <-ctx.Done():
			}
		case ctx.Err() != nil:
		case c.unasked && brokerStatus(err) == protocol.StatusForbidden:
			c.reader.say("partition %s is closed and not read", c.name())
			return nil
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
