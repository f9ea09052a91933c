package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/metaq/metaq/zkcoord"
)

// errLater says that something may be known a little later.
var errLater = errors.New("metaq: not known yet")

// Commit keeps how far the group has come, in the store of WithOffsetStore, in ZooKeeper or on the broker, what has changed only. It waits until that is
// done. Nothing is kept of partitions that may be another consumer's by now.
func (c *Consumer) Commit(ctx context.Context) error {
	c.mu.Lock()
	readers := slices.Collect(maps.Values(c.readers))
	c.mu.Unlock()
	return c.commit(ctx, readers)
}

func (c *Consumer) commitOften() {
	tick := time.NewTicker(c.options.commitEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			if err := c.Commit(c.ctx); err != nil && c.ctx.Err() == nil {
				c.options.log.Warn("offsets are not committed", "error", err)
			}
		}
	}
}

// commit keeps the positions of readers.
func (c *Consumer) commit(ctx context.Context, readers []*reader) error {
	select {
	case c.committing <- struct{}{}:
		defer func() { <-c.committing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	todo := map[OffsetKey]zkcoord.Offset{}
	c.mu.Lock()
	for _, r := range readers {
		if r.changed && r.claim.Valid() {
			todo[r.key()] = r.position
		}
	}
	c.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	err := c.offsets.Save(ctx, todo)
	var moved *zkcoord.MovedError
	if err != nil && !errors.As(err, &moved) {
		return c.offsetsError(ctx, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range readers {
		saved, was := todo[r.key()]
		r.stored = r.stored || was
		switch {
		case !was:
		case moved != nil && slices.Contains(moved.Partitions, r.claim.place):
			// It goes on where it was told to by whoever changed the offset.
			c.options.log.Warn("somebody else has changed the offset", "group", c.group, "partition", r.claim.place)
			r.changed = false
			if !r.released && r.claim.Valid() {
				c.endLocked(r)
				c.beginLocked(r.claim)
			}
		case saved == r.position:
			r.changed = false
		}
	}
	return nil
}

// load asks the store where the group goes on in the partition of a reader. What the store does not know and this consumer does, because it has been there
// before, is saved anew: an offset that got lost does not let the group begin again.
func (c *Consumer) load(r *reader) (zkcoord.Offset, bool, error) {
	kept, ok, err := c.offsets.Load(r.ctx, r.key())
	if err != nil {
		if c.options.offsets != nil && r.ctx.Err() == nil {
			c.options.log.Warn("the offset is not loaded", "partition", r.claim.place, "error", err)
		}
		return zkcoord.Offset{}, false, c.offsetsError(r.ctx, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.stored = ok
	if !ok {
		kept, ok = c.been[r.claim.place]
		r.changed = ok
	}
	if !ok {
		if s, isShare := c.assignment.(*share); isShare && c.options.offsets == nil && s.othersMayRestoreLocked(r) {
			return zkcoord.Offset{}, false, errLater
		}
		return zkcoord.Offset{}, false, nil
	}
	r.position, r.known = kept, true
	return kept, true, nil
}

// offsetsError marks an error of a store of offsets, unless the caller had enough. Those of a broker that stands alone are like any other of it.
func (c *Consumer) offsetsError(ctx context.Context, err error) error {
	if c.options.offsets == nil && c.cluster.directory == nil || ctx.Err() != nil {
		return err
	}
	return &offsetStoreError{err}
}
