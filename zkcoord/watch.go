package zkcoord

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// A Node is what a Watch has seen.
type Node struct {
	Exists   bool
	Data     []byte   // of WatchData
	Children []string // of WatchChildren, sorted
	Stat     Stat
}

// A Watch follows a node: its data, or its children. What it has seen last is at hand, also while there is no connection. Watches of the same
// node share what they ask of ZooKeeper.
type Watch struct {
	changed chan struct{}
	watcher *watcher
}

// Changed has one element when the node may have changed since somebody took it. Several changes may be one.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

func (w *Watch) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Node is what was seen last; known is false until something was seen. What it holds must not be changed.
func (w *Watch) Node() (n Node, known bool) {
	w.watcher.mu.Lock()
	defer w.watcher.mu.Unlock()
	return w.watcher.node, w.watcher.known
}

// Await waits until something was seen.
func (w *Watch) Await(ctx context.Context) (Node, error) {
	select {
	case <-w.watcher.first:
		n, _ := w.Node()
		return n, nil
	case <-w.watcher.session.quit:
		return Node{}, ErrClosed
	case <-ctx.Done():
		return Node{}, ctx.Err()
	}
}

// Close ends the watch. Changed says nothing more.
func (w *Watch) Close() {
	w.watcher.mu.Lock()
	defer w.watcher.mu.Unlock()
	w.watcher.watches = slices.DeleteFunc(w.watcher.watches, func(o *Watch) bool { return o == w })
}

// WatchData follows the data of a node that may be there or not.
func (s *Session) WatchData(path string) *Watch {
	return s.watch(watchKey{path, false}, make(chan struct{}, 1))
}

// WatchChildren follows the names of the nodes below one that may be there or not.
func (s *Session) WatchChildren(path string) *Watch {
	return s.watch(watchKey{path, true}, make(chan struct{}, 1))
}

type watchKey struct {
	path     string
	children bool
}

// watcher is what the Watches of a node share. The library keeps a watch until it fires, so a watcher nobody needs any more goes on until then.
type watcher struct {
	session *Session
	key     watchKey
	first   chan struct{} // closed when known

	mu      sync.Mutex
	watches []*Watch
	node    Node
	known   bool
}

// watch makes a Watch that tells its changes on a channel with room for one, which may be that of others too.
func (s *Session) watch(key watchKey, changed chan struct{}) *Watch {
	s.mu.Lock()
	r := s.watching[key]
	if r == nil {
		r = &watcher{session: s, key: key, first: make(chan struct{})}
		s.watching[key] = r
		if s.status.State != Closed {
			s.off.Go(r.run)
		}
	}
	w := &Watch{changed: changed, watcher: r}
	r.mu.Lock()
	r.watches = append(r.watches, w)
	if r.known {
		w.tell()
	}
	r.mu.Unlock()
	s.mu.Unlock()
	return w
}

// Pauses before something is tried again that failed.
const (
	firstPause = 50 * time.Millisecond
	mostPause  = 2 * time.Second
)

// lookAgain is how long after a connection was made again what was seen before is compared with what there is.
const lookAgain = 10 * time.Second

func (r *watcher) run() {
	pause, told := firstPause, ""
	for {
		connections := r.session.connections.Load()
		n, events, err := r.read()
		switch {
		case errors.Is(err, ErrClosed):
			return
		case err != nil:
			if reason := err.Error(); !errors.Is(err, ErrUnknown) && !errors.Is(err, context.DeadlineExceeded) && reason != told {
				told = reason // ZooKeeper has refused it
				r.session.log.Warn("zookeeper: a node cannot be followed; it is tried again", "error", err)
			}
			select {
			case <-time.After(pause):
			case <-r.session.quit:
				return
			}
			pause = min(2*pause, mostPause)
			continue
		}
		pause, told = firstPause, ""
		r.tell(n)
		if !r.await(n, events, connections) || r.unused() {
			return
		}
	}
}

// await waits until the node may be another one than n; false: until the session was closed. The event fires once, for a change or when the session is over. After an
// outage the library asks to be told of changes since the last one that it has seen, and takes that from where answers that come over the new connection move it: a
// change during the outage may be left out. So what there is is compared once more after each connection.
func (r *watcher) await(n Node, events <-chan zk.Event, connections int64) bool {
	every := r.session.config.lookAgain
	again := time.NewTimer(every)
	defer again.Stop()
	for {
		select {
		case <-events:
			return true
		case <-r.session.quit:
			return false
		case <-again.C:
		}
		if now := r.session.connections.Load(); now != connections {
			there, err := r.look()
			if err == nil && !r.same(n, there) {
				return true
			}
			if err == nil {
				connections = now
			}
		}
		again.Reset(every)
	}
}

// look looks at the node without being told of its changes. It has no data and no children.
func (r *watcher) look() (Node, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.session.Timeout())
	defer cancel()
	return call(ctx, r.session, "look at", r.key.path, func(c *zk.Conn, p string) (Node, error) {
		there, stat, err := c.Exists(p)
		if err != nil || !there {
			return Node{}, err
		}
		return Node{Exists: true, Stat: newStat(stat)}, nil
	})
}

// same tells whether nothing of what is followed has changed between two looks.
func (r *watcher) same(a, b Node) bool {
	if a.Exists != b.Exists || a.Stat.Created != b.Stat.Created {
		return false
	}
	if r.key.children {
		return a.Stat.Churn == b.Stat.Churn
	}
	return a.Stat.Version == b.Stat.Version
}

// unused takes the watcher away if nobody needs it.
func (r *watcher) unused() bool {
	r.session.mu.Lock()
	defer r.session.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.watches) > 0 {
		return false
	}
	delete(r.session.watching, r.key)
	return true
}

func (r *watcher) tell(n Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.node = n
	if !r.known {
		r.known = true
		close(r.first)
	}
	for _, w := range r.watches {
		w.tell()
	}
}

// read looks at the node and asks to be told of its next change.
func (r *watcher) read() (Node, <-chan zk.Event, error) {
	type seen struct {
		node   Node
		events <-chan zk.Event
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.session.Timeout())
	defer cancel()
	got, err := call(ctx, r.session, "watch", r.key.path, func(c *zk.Conn, p string) (seen, error) {
		for {
			n := Node{Exists: true}
			var stat *zk.Stat
			var events <-chan zk.Event
			var err error
			if r.key.children {
				n.Children, stat, events, err = c.ChildrenW(p)
				slices.Sort(n.Children)
			} else {
				n.Data, stat, events, err = c.GetW(p)
			}
			if err == nil {
				n.Stat = newStat(stat)
				return seen{n, events}, nil
			}
			if !errors.Is(err, zk.ErrNoNode) {
				return seen{}, err
			}
			there, _, events, err := c.ExistsW(p)
			if err != nil || !there {
				return seen{Node{}, events}, err
			} // it was made just now
		}
	})
	return got.node, got.events, err
}
