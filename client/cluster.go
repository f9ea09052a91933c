package client

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"

	"github.com/metaq/metaq/zkcoord"
)

// clusterScheme begins the address of a cluster; anything else is host:port of a broker that stands alone.
const clusterScheme = "zk://"

// A cluster is where a producer or a consumer finds its brokers: all that register in a ZooKeeper, or one that stands alone. It keeps one connection
// to each broker, for everything that its owner does there.
type cluster struct {
	alone     string // host:port of the only broker; "" if there is a directory
	session   *zkcoord.Session
	directory *zkcoord.Directory

	mu     sync.Mutex
	conns  map[string]*Conn // by address
	closed bool
}

// openCluster takes the address of a broker, host:port, or of a cluster, zk://host:2181,host:2181[/chroot][?root=/meta]. It connects to nothing yet;
// an error is about the address.
func openCluster(addr string, log *slog.Logger) (*cluster, error) {
	c := &cluster{conns: map[string]*Conn{}}
	connect, root, isCluster, err := parseCluster(addr)
	if err != nil {
		return nil, err
	}
	if !isCluster {
		c.alone = addr
		return c, nil
	}
	if c.session, err = zkcoord.Connect(zkcoord.Config{Connect: connect, Log: log}); err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	c.directory = zkcoord.NewDirectory(c.session, root)
	return c, nil
}

// parseCluster reads the address of a cluster.
func parseCluster(addr string) (connect string, root zkcoord.Layout, isCluster bool, err error) {
	rest, isCluster := strings.CutPrefix(addr, clusterScheme)
	if !isCluster {
		return "", "", false, nil
	}
	connect, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", "", true, fmt.Errorf("metaq: address %q: %w", addr, err)
	}
	root = zkcoord.DefaultRoot
	for name := range values {
		if name != "root" {
			return "", "", true, fmt.Errorf("metaq: address %q: there is no parameter %q; want %shost:2181,host:2181[/chroot][?root=/meta]", addr, name, clusterScheme)
		}
		if root, err = zkcoord.ParseRoot(values.Get(name)); err != nil {
			return "", "", true, fmt.Errorf("metaq: address %q: %w", addr, err)
		}
	}
	return connect, root, true, nil
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
