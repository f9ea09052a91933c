package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/zkcoord"
)

// forCluster is the annotation of the commands that work on a cluster.
const forCluster = "cluster"

// worksOnCluster marks a command as one that takes --zk.
func worksOnCluster(cmd *cobra.Command) *cobra.Command { return annotate(cmd, forCluster) }

// forNobody is the annotation of the commands that talk to no broker. What METAQ_BROKER names is nothing to them.
const forNobody = "nobody"

// asksNobody marks a command as one that talks to no broker.
func asksNobody(cmd *cobra.Command) *cobra.Command { return annotate(cmd, forNobody) }

func annotate(cmd *cobra.Command, key string) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[key] = "yes"
	return cmd
}

// checkCluster reads --zk, or --broker if that names a cluster.
func (a *app) checkCluster(cmd *cobra.Command) error {
	address, flag := a.zk, "--zk"
	switch {
	case a.zk != "" && cmd.Flags().Changed("broker"):
		return usagef("--zk names a cluster and --broker one broker: give one of them")
	case a.zk == "" && strings.HasPrefix(a.broker, zkcoord.ClusterScheme):
		address, flag = a.broker, brokerFrom(cmd)
	case a.zk == "":
		return nil
	}
	c, err := zkcoord.ParseClusterAddress(address)
	if err != nil {
		return usagef("%s: %w", flag, err)
	}
	if cmd.Annotations[forCluster] == "" {
		if !needsBroker(cmd) {
			return usagef("%s asks no broker: leave %s out", cmd.CommandPath(), flag)
		}
		return usagef("%s works on one broker: name it with --broker HOST:PORT ('metaq stats --zk %s' lists them)", cmd.CommandPath(), address)
	}
	a.cluster = &c
	return nil
}

// cluster is a connection to ZooKeeper and to the brokers that were asked something.
type cluster struct {
	address   zkcoord.ClusterAddress
	session   *zkcoord.Session
	layout    zkcoord.Layout
	directory *zkcoord.Directory
	masters   []zkcoord.BrokerInfo
	conns     map[int]*client.Conn
}

// openCluster connects to the ZooKeeper that was named and looks who is registered there.
func (a *app) openCluster(ctx context.Context) (*cluster, error) {
	s, err := zkcoord.Connect(a.cluster.Config())
	if err != nil {
		return nil, err
	}
	c := &cluster{address: *a.cluster, session: s, layout: a.cluster.Root, directory: zkcoord.NewDirectory(s, a.cluster.Root), conns: map[int]*client.Conn{}}
	awaitCtx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := s.Await(awaitCtx); err != nil {
		c.close()
		return nil, fmt.Errorf("%w (is it running? 'make cluster' starts one; name another with --zk)", err)
	}
	if c.masters, err = c.directory.Masters(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cluster) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
	c.session.Close()
}

// masterAddr is where the master of a broker is now. While ZooKeeper says nothing it is where it was.
func (c *cluster) masterAddr(ctx context.Context, id int) (string, error) {
	askCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	data, _, err := c.session.Get(askCtx, c.layout.Replica(zkcoord.Master(id)))
	if err == nil {
		return zkcoord.ParseAddress(data)
	}
	for _, m := range c.masters {
		if m.ID == id && !errors.Is(err, zkcoord.ErrNoNode) {
			return m.Addr, nil
		}
	}
	return "", fmt.Errorf("broker %d has no master in %s", id, c)
}

// String names the cluster in sentences.
func (c *cluster) String() string {
	return fmt.Sprintf("the cluster of ZooKeeper %s below %s", c.address.Connect, c.root())
}

func (c *cluster) root() string {
	if c.layout == "" {
		return "/"
	}
	return string(c.layout)
}

// needMasters says what is wrong when no broker is registered.
func (c *cluster) needMasters() error {
	if len(c.masters) == 0 {
		return notFoundf("no broker is registered in %s; look at 'metaq zk show --zk %s'", c, c.address.Connect)
	}
	return nil
}

// dial connects to the master of a broker, once.
func (c *cluster) dial(ctx context.Context, id int) (*client.Conn, error) {
	if conn := c.conns[id]; conn != nil {
		return conn, nil
	}
	i := slices.IndexFunc(c.masters, func(m zkcoord.BrokerInfo) bool { return m.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("broker %d has no master in %s: start it and try again", id, c)
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := client.Dial(dialCtx, c.masters[i].Addr)
	if err != nil {
		return nil, fmt.Errorf("broker %d is registered at %s and does not answer: %w (if it has crashed, ZooKeeper forgets it at the end of its session)", id, c.masters[i].Addr, err)
	}
	c.conns[id] = conn
	return conn, nil
}
