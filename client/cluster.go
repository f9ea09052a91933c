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
	conns  map[string]*Conn // by address
	closed bool
}

// openCluster takes the address of a broker, host:port, or of a cluster, see zkcoord.ParseClusterAddress. It connects to nothing yet; an error is about
// the address.
func openCluster(addr string, log *slog.Logger) (*cluster, error) {
	c := &cluster{conns: map[string]*Conn{}}
	if !strings.HasPrefix(addr, zkcoord.ClusterScheme) {
		c.alone = addr
		return c, nil
	}
	at, err := zkcoord.ParseClusterAddress(addr)
	if err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	if c.session, err = zkcoord.Connect(zkcoord.Config{Connect: at.Connect, Log: log}); err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	c.layout = at.Root
	c.directory = zkcoord.NewDirectory(c.session, at.Root)
	return c, nil
}

// conn is the connection to a broker, made anew if there is none that works.
func (c *cluster) conn(ctx context.Context, addr string) (*Conn, error) {
	c.mu.Lock()
	old := c.conns[addr]
	if old != nil && old.Err() == nil {
		c.mu.Unlock()
		return old, nil
	}
	delete(c.conns, addr)
	c.mu.Unlock()
	if old != nil {
		old.Close()
	}
	conn, err := Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	other := c.conns[addr]
	switch {
	case c.closed:
		conn.fail(ErrClosed)
		return nil, ErrClosed
	case other != nil && other.Err() == nil: // somebody else was as fast
		conn.fail(ErrClosed)
		return other, nil
	}
	c.conns[addr] = conn
	return conn, nil
}

// close ends all connections, and the session.
func (c *cluster) close() {
	c.mu.Lock()
	conns := c.conns
	c.conns, c.closed = nil, true
	c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
	if c.session != nil {
		c.session.Close()
	}
}
