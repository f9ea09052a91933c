package client

import (
	"sync"
	"testing"
	"time"
)

// spreading is a producer of a cluster whose lanes send nothing, with one partition at each broker.
func spreading(messages, bytes, brokers int) (*Producer, *publishing) {
	p := &Producer{options: producerOptions{selector: RoundRobin(), maxMessages: messages, maxBytes: bytes}, lanes: map[int]*lane{}}
	p.room = sync.NewCond(&p.mu)
	t := &publishing{topic: "t"}
	for id := range brokers {
		p.lanes[id] = &lane{p: p, broker: id, breaker: newBreaker(), wake: sync.NewCond(&p.mu), backoff: newBackoff()}
		t.partitions = append(t.partitions, Partition{Broker: id})
	}
	return p, t
}

// put puts a message into a lane, as accept does.
func (l *lane) put(bytes int) {
	l.p.messages++
	l.p.bytes += bytes
	l.enqueueLocked(&sending{data: make([]byte, bytes)})
}

// openBreaker opens the breaker of a lane as failures do.
func openBreaker(l *lane) {
	for range failuresInRow {
		if done := l.breaker.begin(); done != nil {
			done(errSlow)
		}
	}
}

func TestSpread_AFullBrokerThatWorksIsWaitedFor(t *testing.T) {
	p, topic := spreading(4, 1<<20, 2)
	openBreaker(p.lanes[0])
	for p.lanes[1].roomLocked(1) {
		p.lanes[1].put(1)
	}
	if !p.lanes[0].roomLocked(1) {
		t.Fatal("the test needs room at the avoided broker")
	}
	if l := p.spreadLocked(&sending{topic: "t", data: []byte("x")}, topic); l != nil {
		t.Errorf("it went to broker %d, which is avoided, while broker 1 works and is full", l.broker)
	}
	p.lanes[1].leftLocked(p.lanes[1].queue[0])
	p.messages--
	if l := p.spreadLocked(&sending{topic: "t", data: []byte("x")}, topic); l != p.lanes[1] {
		t.Errorf("it went to %v, not to broker 1, which has room again", l)
	}
	openBreaker(p.lanes[1])
	s := &sending{topic: "t", data: []byte("x")}
	if l := p.spreadLocked(s, topic); l == nil || s.partition != (Partition{Broker: l.broker}) {
		t.Error("all brokers are avoided, and it goes nowhere")
	}
}

// A lane takes as much as it leaves: half, if it is alone, and the next one half of the rest.
func TestRoom_ALaneTakesAsMuchAsItLeaves(t *testing.T) {
	for _, c := range []struct {
		name                   string
		messages, bytes, size  int
		first, second, another int
	}{
		{"messages", 16, 1 << 20, 1, 8, 4, 2},
		{"bytes", 1 << 16, 1600, 100, 8, 4, 2},
		{"messages of half of it", 16, 200, 100, 1, 1, 0},
	} {
		p, _ := spreading(c.messages, c.bytes, 3)
		for id, want := range []int{c.first, c.second, c.another} {
			n := 0
			for p.lanes[id].roomLocked(c.size) {
				p.lanes[id].put(c.size)
				n++
			}
			if n != want {
				t.Errorf("%s: lane %d took %d, want %d", c.name, id, n, want)
			}
		}
	}
	p, _ := spreading(16, 1<<20, 1)
	alone := p.lanes[0]
	alone.breaker = nil // a broker that stands alone may have everything
	n := 0
	for alone.roomLocked(1) {
		alone.put(1)
		n++
	}
	if n != 16 {
		t.Errorf("the lane of a broker that stands alone took %d of 16", n)
	}
}

func TestBreaker_OpensBySlowAnswers(t *testing.T) {
	p, topic := spreading(16, 1<<20, 2)
	l := p.lanes[0]
	for range failuresInRow {
		s := &sending{topic: "t", partition: Partition{}, chosen: true, message: Message{Partition: At(0)}, fn: func(Receipt, error) {}}
		l.put(0)
		l.queue = nil
		p.mu.Lock()
		l.beginLocked([]*sending{s})
		s.began = time.Now().Add(-slowAfter - time.Millisecond)
		p.mu.Unlock()
		l.landed(s, Receipt{}, nil)
	}
	for range 4 {
		s := &sending{topic: "t"}
		if to := p.spreadLocked(s, topic); to != p.lanes[1] {
			t.Errorf("a message goes to broker 0 after %d slow answers", failuresInRow)
		}
	}
}
