package zkcoord

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"
)

// Stat is what ZooKeeper knows of a node besides its data.
type Stat struct {
	Version  int32 // of the data
	Created  int64 // number of the transaction that made it: another node of the same name has another
	Owner    int64 // session of an ephemeral node; 0: a persistent one
	Modified time.Time
	Children int
}

func newStat(z *zk.Stat) Stat {
	return Stat{Version: z.Version, Created: z.Czxid, Owner: z.EphemeralOwner, Modified: time.UnixMilli(z.Mtime), Children: int(z.NumChildren)}
}

// Kind of a node.
type Kind int32

const (
	// Persistent nodes stay.
	Persistent Kind = 0
	// Ephemeral nodes go with the session.
	Ephemeral Kind = zk.FlagEphemeral
)

// requestsAtOnce is how many requests of one job are under way at a time.
const requestsAtOnce = 64

// eachAtOnce does something with all items side by side, and tells the first error.
func eachAtOnce[T any](items []T, do func(T) error) error {
	var work errgroup.Group
	work.SetLimit(requestsAtOnce)
	for _, item := range items {
		work.Go(func() error { return do(item) })
	}
	return work.Wait()
}

// call does a request under a context. The library's requests know none, so a late answer is dropped. It waits for a connection first.
func call[T any](ctx context.Context, s *Session, what, path string, do func(*zk.Conn, string) (T, error)) (T, error) {
	var none T
	if err := s.Await(ctx); err != nil {
		return none, fmt.Errorf("%s %s: %w", what, path, err)
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	conn := s.library()
	go func() {
		v, err := do(conn, s.chroot+path)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		switch {
		case a.err == nil:
			return a.value, nil
		case errors.Is(a.err, zk.ErrConnectionClosed), errors.Is(a.err, zk.ErrSessionExpired), errors.Is(a.err, zk.ErrNoServer), errors.Is(a.err, zk.ErrClosing):
			if status, _ := s.Status(); status.State == Closed {
				return none, ErrClosed
			}
			return none, fmt.Errorf("%s %s: %w: %w", what, path, ErrUnknown, a.err)
		}
		return none, fmt.Errorf("%s %s: %w", what, path, a.err)
	case <-s.quit:
		return none, ErrClosed
	case <-ctx.Done():
		return none, fmt.Errorf("%s %s: %w: %w", what, path, ErrUnknown, ctx.Err())
	}
}

// Get reads a node. The bytes are the caller's.
func (s *Session) Get(ctx context.Context, path string) (data []byte, stat Stat, err error) {
	type node struct {
		data []byte
		stat Stat
	}
	n, err := call(ctx, s, "get", path, func(c *zk.Conn, p string) (node, error) {
		data, stat, err := c.Get(p)
		if err != nil {
			return node{}, err
		}
		return node{data, newStat(stat)}, nil
	})
	return n.data, n.stat, err
}

// Children lists the names of the nodes below one, in no order.
func (s *Session) Children(ctx context.Context, path string) ([]string, error) {
	return call(ctx, s, "list", path, func(c *zk.Conn, p string) ([]string, error) {
		names, _, err := c.Children(p)
		return names, err
	})
}

// Create makes a node, and as persistent ones those above it that are missing.
func (s *Session) Create(ctx context.Context, path string, data []byte, kind Kind) error {
	for {
		_, err := call(ctx, s, "create", path, func(c *zk.Conn, p string) (string, error) {
			return c.Create(p, data, int32(kind), zk.WorldACL(zk.PermAll))
		})
		if !errors.Is(err, ErrNoNode) {
			return err
		}
		if err := s.makeParents(ctx, path); err != nil {
			return err
		}
	}
}

// makeParents makes the nodes above one, the chroot's too.
func (s *Session) makeParents(ctx context.Context, of string) error {
	parent := path.Dir(s.chroot + of)
	if parent == "/" {
		return fmt.Errorf("create %s: %w", of, ErrNoNode)
	}
	return s.createAt(ctx, parent)
}

// createAt makes an empty persistent node with a path that has the chroot in it, and those above.
func (s *Session) createAt(ctx context.Context, full string) error {
	create := func() error {
		_, err := call(ctx, s, "create", full, func(c *zk.Conn, _ string) (string, error) {
			return c.Create(full, nil, int32(Persistent), zk.WorldACL(zk.PermAll))
		})
		if errors.Is(err, ErrNodeExists) {
			return nil
		}
		return err
	}
	err := create()
	if !errors.Is(err, ErrNoNode) || path.Dir(full) == "/" {
		return err
	}
	if err := s.createAt(ctx, path.Dir(full)); err != nil {
		return err
	}
	return create()
}

// Set changes the data of a node that has this version, and returns its next one.
func (s *Session) Set(ctx context.Context, path string, data []byte, version int32) (next int32, err error) {
	return call(ctx, s, "set", path, func(c *zk.Conn, p string) (int32, error) {
		stat, err := c.Set(p, data, version)
		if err != nil {
			return 0, err
		}
		return stat.Version, nil
	})
}

// A Change is what SetAll does to a node that has a version.
type Change struct {
	Path    string
	Data    []byte
	Version int32
}

// SetAll changes several nodes at once, all of them or none. ErrBadVersion or ErrNoNode: one of them is not as expected.
func (s *Session) SetAll(ctx context.Context, changes []Change) error {
	_, err := call(ctx, s, "set", fmt.Sprintf("%d nodes", len(changes)), func(c *zk.Conn, _ string) (struct{}, error) {
		ops := make([]any, len(changes))
		for i, n := range changes {
			ops[i] = &zk.SetDataRequest{Path: s.chroot + n.Path, Data: n.Data, Version: n.Version}
		}
		_, err := c.Multi(ops...)
		return struct{}{}, err
	})
	return err
}

// Delete removes a node that has this version. That there is none is ErrNoNode.
func (s *Session) Delete(ctx context.Context, path string, version int32) error {
	_, err := call(ctx, s, "delete", path, func(c *zk.Conn, p string) (struct{}, error) {
		return struct{}{}, c.Delete(p, version)
	})
	return err
}
