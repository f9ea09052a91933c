package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// Message is what is sent.
type Message struct {
	Topic     string
	Partition Choice // zero: the producer chooses
	Key       string // messages of one key go to one partition, if there is no Partition
	Attribute string // stored beside the body
	Body      []byte // belongs to the client until the message is acknowledged or has failed
}

// Partition is one of a topic: the broker's id, which is 0 if it stands alone, and the number there, which begins with 0.
type Partition = zkcoord.Partition

// Choice is a partition that the sender of a message has chosen, by At or AtBroker. The zero Choice is none.
type Choice struct {
	partition Partition
	made      bool
}

// At chooses partition n of a broker that stands alone.
func At(n int32) Choice { return AtBroker(0, n) }

// AtBroker chooses partition n of a broker of a cluster.
func AtBroker(id int, n int32) Choice { return Choice{Partition{Broker: id, Number: n}, true} }

// Partition is the partition that was chosen, if one was.
func (c Choice) Partition() (p Partition, made bool) { return c.partition, c.made }

// number is the number of the partition as put takes it: -1 leaves the choice to the broker.
func (c Choice) number() int32 {
	if !c.made {
		return -1
	}
	return c.partition.Number
}

// Receipt is what the broker says of a stored message.
type Receipt struct {
	ID        int64
	Broker    int // id of the broker in a cluster; 0 if it stands alone
	Partition int32
	Offset    int64 // logical, in bytes
	// Spilled says that no broker has the message yet: it is on the disk of this machine, and is sent when the broker is back (WithOrdered). There is no
	// ID and no Offset then.
	Spilled bool
}

// data is the body as it is stored, and its flag.
func (m Message) data() (data []byte, flag int32) {
	if m.Attribute == "" {
		return m.Body, 0
	}
	return protocol.AppendAttribute(nil, m.Attribute, m.Body), protocol.FlagAttribute
}

func parseReceipt(r *protocol.Response) (Receipt, error) {
	if err := check(r); err != nil {
		return Receipt{}, err
	}
	id, partition, offset, err := protocol.ParsePutResult(r.Body)
	return Receipt{ID: id, Partition: partition, Offset: offset}, err
}

func parseOffset(b []byte) (int64, error) { return strconv.ParseInt(string(b), 10, 64) }

// Put stores one message; without a Partition the broker chooses one.
func (c *Conn) Put(ctx context.Context, m Message) (Receipt, error) {
	topic, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		return Receipt{}, err
	}
	data, flag := m.data()
	type result struct {
		receipt Receipt
		err     error
	}
	got := make(chan result, 1)
	c.do(func(dst []byte, opaque int32) []byte {
		return protocol.AppendPut(dst, topic, m.Partition.number(), flag, data, opaque)
	}, func(r *protocol.Response, err error) {
		var receipt Receipt
		if err == nil {
			receipt, err = parseReceipt(r)
		}
		got <- result{receipt, err}
	})
	select {
	case r := <-got:
		return r.receipt, r.err
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}

// Get reads stored messages from an offset on, at most maxSize bytes, cut anywhere. With wait >= 0 the broker waits so long for something
// to come. The bytes belong to the caller. *MovedError says where to go on; a StatusError of 404 that there is nothing (yet).
func (c *Conn) Get(ctx context.Context, topic protocol.Topic, group string, partition int32, offset int64, maxSize int32, wait time.Duration) ([]byte, error) {
	waitMs := int32(-1)
	if wait >= 0 {
		waitMs = int32(min(wait.Milliseconds(), 1<<31-1))
	}
	return c.call(ctx, func(dst []byte, opaque int32) []byte {
		return protocol.AppendGet(dst, topic, group, partition, offset, maxSize, waitMs, opaque)
	})
}

func (c *Conn) callOffset(ctx context.Context, encode func(dst []byte, opaque int32) []byte) (int64, error) {
	b, err := c.call(ctx, encode)
	if err != nil {
		return 0, err
	}
	offset, err := parseOffset(b)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no offset", protocol.ErrResponse, b)
	}
	return offset, nil
}

// Seek is the offset of the first message stored at or after a time, the end if there is none.
func (c *Conn) Seek(ctx context.Context, topic protocol.Topic, partition int32, at time.Time) (int64, error) {
	return c.callOffset(ctx, func(dst []byte, opaque int32) []byte {
		return protocol.AppendSeek(dst, topic, partition, at.UnixMilli(), opaque)
	})
}

// Lag is what a reader has before it.
type Lag struct {
	Messages int64
	Bytes    int64
	Age      time.Duration // how long ago the first of the messages was stored; 0 if there is none
}

