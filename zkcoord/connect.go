package zkcoord

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// defaultPort is ZooKeeper's for clients.
const defaultPort = "2181"

// ParseConnect reads a connect string as ZooKeeper's own clients take it: "host[:port],host[:port]...[/chroot]". The chroot is in front of all paths.
func ParseConnect(s string) (servers []string, chroot string, err error) {
	hosts := s
	if i := strings.IndexByte(s, '/'); i >= 0 {
		hosts, chroot = s[:i], strings.TrimRight(s[i:], "/")
	}
	if err := checkPath(chroot); err != nil {
		return nil, "", fmt.Errorf("zookeeper %q: %w", s, err)
	}
	for host := range strings.SplitSeq(hosts, ",") {
		host = strings.TrimSpace(host)
		if host == "" {
			continue
		}
		server, err := withPort(host)
		if err != nil {
			return nil, "", fmt.Errorf("zookeeper %q: %w", s, err)
		}
		servers = append(servers, server)
	}
	if len(servers) == 0 {
		return nil, "", fmt.Errorf("zookeeper %q: there is no server in it; want host:port,host:port", s)
	}
	return servers, chroot, nil
}

func withPort(host string) (string, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), defaultPort
		if strings.Contains(name, ":") && !strings.HasPrefix(host, "[") {
			return "", fmt.Errorf("%q: an IPv6 address stands in brackets", host)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || name == "" {
		return "", fmt.Errorf("%q is no host:port", host)
	}
	return net.JoinHostPort(name, port), nil
}

// ClusterScheme begins the address of a cluster, where that of a broker alone is host:port.
const ClusterScheme = "zk://"

// A ClusterAddress says where a cluster is.
type ClusterAddress struct {
	Connect string // see ParseConnect
	Root    Layout
}

// ParseClusterAddress reads "[zk://]host[:port],host[:port]...[/chroot][?root=/meta]". Without a root it is DefaultRoot.
func ParseClusterAddress(s string) (ClusterAddress, error) {
	connect, query, _ := strings.Cut(strings.TrimPrefix(s, ClusterScheme), "?")
	if _, _, err := ParseConnect(connect); err != nil {
		return ClusterAddress{}, err
	}
	a := ClusterAddress{connect, DefaultRoot}
	values, err := url.ParseQuery(query)
	if err != nil {
		return ClusterAddress{}, fmt.Errorf("zookeeper %q: %w", s, err)
	}
	for name := range values {
		if name != "root" {
			return ClusterAddress{}, fmt.Errorf("zookeeper %q: there is no parameter %q; only ?root=/PATH may follow the address", s, name)
		}
		if a.Root, err = ParseRoot(values.Get(name)); err != nil {
			return ClusterAddress{}, err
		}
	}
	return a, nil
}

// String is the address as ParseClusterAddress reads it.
func (a ClusterAddress) String() string {
	s := ClusterScheme + a.Connect
	if a.Root != DefaultRoot {
		s += "?root=" + url.QueryEscape(string(a.Root))
	}
	return s
}

// ParseRoot reads the root of the tree, zk.zkRoot.
func ParseRoot(s string) (Layout, error) {
	root := strings.TrimRight(s, "/")
	if err := checkPath(root); err != nil {
		return "", fmt.Errorf("zookeeper root %q: %w", s, err)
	}
	return Layout(root), nil
}

// checkPath accepts "" and an absolute path with no empty name.
func checkPath(p string) error {
	if p == "" {
		return nil
	}
	if p[0] != '/' {
		return errors.New("a path begins with a slash")
	}
	for name := range strings.SplitSeq(p[1:], "/") {
		if name == "" || name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("a path has no part %q", name)
		}
	}
	return nil
}
