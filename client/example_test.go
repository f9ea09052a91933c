//go:build linux

package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/client/offsetfile"
	"github.com/metaq/metaq/test/zookeeper"
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

// A message whose handler fails for ever holds up nothing.
func ExampleWithRecovery() {
	tb := &exampleTB{}
	defer tb.end()
	b := metaqtest.Start(tb) // in a program: the address of a broker, or of a cluster
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	p, err := client.NewProducer(b.Addr)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)
	for _, body := range []string{"not a number", "42"} {
		if _, err := p.Send(ctx, "prices", []byte(body)); err != nil {
			log.Fatal(err)
		}
	}

	c, err := client.NewConsumer(b.Addr, "billing", []string{"prices"}, client.WithRecovery(client.Recovery{
		Dir:      tb.TempDir(),
		Attempts: 1, Retries: 3, StoredFrom: 50 * time.Millisecond, // the defaults are more patient
		Reject: func(_ context.Context, m client.Rejected) error { // without it: into a file, see ReadRejected
			fmt.Printf("rejected after %d tries: %s\n", m.Tries, m.Body)
			stop()
			return nil
		},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(context.Background())
	err = c.Run(ctx, func(_ context.Context, m client.Received) error {
		n, err := strconv.Atoi(string(m.Body))
		if err == nil {
			fmt.Println("handled:", n)
		}
		return err
	})
	fmt.Println(err)
	// Output:
	// handled: 42
	// rejected after 4 tries: not a number
	// <nil>
}

func ExampleOpenBrowser() {
	tb := &exampleTB{}
	defer tb.end()
	b := metaqtest.Start(tb) // in a program: the address of a broker, or of a cluster
	ctx := context.Background()
	p, err := client.NewProducer(b.Addr)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)
	for _, body := range []string{"one", "two", "three"} {
		if _, err := p.Send(ctx, "words", []byte(body)); err != nil {
			log.Fatal(err)
		}
	}
	browser, err := client.OpenBrowser(ctx, b.Addr, "words")
	if err != nil {
		log.Fatal(err)
	}
	defer browser.Close()
	for m, err := range browser.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		progress := browser.Progress()
		fmt.Printf("%d of %d: %s\n", progress.Messages, progress.TotalMessages, m.Body)
	}
	// Output:
	// 1 of 3: one
	// 2 of 3: two
	// 3 of 3: three
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

// Two members of a group share the partitions of a topic.
func ExampleNewConsumer() {
	tb := &exampleTB{}
	defer tb.end()
	z := zookeeper.Start(tb) // in a program: the cluster's ZooKeeper
	metaqtest.Start(tb, metaqtest.Set("zk.zkConnect", z.Addr), metaqtest.Set("zk.zkSyncTimeMs", "50"), metaqtest.Set("topic.orders.numPartitions", "2"))
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()

	var done sync.WaitGroup
	got := make(chan string, 2)
	for _, id := range []string{"one", "two"} {
		c, err := client.NewConsumer("zk://"+z.Addr, "billing", []string{"orders"}, client.WithConsumerID(id))
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close(context.Background())
		done.Go(func() {
			err := c.Run(ctx, func(_ context.Context, m client.Received) error {
				got <- string(m.Body)
				return nil
			})
			if err != nil {
				log.Print(err)
			}
		})
	}
	p, err := client.NewProducer("zk://" + z.Addr)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)
	for _, body := range []string{"an umbrella", "a hat"} {
		if _, err := p.Send(ctx, "orders", []byte(body)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(<-got)
	fmt.Println(<-got)
	stop()
	done.Wait()
	// Unordered output:
	// an umbrella
	// a hat
}

// Each instance of a program gets everything, and keeps in a file where it is.
func ExampleWithBroadcast() {
	store, err := offsetfile.Open(filepath.Join(os.TempDir(), "prices-offsets"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	c, err := client.NewConsumer("zk://10.0.0.1:2181", "prices", []string{"prices"}, client.WithBroadcast(), client.WithOffsetStore(store))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(context.Background())
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(m.Body))
	}
}

// exampleTB lets an example, which has no testing.T, start a broker.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (e *exampleTB) Helper()                           {}
func (e *exampleTB) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (e *exampleTB) Fatal(args ...any)                 { log.Fatal(args...) }
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
