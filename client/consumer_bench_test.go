//go:build linux

package client_test

import (
	"sync"
	"testing"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
)

// A consumer of a broker that stands alone reads messages of 100 bytes that are stored already.
func BenchmarkConsumer(b *testing.B) {
	broker := metaqtest.Start(b, metaqtest.Set("numPartitions", "4"), metaqtest.Set("logSegmentSize", "64m"))
	p := producer(b, broker.Addr)
	var stored sync.WaitGroup
	body := make([]byte, 100)
	for range b.N {
		stored.Add(1)
		p.SendAsync(client.Message{Topic: "t", Body: body}, func(_ client.Receipt, err error) {
			if err != nil {
				b.Error(err)
			}
			stored.Done()
		})
	}
	stored.Wait()
	c := consumer(b, broker.Addr, "g", "t")
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	read := 0
	for _, err := range c.Messages(testContext(b)) {
		if err != nil {
			b.Fatal(err)
		}
		if read++; read == b.N {
			break
		}
	}
	b.StopTimer()
	if read < b.N {
		b.Fatalf("%d of %d messages", read, b.N)
	}
}
