package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

const (
	browserGroup     = "metaq-browser" // what a browser calls itself in its requests; nothing is kept for it
	browserFetchSize = 1 << 20
	browserRetryFor  = 30 * time.Second // how long it waits for a broker that cannot be had
	browserTimeout   = 10 * time.Second // for one answer, and the connection before it
	countTries       = 5                // to count a partition while nothing is put into it
)

// A Browser reads all messages of a topic once, up to the end that the topic had when the browser was opened. It belongs to no group and keeps no offsets.
type Browser struct {
	topic   protocol.Topic
	cluster *cluster

	mu       sync.Mutex
	parts    []*browsed // those that are not read to their end, the first one is being read
	progress BrowserProgress
}

// browsed is a partition of which messages are left.
type browsed struct {
	place    zkcoord.TopicPartition
	replicas []string // host:port; the first one is asked
	offset   int64
	end      int64
	size     int32
	list     []Received // fetched, and not handed over
}

// BrowserProgress is how far a Browser is. The totals are exact, unless messages were put into the topic in the very moment when it was opened. Messages
// that retention removes meanwhile are not read.
type BrowserProgress struct {
	Messages, Bytes           int64 // handed over
	TotalMessages, TotalBytes int64
}

// A BrowserOption changes a Browser.
type BrowserOption func(*browserOptions)

type browserOptions struct{ start Start }

// BrowseFrom says where a browser begins in each partition. Default: FromEarliest.
func BrowseFrom(s Start) BrowserOption { return func(o *browserOptions) { o.start = s } }

// OpenBrowser finds the partitions of a topic, on one broker (host:port) or on all of a cluster (zk://...), and their ends. A topic that is not there is
// one without messages. Closed partitions of a broker that stands alone are left out; in a cluster they are an error.
func OpenBrowser(ctx context.Context, addr, topic string, opts ...BrowserOption) (*Browser, error) {
	var o browserOptions
	for _, opt := range opts {
		opt(&o)
	}
	b := &Browser{}
	var err error
	if b.topic, err = protocol.ParseTopic(topic); err != nil {
		return nil, fmt.Errorf("metaq: %w", err)
	}
	if b.cluster, err = openCluster(addr, ZooKeeper{}, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	if err := b.open(ctx, o.start); err != nil {
		b.cluster.close()
		return nil, err
	}
	return b, nil
}

// Close ends the browser and its connections.
func (b *Browser) Close() { b.cluster.close() }

// Progress tells how far the messages have been handed over. It may be called while somebody iterates.
func (b *Browser) Progress() BrowserProgress {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.progress
}

// Messages iterates over the messages, partition after partition, and ends with the last one. An error is yielded once and ends it. A later
// iteration goes on behind the last message that was handed over. One goroutine may iterate at a time.
func (b *Browser) Messages(ctx context.Context) iter.Seq2[Received, error] {
	return func(yield func(Received, error) bool) {
		for len(b.parts) > 0 {
			p := b.parts[0]
			if len(p.list) == 0 && p.offset < p.end {
				if err := b.ask(ctx, p, p.fetch); err != nil {
					yield(Received{}, fmt.Errorf("browse %s at offset %d: %w", p.place, p.offset, err))
					return
				}
			}
			for len(p.list) > 0 {
				m := p.list[0]
				p.list = p.list[1:]
				b.mu.Lock()
				b.progress.Messages++
				b.progress.Bytes += m.Next - m.Offset
				b.mu.Unlock()
				if !yield(m, nil) {
					return
				}
			}
			if p.offset >= p.end {
				b.parts = b.parts[1:]
			}
		}
	}
}

// open finds the partitions and where they begin and end.
func (b *Browser) open(ctx context.Context, start Start) error {
	if err := b.find(ctx); err != nil {
		return fmt.Errorf("browse %s: %w", b.topic, err)
	}
	for _, p := range b.parts {
		var lag Lag
		err := b.ask(ctx, p, func(ctx context.Context, conn *Conn) (err error) {
			lag, err = p.measure(ctx, conn, start)
			return err
		})
		if err != nil {
			return fmt.Errorf("browse %s: %w", p.place, err)
		}
		b.progress.TotalMessages += lag.Messages
		b.progress.TotalBytes += lag.Bytes
	}
	return nil
}

func (b *Browser) find(ctx context.Context) error {
	if b.cluster.directory == nil {
		alone := &browsed{replicas: []string{b.cluster.alone}}
		return b.ask(ctx, alone, func(ctx context.Context, conn *Conn) error {
			list, err := conn.Route(ctx, b.topic)
			if statusOf(err) == protocol.StatusNotFound {
				return nil
			}
			for _, r := range list {
				b.add(Partition{Number: r.Partition}, b.cluster.alone)
			}
			return err
		})
	}
	if err := b.cluster.session.Await(ctx); err != nil {
		return err
	}
	offers, err := b.cluster.directory.Lookup(ctx, zkcoord.UseSubscribe, b.topic)
	if err != nil {
		return err
	}
	for _, o := range offers {
		for n := range o.Partitions {
			b.add(Partition{Broker: o.Replica.Broker, Number: n}, o.Addr)
		}
	}
	slices.SortFunc(b.parts, func(x, y *browsed) int { return zkcoord.ComparePartitions(x.place.Partition, y.place.Partition) })
	return nil
}

// add notes who has a partition.
func (b *Browser) add(partition Partition, addr string) {
	for _, p := range b.parts {
		if p.place.Partition == partition {
			p.replicas = append(p.replicas, addr)
			return
		}
	}
	b.parts = append(b.parts, &browsed{place: zkcoord.TopicPartition{Topic: b.topic, Partition: partition}, replicas: []string{addr}, size: browserFetchSize})
}

// ask asks a broker, and the replicas of the partition in turn while they do not answer.
func (b *Browser) ask(ctx context.Context, p *browsed, question func(context.Context, *Conn) error) error {
	wait, until := newBackoff(), time.Now().Add(browserRetryFor)
	for {
		err := b.askOnce(ctx, p, question)
		if !Retriable(err) || time.Now().After(until) {
			return err
		}
		p.replicas = append(p.replicas[1:], p.replicas[0])
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return cmp.Or(ctx.Err(), err)
		}
	}
}