// Lag asks what lies between an offset and the end of a partition.
func (c *Conn) Lag(ctx context.Context, topic protocol.Topic, partition int32, offset int64) (Lag, error) {
	b, err := c.call(ctx, func(dst []byte, opaque int32) []byte {
		return protocol.AppendLag(dst, topic, partition, offset, opaque)
	})
	if err != nil {
		return Lag{}, err
	}
	var lag Lag
	var millis int64
	if _, err := fmt.Sscan(string(b), &lag.Messages, &lag.Bytes, &millis); err != nil {
		return Lag{}, fmt.Errorf("%w: %q is no lag", protocol.ErrResponse, b)
	}
	lag.Age = time.Duration(millis) * time.Millisecond
	return lag, nil
}

// Committed is where a group goes on in a partition; a StatusError of 404 if it never committed.
func (c *Conn) Committed(ctx context.Context, topic protocol.Topic, group protocol.Group, partition int32) (int64, error) {
	return c.callOffset(ctx, func(dst []byte, opaque int32) []byte {
		return protocol.AppendCommitted(dst, topic, group, partition, opaque)
	})
}

// Commit keeps on the broker where a group goes on.
func (c *Conn) Commit(ctx context.Context, topic protocol.Topic, group protocol.Group, partition int32, offset int64) error {
	_, err := c.call(ctx, func(dst []byte, opaque int32) []byte {
		return protocol.AppendCommit(dst, topic, group, partition, offset, opaque)
	})
	return err
}

// ClosePartitions makes the broker refuse puts and gets of a range of partitions with 403.
func (c *Conn) ClosePartitions(ctx context.Context, topic protocol.Topic, first, last int32) error {
	_, err := c.call(ctx, func(dst []byte, opaque int32) []byte { return protocol.AppendClose(dst, topic, first, last, opaque) })
	return err
}

// OpenPartitions opens closed partitions again.
func (c *Conn) OpenPartitions(ctx context.Context, topic protocol.Topic, first, last int32) error {
	_, err := c.call(ctx, func(dst []byte, opaque int32) []byte { return protocol.AppendOpen(dst, topic, first, last, opaque) })
	return err
}

// Version asks for the broker's version. It is also a heartbeat.
func (c *Conn) Version(ctx context.Context) (string, error) {
	b, err := c.call(ctx, protocol.AppendVersion)
	return string(b), err
}

// Stats asks for an item of the statistics, "" for those of the broker, and returns the text as it came.
func (c *Conn) Stats(ctx context.Context, item string) (string, error) {
	if strings.ContainsAny(item, " \r\n") {
		return "", fmt.Errorf("metaq: %q is not one word", item)
	}
	b, err := c.call(ctx, func(dst []byte, opaque int32) []byte { return protocol.AppendStats(dst, item, opaque) })
	return string(b), err
}

// TopicInfo is a line of Topics.
type TopicInfo struct {
	Name            protocol.Topic
	Partitions      int
	Messages, Bytes int64
}

// Topics lists the topics of the broker.
func (c *Conn) Topics(ctx context.Context) ([]TopicInfo, error) {
	b, err := c.call(ctx, protocol.AppendTopics)
	if err != nil {
		return nil, err
	}
	var list []TopicInfo
	for line := range strings.Lines(string(b)) {
		var t TopicInfo
		if _, err := fmt.Sscan(line, (*string)(&t.Name), &t.Partitions, &t.Messages, &t.Bytes); err != nil {
			return nil, fmt.Errorf("%w: line %q of topics", protocol.ErrResponse, line)
		}
		list = append(list, t)
	}
	return list, nil
}

// Route is where a partition is.
type Route struct {
	Partition int32
	Master    string   // host:port
	Slaves    []string // host:port
}

// Route lists the partitions that this broker has of a topic, also those that were never written.
func (c *Conn) Route(ctx context.Context, topic protocol.Topic) ([]Route, error) {
	list, err := c.ClusterRoute(ctx, topic)
	// Its own come first.
	if n := slices.IndexFunc(list, func(r Route) bool { return r.Master != list[0].Master }); n >= 0 {
		list = list[:n]
	}
	return list, err
}

// ClusterRoute lists the partitions that all brokers of a cluster have of a topic, those of this one first. Partitions of different brokers have the same
// numbers. Of a broker that is alone it says the same as Route.
func (c *Conn) ClusterRoute(ctx context.Context, topic protocol.Topic) ([]Route, error) {
	b, err := c.call(ctx, func(dst []byte, opaque int32) []byte { return protocol.AppendRoute(dst, topic, opaque) })
	if err != nil {
		return nil, err
	}
	var list []Route
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			return nil, fmt.Errorf("%w: line %q of route", protocol.ErrResponse, line)
		}
		n, err := strconv.ParseInt(words[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: line %q of route", protocol.ErrResponse, line)
		}
		list = append(list, Route{Partition: int32(n), Master: words[1], Slaves: words[2:]})
	}
	return list, nil
}
