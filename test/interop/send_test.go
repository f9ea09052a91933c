package interop

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// All partitions of both brokers take messages, with attributes and without; a consumer receives each as it was sent.
func sendAndReceive(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.agent, "plain", "send", nil)
	c.consume(t, "receiver", "receivers", topic, nil)
	p := c.producer(t, topic)
	for i := range 40 {
		attribute := ""
		if i%3 == 0 {
			attribute = fmt.Sprintf("größe=%d", i)
		}
		p.send(t, fmt.Appendf(nil, "message %d", i), attribute)
	}
	p.send(t, []byte{}, "")
	if used := slices.Sorted(maps.Keys(p.ends)); !slices.Equal(used, allPartitions) {
		t.Errorf("messages went to %q", used)
	}
	list := c.await(t, "receiver", "everything is received", func(list []delivery) bool { return holds(list, p.sent) })
	checkExactly(t, list, p.sent)
	eventually(t, "the offsets in ZooKeeper are behind the last messages", func() bool { return maps.Equal(s.offsets(t, "receivers", topic), p.ends) })
}

// A message of 1 MiB is larger than what the consumer asks for at first.
func large(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.second, "plain", "large", nil)
	c.consume(t, "large receiver", "large-receivers", topic, args{"maxSize": 1 << 20})
	p := c.producer(t, topic)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 5 {
		data := make([]byte, 1<<20)
		for j := range data {
			data[j] = byte(random.Uint32())
		}
		p.send(t, data, "")
		p.send(t, fmt.Appendf(nil, "behind %d", i), "")
	}
	list := c.await(t, "large receiver", "everything is received", func(list []delivery) bool { return holds(list, p.sent) })
	checkExactly(t, list, p.sent)
}

// The callback of each send is called, with what the broker said.
func callbacks(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.agent, "plain", "callbacks", nil)
	c.consume(t, "called", "called-receivers", topic, nil)
	p := c.producer(t, topic)
	var all sync.WaitGroup
	replies := make([]reply, 50)
	for i := range replies {
		all.Go(func() {
			replies[i] = c.try(t, "send", args{"producer": p.name, "topic": topic, "data": fmt.Appendf(nil, "message %d", i), "callback": true})
		})
	}
	all.Wait()
	var sent []message
	for i, r := range replies {
		if r.Error != "" || !r.Success {
			t.Fatalf("message %d: the client says %q %q", i, r.Error, r.Text)
		}
		sent = append(sent, message{Topic: topic, ID: r.ID, Partition: r.Partition, Data: fmt.Appendf(nil, "message %d", i)})
	}
	checkExactly(t, c.await(t, "called", "everything is received", func(list []delivery) bool { return holds(list, sent) }), sent)
}

// The asynchronous producer waits for no answer, so it knows of no id; each message is stored once all the same.
func oneWay(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.agent, "async", "one-way", nil)
	c.consume(t, "one-way receiver", "one-way-receivers", topic, nil)
	p := c.producer(t, topic)
	var want []string
	for i := range 30 {
		want = append(want, fmt.Sprintf("message %d", i))
		if r := p.trySend(t, []byte(want[i]), "", args{"oneWay": true}); r.Error != "" {
			t.Fatal(r.Error)
		}
	}
	list := c.await(t, "one-way receiver", "everything is received", func(list []delivery) bool { return len(list) >= len(want) })
	got := texts(list)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

// orderedPartitions are the partitions of a topic as an ordered producer has them configured.
func orderedPartitions(topic string) args { return args{"partitions": topic + "=0:2;1:2"} }

// An ordered producer sends each message to the partition that its key means, and a consumer gets them in that order.
func ordered(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.agent, "ordered", "ordered", orderedPartitions(topic))
	c.consume(t, "ordered receiver", "ordered-receivers", topic, nil)
	p := c.producer(t, topic)
	for i := range 25 {
		for _, partition := range allPartitions {
			if r := p.send(t, fmt.Appendf(nil, "message %d", i), partition); r.Partition != partition {
				t.Fatalf("a message for %s went to %s", partition, r.Partition)
			}
		}
	}
	list := c.await(t, "ordered receiver", "everything is received", func(list []delivery) bool { return holds(list, p.sent) })
	checkExactly(t, list, p.sent)
	next := map[string]int{}
	for _, d := range list {
		if want := fmt.Sprintf("message %d", next[d.Message.Partition]); d.Message.text() != want {
			t.Errorf("%s: %q instead of %q", d.Message.Partition, d.Message.text(), want)
		}
		next[d.Message.Partition]++
	}
}

// What the client says of a topic that it has not published, and of one that no broker has.
func unpublished(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.agent, "plain", "unpublished", nil)
	p := c.producer(t, "nobody-has-this")
	for _, name := range []string{topic, "nobody-has-this"} {
		r := c.try(t, "send", args{"producer": p.name, "topic": name, "data": []byte("x")})
		if !strings.Contains(r.Error, "There is no aviable partition for topic "+name) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// The client's own node for what it has published.
	if list := s.children(t, "/meta/brokers/topics-pub"); !slices.Contains(list, "nobody-has-this") {
		t.Errorf("topics that somebody wants: %q", list)
	}
}
