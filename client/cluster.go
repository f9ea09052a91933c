package client

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/metaq/metaq/zkcoord"
)

// A cluster is where a producer or a consumer finds its brokers: all that register in a ZooKeeper, or one that stands alone. It keeps one connection
// to each broker, for everything that its owner does there.
type cluster struct {
	alone     string // host:port of the only broker; "" if there is a directory
	session   *zkcoord.Session
	layout    zkcoord.Layout
	directory *zkcoord.Directory

	mu     sync.Mutex
	ways   map[string]*way // by address
	closed bool
}

// way is how a broker is reached.
type way struct {
	dialing chan struct{} // of capacity 1: many want the connection at once, and one makes it
	conn    *Conn         // under cluster.mu
}

// openCluster takes the address of a broker, host:port, or of a cluster, see zkcoord.ParseClusterAddress. It connects to nothing yet; an error is about
// the address or the options.
func openCluster(addr string, z ZooKeeper, log *slog.Logger) (*cluster, error) {
	c := &cluster{ways: map[string]*way{}}
	if !strings.HasPrefix(addr, zkcoord.ClusterScheme) {
		c.alone = addr
		return c, nil
	}
	at, err := zkcoord.ParseClusterAddress(addr)
	if err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	config, err := z.over(at)
	if err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	config.Log = log
	if c.session, err = zkcoord.Connect(config); err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	c.layout = at.Root
	c.directory = zkcoord.NewDirectory(c.session, at.Root)
	return c, nil
}

// conn is the connection to a broker, made anew if there is none that works.
func (c *cluster) conn(ctx context.Context, addr string) (*Conn, error) {
	w, conn, err := c.way(addr)
	if conn != nil || err != nil {
		return conn, err
	}
	select {
	case w.dialing <- struct{}{}:
		defer func() { <-w.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if _, conn, err := c.way(addr); conn != nil || err != nil {
		return conn, err // somebody else has made it
	}
	conn, err = Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	old := w.conn
	if !c.closed {
		w.conn = conn
	} else {
		old = conn
	}
	c.mu.Unlock()
	if old != nil {
		old.Close()
	}
	if old == conn {
		return nil, ErrClosed
	}
	return conn, nil
}

// way finds how a broker is reached, and the connection if there is one that works.
func (c *cluster) way(addr string) (*way, *Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, ErrClosed
	}
	w := c.ways[addr]
	if w == nil {
		w = &way{dialing: make(chan struct{}, 1)}
		c.ways[addr] = w
	}
	if w.conn != nil && w.conn.Err() == nil {
		return w, w.conn, nil
	}
	return w, nil, nil
}

// close ends all connections, and the session.
func (c *cluster) close() {
	c.mu.Lock()
	ways := c.ways
	c.ways, c.closed = nil, true
	c.mu.Unlock()
	for _, w := range ways {
		if w.conn != nil {
			w.conn.Close()
		}
	}
	if c.session != nil {
		c.session.Close()
	}
}
