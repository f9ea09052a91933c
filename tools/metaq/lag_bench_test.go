//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/zkcoord"
)

// BenchmarkLag is `metaq lag` of a group over 1,000 partitions of two brokers, with offsets and owners of all of them.
func BenchmarkLag(b *testing.B) {
	z := zookeeper.Start(b)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := zkcoord.Connect(zkcoord.Config{Connect: z.Addr})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const brokers, each = 2, 500
	for id := range brokers {
		addr := metaqtest.Start(b, metaqtest.Set("numPartitions", fmt.Sprint(each))).Addr
		registered := zkcoord.RegisterBroker(s, zkcoord.DefaultRoot, zkcoord.BrokerInfo{ID: id, Addr: addr}, nil)
		registered.SetTopics(map[protocol.Topic]zkcoord.TopicOffer{"t": {Partitions: each, Publish: true, Subscribe: true}})
		if err := registered.Await(ctx); err != nil {
			b.Fatal(err)
		}
		defer registered.Unregister(ctx)
		conn, err := client.Dial(ctx, addr)
		if err != nil {
			b.Fatal(err)
		}
		for n := range int32(each) {
			if _, err := conn.Put(ctx, client.Message{Topic: "t", Partition: client.At(n), Body: []byte("x")}); err != nil {
				b.Fatal(err)
			}
			for kind, data := range map[string]string{"owners": "g_one", "offsets": "-1-0"} {
				if err := s.Create(ctx, fmt.Sprintf("/meta/consumers/g/%s/t/%d-%d", kind, id, n), []byte(data), zkcoord.Persistent); err != nil {
					b.Fatal(err)
				}
			}
		}
		conn.Close()
	}
	for b.Loop() {
		var out, words bytes.Buffer
		a := &app{out: &out, err: &words}
		code := a.execute(context.Background(), []string{"lag", "g", "--zk", z.Addr, "-o", "json"})
		if code != 0 || !bytes.Contains(out.Bytes(), []byte(`"total":{"messages":1000,`)) {
			b.Fatalf("exit code %d: %s\n%s", code, words.String(), out.String())
		}
	}
}