func (b *Browser) askOnce(ctx context.Context, p *browsed, question func(context.Context, *Conn) error) error {
	within, cancel := context.WithTimeout(ctx, browserTimeout)
	defer cancel()
	conn, err := b.cluster.conn(within, p.replicas[0])
	if err == nil {
		err = question(within, conn)
	}
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		if conn != nil {
			conn.fail(fmt.Errorf("metaq: no answer for %v: %w", browserTimeout, context.DeadlineExceeded))
		}
		return &StatusError{Status: protocol.StatusTimeout, Text: "no answer from " + p.replicas[0]}
	}
	return err
}

// measure finds where a partition begins and ends, and what lies between.
func (p *browsed) measure(ctx context.Context, conn *Conn, start Start) (lag Lag, err error) {
	topic, number := p.place.Topic, p.place.Partition.Number
	for range countTries {
		if p.end, err = endOf(ctx, conn, topic, number); err != nil || p.end == 0 {
			return lag, err // nothing was ever stored there, or it cannot be known
		}
		switch start.kind {
		case latest:
			p.offset = p.end
		case atOffset:
			p.offset = start.offset
		case atTime:
			if p.offset, err = conn.Seek(ctx, topic, number, start.time); err != nil {
				return lag, err
			}
		}
		if p.offset >= p.end {
			return Lag{}, nil
		}
		if lag, err = conn.Lag(ctx, topic, number, p.offset); err != nil {
			return lag, err
		}
		end, err := endOf(ctx, conn, topic, number)
		if err != nil || end == p.end {
			return lag, err
		}
	}
	return lag, nil
}

// endOf is the end of a partition; one that was never written ends at 0.
func endOf(ctx context.Context, conn *Conn, topic protocol.Topic, partition int32) (int64, error) {
	_, err := conn.Get(ctx, topic, browserGroup, partition, math.MaxInt64, 1, -1)
	var moved *MovedError
	switch {
	case errors.As(err, &moved):
		return moved.Offset, nil
	case statusOf(err) == protocol.StatusNotFound:
		return 0, nil
	case err == nil:
		return 0, fmt.Errorf("%w: a message at the largest offset", protocol.ErrResponse)
	}
	return 0, err
}

// fetch asks for messages until there are some, or the end is reached.
func (p *browsed) fetch(ctx context.Context, conn *Conn) error {
	for p.offset < p.end {
		data, err := conn.Get(ctx, p.place.Topic, browserGroup, p.place.Partition.Number, p.offset, p.size, -1)
		var moved *MovedError
		switch {
		case errors.As(err, &moved) && moved.Offset > p.offset:
			p.offset = moved.Offset
			continue
		case errors.As(err, &moved), statusOf(err) == protocol.StatusNotFound:
			// There is less than there was: a slave is asked that is behind, or messages were removed.
			p.offset = p.end
			return nil
		case err != nil:
			return err
		}
		list, used, err := decode(p.place, p.offset, data)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			p.offset += int64(used)
			p.size = browserFetchSize
			p.list = slices.DeleteFunc(list, func(m Received) bool { return m.Offset >= p.end })
			return nil
		}
		// The message is larger than what was asked for.
		p.size = int32(min(max(protocol.MessageSize(data), 2*int64(p.size)), math.MaxInt32))
	}
	return nil
}
