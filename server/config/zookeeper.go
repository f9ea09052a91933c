package config

import (
	"errors"

	"github.com/metaq/metaq/zkcoord"
)

// ZooKeeper says how the broker is registered. Fields are named after the keys of [zookeeper].
type ZooKeeper struct {
	Enable         bool
	Connect        string
	Root           string
	SessionTimeout int // milliseconds, as the next two
	ConnectTimeout int
	SyncTime       int
}

// InCluster says whether the broker registers; otherwise it runs alone and has nothing to do with ZooKeeper.
func (c *Config) InCluster() bool { return c.ZooKeeper.Enable && c.ZooKeeper.Connect != "" }

// defaultZooKeeper has the values of the original.
func defaultZooKeeper() ZooKeeper {
	return ZooKeeper{Enable: true, Root: string(zkcoord.DefaultRoot), SessionTimeout: 30_000, ConnectTimeout: 30_000, SyncTime: 5_000}
}

// checkZooKeeper finds what is missing. Without zk.zkConnect the other keys mean nothing, so a file that has them at their defaults is fine; one that asks
// for ZooKeeper is not.
func (c *Config) checkZooKeeper() error {
	if c.sources["zk.zkEnable"] != "" && c.ZooKeeper.Enable && c.ZooKeeper.Connect == "" {
		return errors.New("zk.zkEnable is true, but zk.zkConnect does not say where ZooKeeper is")
	}
	return nil
}

func connectKind() kind[string] {
	return kind[string]{
		parse: func(s string) (string, error) {
			if s == "" {
				return s, nil
			}
			_, _, err := zkcoord.ParseConnect(s)
			return s, err
		},
		print: func(s string) string { return s },
	}
}

func rootKind() kind[string] {
	return kind[string]{
		parse: func(s string) (string, error) {
			root, err := zkcoord.ParseRoot(s)
			return string(root), err
		},
		print: func(s string) string {
			if s == "" {
				return "/"
			}
			return s
		},
	}
}
