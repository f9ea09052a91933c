//go:build linux

package client

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/zkcoord"
)

// doubtful assigns one partition of a broker that stands alone, which is this consumer's for sure or not.
type doubtful struct {
	wholeBroker
	sure  atomic.Bool
	asked atomic.Int64
}

func (d *doubtful) start() {
	go d.c.acquire(claimed{place: zkcoord.TopicPartition{Topic: "t"}, valid: func() bool {
		d.asked.Add(1)
		return d.sure.Load()
	}})
}

// A session with ZooKeeper counts as lost when a message is to be handed over, and is had back before it ends, so that the member keeps its partition: the message is
// handed over then, and those behind it.
func TestConsumer_AClaimThatIsInDoubtForAWhile(t *testing.T) {
	for name, consume := range map[string]func(ctx context.Context, c *Consumer, got chan<- string) error{
		"Run": func(ctx context.Context, c *Consumer, got chan<- string) error {
			return c.Run(ctx, func(_ context.Context, m Received) error {
				got <- string(m.Body)
				return nil
			})
		},
		"Take": func(ctx context.Context, c *Consumer, got chan<- string) error {
			for {
				h, err := c.Take(ctx)
				if err != nil {
					return nil // ctx has ended
				}
				got <- string(h.Body)
				h.Done()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			b := metaqtest.Start(t)
			p, err := NewProducer(b.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close(ctx)
			send := func(body string) {
				t.Helper()
				if _, err := p.Send(ctx, "t", []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
			send("one")
			c, err := NewConsumer(b.Addr, "g", []string{"t"})
			if err != nil {
				t.Fatal(err)
			}
			d := &doubtful{wholeBroker: wholeBroker{c}}
			c.assignment = d
			running, stop := context.WithCancel(ctx)
			got, ended := make(chan string), make(chan error, 1)
			go func() { ended <- consume(running, c, got) }()
			wait.Until(t, time.Millisecond, 10*time.Second, "the message was to be handed over", func() bool { return d.asked.Load() > 0 })
			select {
			case body := <-got:
				t.Errorf("given %q of a partition that may be somebody else's", body)
			default:
			}
			d.sure.Store(true)
			send("two")
			for _, want := range []string{"one", "two"} {
				select {
				case body := <-got:
					if body != want {
						t.Errorf("given %q, want %q", body, want)
					}
				case <-ctx.Done():
					t.Fatalf("%q is never given", want)
				}
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if err := c.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}
