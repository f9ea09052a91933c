//go:build linux

package spout_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
)

// BenchmarkSpout is a message of 200 bytes from the broker through the spout to a Storm that acknowledges each tuple.
func BenchmarkSpout(b *testing.B) {
	broker := metaqtest.Start(b, metaqtest.Set("logSegmentSize", "64M"), metaqtest.Set("unflushThreshold", "1000"))
	p, err := client.NewProducer(broker.Addr)
	if err != nil {
		b.Fatal(err)
	}
	body := fmt.Appendf(nil, "%200d", 1)
	for range b.N {
		p.SendAsync(client.Message{Topic: "t", Body: body}, func(_ client.Receipt, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	f := startSpout(b, options(broker.Addr), nil)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		for _, s := range f.do("next", "") {
			f.do("ack", s.ID)
			n++
		}
	}
}
