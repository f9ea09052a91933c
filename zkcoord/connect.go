package zkcoord

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
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

// A ClusterAddress says where a cluster is, and how long its ZooKeeper is waited for.
type ClusterAddress struct {
	Connect        string // see ParseConnect
	Root           Layout
	SessionTimeout time.Duration // 0: the default of Config
	ConnectTimeout time.Duration // 0: the default of Config
}

// Config is that of a Session for the address.
func (a ClusterAddress) Config() Config {
	return Config{Connect: a.Connect, SessionTimeout: a.SessionTimeout, ConnectTimeout: a.ConnectTimeout}
}

// Parameters of the address of a cluster.
const (
	rootParameter           = "root"
	sessionTimeoutParameter = "sessionTimeout"
	connectTimeoutParameter = "connectTimeout"
)

// ParseClusterAddress reads "[zk://]host[:port],host[:port]...[/chroot][?root=/meta&sessionTimeout=10s&connectTimeout=5s]". Each parameter may be left out; without
// a root it is DefaultRoot.
func ParseClusterAddress(s string) (ClusterAddress, error) {
	connect, query, _ := strings.Cut(strings.TrimPrefix(s, ClusterScheme), "?")
	if _, _, err := ParseConnect(connect); err != nil {
		return ClusterAddress{}, err
	}
	a := ClusterAddress{Connect: connect, Root: DefaultRoot}
	values, err := url.ParseQuery(query)
	if err != nil {
		return ClusterAddress{}, fmt.Errorf("zookeeper %q: %w", s, err)
	}
	for name := range values {
		value := values.Get(name)
		switch name {
		case rootParameter:
			a.Root, err = ParseRoot(value)
		case sessionTimeoutParameter:
			a.SessionTimeout, err = parseTimeout(name, value)
		case connectTimeoutParameter:
			a.ConnectTimeout, err = parseTimeout(name, value)
		default:
			err = fmt.Errorf("there is no parameter %q; %s, %s and %s may follow the address", name, rootParameter, sessionTimeoutParameter, connectTimeoutParameter)
		}
		if err != nil {
			return ClusterAddress{}, fmt.Errorf("zookeeper %q: %w", s, err)
		}
	}
	return a, nil
}

func parseTimeout(name, value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err == nil {
		err = CheckTimeout(d)
	}
	if err != nil {
		return 0, fmt.Errorf("%s=%s: want a time such as 30s: %w", name, value, err)
	}
	return d, nil
}

// CheckTimeout refuses what ZooKeeper cannot be told: its times are milliseconds in 32 bits.
func CheckTimeout(d time.Duration) error {
	if least, most := time.Millisecond, math.MaxInt32*time.Millisecond; d < least || d > most {
		return fmt.Errorf("a time-out of %s: it must be between %s and %s", d, least, most)
	}
	return nil
}

// String is the address as ParseClusterAddress reads it.
func (a ClusterAddress) String() string {
	query := url.Values{}
	if a.Root != DefaultRoot {
		query.Set(rootParameter, string(a.Root))
	}
	if a.SessionTimeout > 0 {
		query.Set(sessionTimeoutParameter, a.SessionTimeout.String())
	}
	if a.ConnectTimeout > 0 {
		query.Set(connectTimeoutParameter, a.ConnectTimeout.String())
	}
	s := ClusterScheme + a.Connect
	if len(query) > 0 {
		s += "?" + query.Encode()
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
