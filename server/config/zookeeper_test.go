package config

import (
	"strings"
	"testing"
)

func TestZooKeeper(t *testing.T) {
	original := defaultZooKeeper()
	with := func(change func(*ZooKeeper)) ZooKeeper {
		z := original
		change(&z)
		return z
	}
	for name, tt := range map[string]struct {
		text    string
		want    ZooKeeper
		cluster bool
	}{
		"no section":       {"[system]\n", original, false},
		"a blank section":  {"[zookeeper]\nzk.zkConnect=\nzk.zkEnable=\nzk.zkRoot=\n", original, false},
		"only time-outs":   {"[zookeeper]\nzk.zkSyncTimeMs=0\n", with(func(z *ZooKeeper) { z.SyncTime = 0 }), false},
		"servers":          {"[zookeeper]\nzk.zkConnect=a,b:2182/prod\n", with(func(z *ZooKeeper) { z.Connect = "a,b:2182/prod" }), true},
		"switched off":     {"[zookeeper]\nzk.zkConnect=a\nzk.zkEnable=false\n", with(func(z *ZooKeeper) { z.Connect, z.Enable = "a", false }), false},
		"root of the tree": {"[zookeeper]\nzk.zkConnect=a\nzk.zkRoot=/\n", with(func(z *ZooKeeper) { z.Connect, z.Root = "a", "" }), true},
		"times": {"[zookeeper]\nzk.zkConnect=a\nzk.zkSessionTimeoutMs=60*1000\nzk.zkConnectionTimeoutMs=7\n",
			with(func(z *ZooKeeper) { z.Connect, z.SessionTimeout, z.ConnectTimeout = "a", 60_000, 7 }), true},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, tt.text)
			if c.ZooKeeper != tt.want || c.InCluster() != tt.cluster {
				t.Errorf("%+v, in a cluster %v, want %+v, %v", c.ZooKeeper, c.InCluster(), tt.want, tt.cluster)
			}
		})
	}
}

func TestZooKeeper_Mistakes(t *testing.T) {
	for text, want := range map[string]string{
		"zk.zkEnable=true":            "zk.zkEnable is true, but zk.zkConnect does not say where ZooKeeper is",
		"zk.zkConnect=a:x":            `:2: [zookeeper] zk.zkConnect: zookeeper "a:x": "a:x" is no host:port`,
		"zk.zkConnect=/meta":          ":2: [zookeeper] zk.zkConnect: zookeeper \"/meta\": there is no server in it",
		"zk.zkRoot=meta":              ":2: [zookeeper] zk.zkRoot: zookeeper root \"meta\": a path begins with a slash",
		"zk.zkSessionTimeoutMs=0":     `:2: [zookeeper] zk.zkSessionTimeoutMs: "0" is not a number from 1 to`,
		"zk.zkConnectionTimeoutMs=1s": `:2: [zookeeper] zk.zkConnectionTimeoutMs: "1s" is not a number`,
		"zk.zkSyncTimeMs=-1":          `:2: [zookeeper] zk.zkSyncTimeMs: "-1" is not a number from 0 to`,
	} {
		_, err := Load(write(t, "[zookeeper]\n"+text+"\n"), nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
