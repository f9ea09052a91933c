package interop

import (
	"fmt"
	"maps"
	"testing"
)

// headerSize is that of a stored message, in bytes; the attribute has a length of its own before it.
const headerSize, attributeLength = 20, 4

// A stage is what scenarios play on.
type stage struct {
	*cluster
	agent  *agent // clients share two processes, on two machines as far as they know, unless a scenario kills them
	second *agent
	start  func(t testing.TB, home string) *agent // one more
}

// A client is a session factory of the client in an agent. Its parts are closed with the test, in the order in which users have to.
type client struct {
	*agent
	name string
}

// open makes a client. kind is plain, ordered, async or broadcast.
func (s *stage) open(t *testing.T, a *agent, kind, name string, more args) *client {
	t.Helper()
	with := args{"name": name, "kind": kind, "zookeeper": s.zookeeper.Addr}
	maps.Copy(with, more)
	a.do(t, "open", with)
	c := &client{a, name}
	c.closeAtEnd(t, name)
	return c
}

// closeAtEnd closes something if that is there yet; its process may not be.
func (c *client) closeAtEnd(t *testing.T, name string) {
	t.Cleanup(func() {
		select {
		case <-c.exited:
		default:
			c.try(t, "close", args{"name": name})
		}
	})
}

// A producer sends to one topic.
type producer struct {
	*client
	name, topic string
	sent        []message        // what was acknowledged
	ends        map[string]int64 // of partitions, after what was acknowledged
}

func (c *client) producer(t *testing.T, topic string) *producer {
	t.Helper()
	p := &producer{client: c, name: c.name + " producer", topic: topic, ends: map[string]int64{}}
	c.do(t, "produce", args{"name": p.name, "factory": c.name})
	c.closeAtEnd(t, p.name)
	c.do(t, "publish", args{"producer": p.name, "topic": topic})
	return p
}

// trySend sends a message with an attribute ("" for none).
func (p *producer) trySend(t *testing.T, data []byte, attribute string, more args) reply {
	t.Helper()
	with := args{"producer": p.name, "topic": p.topic, "data": data}
	if attribute != "" {
		with["attribute"] = attribute
	}
	maps.Copy(with, more)
	r := p.try(t, "send", with)
	if r.Error == "" && r.Success && r.Offset >= 0 {
		size := headerSize + len(data)
		if attribute != "" {
			size += attributeLength + len(attribute)
		}
		p.sent = append(p.sent, message{Topic: p.topic, ID: r.ID, Partition: r.Partition, Attribute: attribute, Data: data})
		p.ends[r.Partition] = max(p.ends[r.Partition], r.Offset+int64(size))
	}
	return r
}

// send is a trySend that has to succeed.
func (p *producer) send(t *testing.T, data []byte, attribute string) reply {
	t.Helper()
	r := p.trySend(t, data, attribute, nil)
	if r.Error != "" || !r.Success {
		t.Fatalf("send %.40q: the client says %q %q", data, r.Error, r.Text)
	}
	return r
}

// sendMany sends messages that are named, and returns those that were.
func (p *producer) sendMany(t *testing.T, name string, n int) []message {
	t.Helper()
	before := len(p.sent)
	for i := range n {
		p.send(t, fmt.Appendf(nil, "%s %d", name, i), "")
	}
	return p.sent[before:]
}

// consume makes a consumer of one topic, with offsets in ZooKeeper unless more says otherwise.
func (c *client) consume(t *testing.T, name, group, topic string, more args) {
	t.Helper()
	with := args{"name": name, "factory": c.name, "consumer": name, "group": group, "topics": []string{topic}, "maxSize": 64 << 10, "offsets": "zookeeper"}
	maps.Copy(with, more)
	c.do(t, "subscribe", with)
	c.closeAtEnd(t, name)
}

// holds says whether a list of deliveries has each of these messages.
func holds(list []delivery, want []message) bool {
	ids := map[int64]bool{}
	for _, d := range list {
		if !d.Failed {
			ids[d.Message.ID] = true
		}
	}
	for _, m := range want {
		if !ids[m.ID] {
			return false
		}
	}
	return true
}

// checkExactly checks that deliveries are these messages, each once, as they were sent.
func checkExactly(t *testing.T, list []delivery, want []message) {
	t.Helper()
	byID := map[int64]message{}
	for _, m := range want {
		if _, twice := byID[m.ID]; twice {
			t.Errorf("two messages have the id %d", m.ID)
		}
		byID[m.ID] = m
	}
	for _, d := range list {
		got := d.Message
		m, ok := byID[got.ID]
		if !ok {
			t.Errorf("%s was given %.40q (id %d), which it should not have, or not twice", d.Consumer, got.Data, got.ID)
			continue
		}
		delete(byID, got.ID)
		if string(got.Data) != string(m.Data) || got.Attribute != m.Attribute || got.Partition != m.Partition || got.Topic != m.Topic {
			t.Errorf("sent %.80q to %s %s with attribute %q, received %.80q from %s %s with attribute %q",
				m.Data, m.Topic, m.Partition, m.Attribute, got.Data, got.Topic, got.Partition, got.Attribute)
		}
	}
	for _, m := range byID {
		t.Errorf("%.40q (id %d) of partition %s was never received", m.Data, m.ID, m.Partition)
	}
}
