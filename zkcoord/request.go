package zkcoord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
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
	Churn    int32 // how often a child was made or removed
}

func newStat(z *zk.Stat) Stat {
	return Stat{Version: z.Version, Created: z.Czxid, Owner: z.EphemeralOwner, Modified: time.UnixMilli(z.Mtime), Children: int(z.NumChildren), Churn: z.Cversion}
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
	if err := cmp.Or(ctx.Err(), s.Await(ctx)); err != nil {
		return none, fmt.Errorf("%s %s: %w", what, path, err) // nothing was sent
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

// refused tells an answer that is about one node and stays the same: those who look after ZooKeeper have closed it, or it is ephemeral and another one was to be
// made below it. What was asked for together with it may be done without it.
func refused(err error) bool {
	return errors.Is(err, zk.ErrNoAuth) || errors.Is(err, zk.ErrNoChildrenForEphemerals)
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

// counted does a request that makes ephemeral nodes, unless they would be too many for the session.
func (s *Session) counted(ctx context.Context, ephemeral []string, request func() error) error {
	if s.Await(ctx) != nil {
		return request() // it says why
	}
	status, _ := s.Status()
	entered, err := s.ephemerals.enter(status.ID, ephemeral...)
	if err != nil {
		return err
	}
	err = request()
	if err != nil && !errors.Is(err, ErrUnknown) {
		s.ephemerals.leave(entered...)
	}
	return err
}

// Create makes a node, and as persistent ones those above it that are missing.
func (s *Session) Create(ctx context.Context, path string, data []byte, kind Kind) error {
	if kind != Ephemeral {
		return s.create(ctx, path, data, kind)
	}
	return s.counted(ctx, []string{s.chroot + path}, func() error { return s.create(ctx, path, data, kind) })
}

func (s *Session) create(ctx context.Context, path string, data []byte, kind Kind) error {
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

// A NewNode is one that CreateAll makes.
type NewNode struct {
	Path string
	Data []byte
	Kind Kind
}

// CreateAll makes several nodes with one request, all of them or none, and as persistent ones those above them that are missing. ErrNodeExists: one of
// them is there. See inRequests for how many may be one request.
func (s *Session) CreateAll(ctx context.Context, nodes []NewNode) error {
	ops, parents := make([]any, len(nodes)), make([]string, len(nodes))
	var ephemeral []string
	for i, n := range nodes {
		full := s.chroot + n.Path
		ops[i] = &zk.CreateRequest{Path: full, Data: n.Data, Acl: zk.WorldACL(zk.PermAll), Flags: int32(n.Kind)}
		parents[i] = path.Dir(full)
		if n.Kind == Ephemeral {
			ephemeral = append(ephemeral, full)
		}
	}
	return s.counted(ctx, ephemeral, func() error {
		for {
			err := s.multi(ctx, "create", ops)
			if !errors.Is(err, ErrNoNode) {
				return err
			}
			if err := s.makeAt(ctx, parents); err != nil {
				return err
			}
		}
	})
}

// DeleteAll removes several nodes that have these versions with one request, all of them or none.
func (s *Session) DeleteAll(ctx context.Context, nodes []Change) error {
	ops := make([]any, len(nodes))
	for i, n := range nodes {
		ops[i] = &zk.DeleteRequest{Path: s.chroot + n.Path, Version: n.Version}
	}
	if err := s.multi(ctx, "delete", ops); err != nil {
		return err
	}
	for _, n := range nodes {
		s.ephemerals.leave(s.chroot + n.Path)
	}
	return nil
}

// multi does several operations with one request.
func (s *Session) multi(ctx context.Context, what string, ops []any) error {
	_, err := call(ctx, s, what, fmt.Sprintf("%d nodes", len(ops)), func(c *zk.Conn, _ string) (struct{}, error) {
		_, err := c.Multi(ops...)
		return struct{}{}, err
	})
	return err
}

// Bounds of one request for several nodes: far below maxPacket, and short enough that others are served in between.
const (
	nodesPerRequest = 250
	bytesPerRequest = 128 << 10
)

// inRequests parts what is to be done with several nodes into requests. size is about what a node takes of one.
func inRequests[T any](items []T, size func(T) int) (chunks [][]T) {
	begin, bytes := 0, 0
	for i, item := range items {
		n := size(item)
		if i > begin && (i-begin == nodesPerRequest || bytes+n > bytesPerRequest) {
			chunks = append(chunks, items[begin:i])
			begin, bytes = i, 0
		}
		bytes += n
	}
	if begin < len(items) {
		chunks = append(chunks, items[begin:])
	}
	return chunks
}

// makeParents makes the nodes above one, the chroot's too.
func (s *Session) makeParents(ctx context.Context, of string) error {
	return s.makeAt(ctx, []string{path.Dir(s.chroot + of)})
}

// makeAt makes empty persistent nodes with paths that have the chroot in them, and those above, as far as they are missing. Others may do the same.
func (s *Session) makeAt(ctx context.Context, fulls []string) error {
	slices.Sort(fulls)
	fulls = slices.Compact(fulls)
	if len(fulls) == 0 || fulls[0] == "/" {
		return fmt.Errorf("create /: %w", ErrNoNode) // it is always there
	}
	for _, chunk := range inRequests(fulls, func(full string) int { return len(full) }) {
		if err := s.makeTogether(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) makeTogether(ctx context.Context, fulls []string) error {
	for len(fulls) > 0 {
		ops, above := make([]any, len(fulls)), make([]string, len(fulls))
		for i, full := range fulls {
			ops[i] = &zk.CreateRequest{Path: full, Acl: zk.WorldACL(zk.PermAll), Flags: int32(Persistent)}
			above[i] = path.Dir(full)
		}
		err := s.multi(ctx, "create", ops)
		switch {
		case errors.Is(err, ErrNoNode):
			err = s.makeAt(ctx, above)
		case errors.Is(err, ErrNodeExists):
			fulls, err = s.missing(ctx, fulls)
		case err == nil:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// missing are those of some paths, which have the chroot in them, that are not there.
func (s *Session) missing(ctx context.Context, fulls []string) ([]string, error) {
	var mu sync.Mutex
	var list []string
	err := eachAtOnce(fulls, func(full string) error {
		there, err := call(ctx, s, "look at", full, func(c *zk.Conn, _ string) (bool, error) {
			there, _, err := c.Exists(full)
			return there, err
		})
		if err == nil && !there {
			mu.Lock()
			defer mu.Unlock()
			list = append(list, full)
		}
		return err
	})
	return list, err
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

// A Change is what SetAll does to a node that has a version, and DeleteAll, for which the data mean nothing.
type Change struct {
	Path    string
	Data    []byte
	Version int32
}

// SetAll changes several nodes at once, all of them or none. ErrBadVersion or ErrNoNode: one of them is not as expected.
func (s *Session) SetAll(ctx context.Context, changes []Change) error {
	ops := make([]any, len(changes))
	for i, n := range changes {
		ops[i] = &zk.SetDataRequest{Path: s.chroot + n.Path, Data: n.Data, Version: n.Version}
	}
	return s.multi(ctx, "set", ops)
}

// Delete removes a node that has this version. That there is none is ErrNoNode.
func (s *Session) Delete(ctx context.Context, path string, version int32) error {
	_, err := call(ctx, s, "delete", path, func(c *zk.Conn, p string) (struct{}, error) {
		return struct{}{}, c.Delete(p, version)
	})
	if err == nil || errors.Is(err, ErrNoNode) {
		s.ephemerals.leave(s.chroot + path)
	}
	return err
}
