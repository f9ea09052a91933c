package interop

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// While a broker is away the other one takes everything; when it is back both do. Nothing that was acknowledged is missing.
func brokerAway(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.agent, "plain", "away", nil)
	c.consume(t, "staying", "stayers", topic, nil)
	p := c.producer(t, topic)
	gone := s.brokers[1]
	p.sendMany(t, "both", 20)
	received := func() {
		t.Helper()
		c.await(t, "staying", "everything acknowledged is received", func(list []delivery) bool { return holds(list, p.sent) })
	}
	received()

	gone.Kill(t)
	n := 0
	sends := func() reply {
		n++
		return p.trySend(t, fmt.Appendf(nil, "away %d", n), "", nil)
	}
	inARow := 0
	eventually(t, "messages go to the broker that is there", func() bool {
		if r := sends(); r.Error == "" && r.Success && r.Partition[0] == '0' {
			inARow++
		} else {
			inARow = 0
		}
		return inARow >= 2*len(allPartitions)
	})
	p.sendMany(t, "one", 20)

	gone.Restart(t)
	eventually(t, "messages go to the other broker again", func() bool {
		r := sends()
		return r.Error == "" && r.Success && r.Partition[0] == '1'
	})
	p.sendMany(t, "both again", 20)
	received()
	eventually(t, "the offsets are behind the last messages", func() bool { return maps.Equal(s.offsets(t, "stayers", topic), p.ends) })
}

// keptLocally is what an ordered producer says of a message that it has put into its file.
const keptLocally = "send to local"

// An ordered producer keeps what is for a broker that is away, and sends it in order when that is back.
func orderedAway(t *testing.T, s *stage, topic string) {
	own := startJava(t, t.TempDir())
	with := orderedPartitions(topic)
	with["recoverEvery"] = 500
	c := s.open(t, own, "ordered", "keeping", with)
	c.consume(t, "kept", "keepers", topic, nil)
	p := c.producer(t, topic)
	gone := s.brokers[1]
	var want []string
	next := func() []byte { return fmt.Appendf(nil, "message %d", len(want)) }
	sent := func() { want = append(want, string(next())) }
	for range 10 {
		p.send(t, next(), "1-0")
		sent()
	}
	gone.Kill(t)
	eventually(t, "the producer knows that the broker is away", func() bool {
		r := p.trySend(t, next(), "1-0", nil) // until then it has no connection, and says so
		return r.Text == keptLocally
	})
	sent()
	for range 10 {
		if r := p.send(t, next(), "1-0"); r.Text != keptLocally {
			t.Fatalf("to a broker that is away: %+v", r)
		}
		sent()
	}
	gone.Restart(t)
	list := c.await(t, "kept", "what was kept is received", func(list []delivery) bool { return len(list) >= len(want) })
	if got := texts(list); !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
	for range 10 {
		p.send(t, next(), "1-0")
		sent()
	}
	list = c.await(t, "kept", "everything is received", func(list []delivery) bool { return len(list) >= len(want) })
	if got := texts(list); !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}
