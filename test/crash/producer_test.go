package crash

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/wire"
)

const (
	producerKills    = 2
	messagesEachLife = 10000
	producerBound    = 60 * time.Second
)

// A producer goes on over kills of the broker by itself. What it has sent without an answer it sends again, so that
// messages may come twice; but in each partition they come in the order in which they were handed over, and none is left
// out.
func TestProducerKeepsOrderOverKills(t *testing.T) {
	broker := process.Start(t, process.Options{Config: "[system]\n[topic=t]\nnumPartitions=2\n"})
	producer, err := client.NewProducer(broker.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var acked, failed atomic.Int64
	for life := range producerKills + 1 {
		// Half of what is sent in a life is acknowledged before the kill, so that it hits the producer at work.
		half := make(chan struct{})
		var ackedNow atomic.Int64
		for n := range int64(messagesEachLife) {
			m := client.Message{Topic: "t", Body: number{0, int64(life)*messagesEachLife + n}.body()}
			producer.SendAsync(m, func(_ client.Receipt, err error) {
				if err != nil {
					failed.Add(1)
					return
				}
				acked.Add(1)
				if ackedNow.Add(1) == messagesEachLife/2 {
					close(half)
				}
			})
		}
		if life == producerKills {
			break
		}
		select {
		case <-half:
		case <-time.After(producerBound):
			t.Fatalf("%d messages acknowledged after %s", acked.Load(), producerBound)
		}
		broker.Kill(t)
		broker.Restart(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), producerBound)
	defer cancel()
	if err := producer.Close(ctx); err != nil {
		t.Fatalf("close: %v", err)
	}
	const sent = (producerKills + 1) * messagesEachLife
	if acked.Load() != sent || failed.Load() != 0 {
		t.Errorf("%d messages acknowledged and %d failed, of %d", acked.Load(), failed.Load(), sent)
	}

	twice := checkOrder(t, broker.Addr, sent)
	fmt.Printf("producer: %d kills, %d messages, %d stored twice\n", producerKills, sent, twice)
}

// checkOrder reads the topic back and checks that all messages from 0 on are there, in their order in each partition. It
// returns how many came twice.
func checkOrder(t *testing.T, addr string, sent int64) (twice int) {
	t.Helper()
	found := make([]bool, sent)
	for partition := range 2 {
		q := wire.Queue{Topic: "t", Partition: partition}
		last := int64(-1)
		_, err := readAll(addr, q, func(m stored, broken error) {
			name, err := parseNumber(m.data)
			if broken != nil || err != nil || name.n >= sent {
				t.Fatalf("%s at %d: %v %v", q, m.offset, broken, err)
			}
			if found[name.n] {
				twice++
				return
			}
			found[name.n] = true
			if name.n < last {
				t.Errorf("%s at %d: message %d comes after %d", q, m.offset, name.n, last)
			}
			last = name.n
		})
		if err != nil {
			t.Error(err)
		}
	}
	for n, ok := range found {
		if !ok {
			t.Errorf("message %d is lost", n)
		}
	}
	return twice
}

const (
	cuts     = 40
	cutEvery = 1500 // acknowledgements
)

// The same when only the connection is cut, and the broker is there at once for a new one: what was under way on the old
// connection must not be overtaken by what goes out over the next.
func TestProducerKeepsOrderOverCutConnections(t *testing.T) {
	broker := process.Start(t, process.Options{Config: "[system]\n[topic=t]\nnumPartitions=2\nunflushThreshold=1000\n"})
	proxy := newProxy(t, broker.Addr)
	producer, err := client.NewProducer(proxy.addr)
	if err != nil {
		t.Fatal(err)
	}
	const sent = cuts * cutEvery
	var acked, failed atomic.Int64
	for n := range int64(sent) {
		m := client.Message{Topic: "t", Body: number{0, n}.body()}
		producer.SendAsync(m, func(_ client.Receipt, err error) {
			if err != nil {
				failed.Add(1)
			} else if acked.Add(1)%cutEvery == 0 {
				proxy.cut()
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), producerBound)
	defer cancel()
	if err := producer.Close(ctx); err != nil {
		t.Fatalf("close: %v", err)
	}
	if acked.Load() != sent || failed.Load() != 0 {
		t.Errorf("%d messages acknowledged and %d failed, of %d", acked.Load(), failed.Load(), sent)
	}
	twice := checkOrder(t, broker.Addr, sent)
	fmt.Printf("producer: %d cuts, %d messages, %d stored twice\n", cuts, sent, twice)
}
