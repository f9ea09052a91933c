// Package client is the Go client of MetaQ.
//
//	p, err := client.NewProducer("127.0.0.1:8123")
//	receipt, err := p.Send(ctx, "orders", []byte("hello"))
//
//	c, err := client.NewConsumer("127.0.0.1:8123", "billing", []string{"orders"})
//	for m, err := range c.Messages(ctx) { ... }
//
// A Producer pipelines: many goroutines may send at once, and SendAsync does not wait at all. What it accepts is sent in order over one
// connection to each broker, retried while Retriable says that it may help, and acknowledged when the broker counts it as safe by the topic's rule. A
// retry may store a message twice (at least once): the broker may have stored it before the answer was lost. Instead of a broker it takes a cluster,
// zk://host:2181; WithOrdered keeps an order over outages.
//
// A Consumer reads all partitions of its topics from one broker, or its share of a cluster as a member of its group, and delivers each message at least once: an
// offset is committed only after the message was handed over and the next one asked for. Offsets are kept on the broker, in a cluster in ZooKeeper, or where
// WithOffsetStore says: packages offsetfile and offsetsql have a file and a database, and offsettest has the tests for an OffsetStore of your own.
// WithBroadcast is for consumers that each want everything. WithRecovery is for handlers that may fail: their messages are kept on the local disk and tried again.
//
// A Browser reads a whole topic once, without a group.
//
// Everything here may be used from several goroutines, except one iteration of Messages. Close ends all goroutines. A Conn is the plain
// connection underneath, for tools. Package client/metaqtest starts a broker inside a test.
package client
