package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const (
	patience  = 30 * time.Second // bounds every wait
	pollEvery = 10 * time.Millisecond
	layout    = zkcoord.DefaultRoot
)

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await waits until something holds, and returns how long that took.
func await(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	return wait.Until(t, pollEvery, patience, what, ok)
}

// settings is the configuration of a broker: short sessions, and what a test adds behind its sections.
type settings struct {
	id                     int
	syncTime               time.Duration
	system, topics, zkRoot string
	chroot                 string // behind the address of ZooKeeper
}

func (s settings) file(z *zookeeper.Server) string {
	return fmt.Sprintf("[system]\nbrokerId=%d\nhostName=127.0.0.1\n%s\n[zookeeper]\nzk.zkConnect=%s%s\nzk.zkSessionTimeoutMs=2000\nzk.zkConnectionTimeoutMs=2000\nzk.zkSyncTimeMs=%d\n%s\n%s\n",
		s.id, s.system, z.Addr, s.chroot, s.syncTime.Milliseconds(), s.zkRoot, s.topics)
}

func start(t *testing.T, z *zookeeper.Server, s settings) *process.Broker {
	t.Helper()
	return process.Start(t, process.Options{Config: s.file(z)})
}

// observer is a session of the test itself.
func observer(t *testing.T, z *zookeeper.Server) *zkcoord.Session {
	t.Helper()
	s, err := zkcoord.Connect(zkcoord.Config{Connect: z.Addr, SessionTimeout: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// tree lists everything below a path with its data, E or P in front. What goes while it is looked at is left out.
func tree(t *testing.T, s *zkcoord.Session, path string) (list []string) {
	t.Helper()
	data, stat, err := s.Get(within(t), path)
	if errors.Is(err, zkcoord.ErrNoNode) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	kind := "P"
	if stat.Owner != 0 {
		kind = "E"
	}
	list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", kind, path, data)))
	names, err := s.Children(within(t), path)
	if err != nil && !errors.Is(err, zkcoord.ErrNoNode) {
		t.Fatal(err)
	}
	for _, n := range names {
		list = append(list, tree(t, s, path+"/"+n)...)
	}
	slices.Sort(list)
	return list
}

// ephemerals are what a broker has in a tree.
func ephemerals(t *testing.T, s *zkcoord.Session) []string {
	t.Helper()
	return slices.DeleteFunc(tree(t, s, string(layout)), func(line string) bool { return !strings.HasPrefix(line, "E ") })
}

func there(t *testing.T, s *zkcoord.Session, path string) bool {
	t.Helper()
	_, _, err := s.Get(within(t), path)
	if err != nil && !errors.Is(err, zkcoord.ErrNoNode) {
		t.Fatal(err)
	}
	return err == nil
}

func dial(t *testing.T, b *process.Broker) *client.Conn {
	t.Helper()
	c, err := client.Dial(within(t), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func put(t *testing.T, c *client.Conn, topic string) {
	t.Helper()
	if _, err := c.Put(within(t), client.Message{Topic: topic, Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
}

// line is one of an item of stats.
func line(t *testing.T, c *client.Conn, item, name string) string {
	t.Helper()
	text, err := c.Stats(within(t), item)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(l), " "); ok && key == name {
			return value
		}
	}
	t.Fatalf("stats %s has no line %s:\n%s", item, name, text)
	return ""
}

func awaitReady(t *testing.T, b *process.Broker) time.Duration {
	t.Helper()
	return await(t, "the broker is registered", func() bool { ready, _ := b.Health(t); return ready })
}
