package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	metaq "github.com/metaq/metaq/client"
	"github.com/metaq/metaq/zkcoord"
)

// A goConsumer is a consumer of our own client in the test's process.
type goConsumer struct {
	*metaq.Consumer
	over chan error

	mu   sync.Mutex
	list []delivery
}

func (s *stage) consumeInGo(t *testing.T, id, group, topic string) *goConsumer {
	t.Helper()
	c, err := metaq.NewConsumer(zkcoord.ClusterScheme+s.zookeeper.Addr, group, []string{topic}, metaq.WithConsumerID(id))
	if err != nil {
		t.Fatal(err)
	}
	g := &goConsumer{Consumer: c, over: make(chan error, 1)}
	t.Cleanup(func() { g.end(t) })
	go func() {
		g.over <- c.Run(context.Background(), func(_ context.Context, m metaq.Received) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.list = append(g.list, delivery{Consumer: id, Message: message{
				Topic: m.Topic, ID: m.ID, Partition: fmt.Sprintf("%d-%d", m.Broker, m.Partition), Attribute: m.Attribute, Data: m.Body,
			}})
			return nil
		})
	}()
	return g
}

func (g *goConsumer) given() []delivery {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.list)
}

func (g *goConsumer) end(t *testing.T) {
	t.Helper()
	err := g.Close(soon(t))
	if err := errors.Join(err, <-g.over); err != nil {
		t.Errorf("the consumer in Go: %v", err)
	}
	g.over <- nil // for the next end
}

// Two consumers of the client and one in Go are a group: they share the partitions as each computes it, and go on where the others were.
func mixed(t *testing.T, s *stage, topic string) {
	name := "mixers-" + topic
	killed := s.start(t, t.TempDir())
	one, two := s.open(t, s.agent, "plain", "mixing one", nil), s.open(t, killed, "plain", "mixing two", nil)
	p := s.open(t, s.second, "plain", "mixing", nil).producer(t, topic)
	shared := func(consumers ...string) {
		t.Helper()
		want := assigned(name, consumers, zkcoord.AssignRanges)
		eventually(t, fmt.Sprintf("owners are %v", want), func() bool { return maps.Equal(s.owners(t, name, topic), want) })
	}
	one.consume(t, "member-a", name, topic, nil)
	shared("member-a")
	ours := s.consumeInGo(t, "go", name, topic)
	shared("go", "member-a")
	all := func() []delivery {
		a, _ := one.given("member-a")
		b, _ := two.given("member-b")
		return slices.Concat(a, b, ours.given())
	}
	received := func(sent []message) {
		t.Helper()
		eventually(t, "everything is received", func() bool { return holds(all(), sent) })
	}
	received(p.sendMany(t, "one of each", 40))
	checkExactly(t, all(), p.sent)

	two.consume(t, "member-b", name, topic, nil)
	p.sendMany(t, "one joins", 40)
	shared("go", "member-a", "member-b")
	received(p.sendMany(t, "three members", 40))
	last := map[string]int64{}
	for _, d := range ours.given() {
		m := d.Message
		if before, ok := last[m.Partition]; ok && m.ID <= before {
			t.Errorf("the consumer in Go was given message %d of %s after %d", m.ID, m.Partition, before)
		}
		last[m.Partition] = m.ID
	}

	killed.kill()
	shared("go", "member-a")
	received(p.sendMany(t, "one is killed", 40))

	one.do(t, "close", args{"name": "member-a"})
	shared("go")
	p.sendMany(t, "only Go is left", 40)
	received(p.sent)

	ours.end(t)
	if offsets := s.offsets(t, name, topic); !maps.Equal(offsets, p.ends) {
		t.Errorf("offsets %v, want %v", offsets, p.ends)
	}
	one.consume(t, "member-c", name, topic, nil)
	shared("member-c")
	again := p.sendMany(t, "without Go", 8)
	checkExactly(t, one.await(t, "member-c", "it goes on where Go was", func(list []delivery) bool { return holds(list, again) }), again)
}
