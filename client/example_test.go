//go:build linux

package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
)

func Example() {
	tb := &exampleTB{}
	defer tb.end()
	b := metaqtest.Start(tb) // in a program: the address of a broker
	ctx := context.Background()

	p, err := client.NewProducer(b.Addr)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := p.Send(ctx, "greetings", []byte("hello")); err != nil {
		log.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}

	c, err := client.NewConsumer(b.Addr, "readers", []string{"greetings"})
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range c.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(m.Body))
		break
	}
	if err := c.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: hello
}

func ExampleConsumer_Run() {
	tb := &exampleTB{}
	defer tb.end()
	b := metaqtest.Start(tb)
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	p, _ := client.NewProducer(b.Addr)
	defer p.Close(ctx)
	p.SendAsync(client.Message{Topic: "jobs", Key: "a", Body: []byte("first")}, func(_ client.Receipt, err error) {
		if err != nil {
			log.Print(err)
		}
	})

	c, _ := client.NewConsumer(b.Addr, "workers", []string{"jobs"}, client.WithStart(client.FromEarliest()))
	defer c.Close(context.Background())
	err := c.Run(ctx, func(_ context.Context, m client.Received) error {
		fmt.Printf("%s from partition %d\n", m.Body, m.Partition)
		stop()
		return nil
	})
	fmt.Println(err)
	// Output:
	// first from partition 0
	// <nil>
}

// Messages of an ordered topic are accepted while the broker is away, and sent when it is back.
func ExampleWithOrdered() {
	tb := &exampleTB{}
	defer tb.end()
	b := metaqtest.Start(tb) // in a program: the address of a broker, or of a cluster
	ctx := context.Background()
	p, err := client.NewProducer(b.Addr, client.WithOrdered(client.Ordered{
		Dir:        tb.TempDir(),
		Partitions: map[string]map[int]int32{"orders": {0: 1}}, // of broker 0, one partition
	}))
	if err != nil {
		log.Fatal(err)
	}
	r, err := p.SendMessage(ctx, client.Message{Topic: "orders", Key: "customer 7", Body: []byte("one umbrella")})
	fmt.Printf("partition %d of broker %d, only on the local disk: %t, %v\n", r.Partition, r.Broker, r.Spilled, err)
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: partition 0 of broker 0, only on the local disk: false, <nil>
}

// exampleTB lets an example, which has no testing.T, start a broker.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (e *exampleTB) Helper()                           {}
func (e *exampleTB) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (e *exampleTB) Errorf(format string, args ...any) { log.Fatalf(format, args...) }
func (e *exampleTB) Cleanup(fn func())                 { e.cleanups = append(e.cleanups, fn) }

func (e *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	e.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (e *exampleTB) end() {
	for _, fn := range slices.Backward(e.cleanups) {
		fn()
	}
}
