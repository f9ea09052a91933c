package main

import (
	"context"
	"fmt"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

const (
	// readerGroup is what get calls itself when no --group was given; nothing is kept for it.
	readerGroup = "metaq-get"
	// fetchSize is what is asked for at a time; it grows when a single message is larger.
	fetchSize = 1 << 20
	// commitEvery bounds how much a killed get may print again.
	commitEvery = time.Second
	// commitTimeout bounds keeping the positions after an interrupt.
	commitTimeout = 5 * time.Second
)

// reader carries out one get: it fetches from the partitions, prints, and keeps the group's positions.
type reader struct {
	*app
	options *getOptions
	printer *printer
	cluster *cluster     // nil: one broker
	conn    *client.Conn // to that one, for questions and commits
	group   string
	known   map[zkcoord.Partition]bool // those of the topic that are read, or are left out
	away    map[int]bool               // brokers that did not answer at the start
	began   time.Time

	printed int64
	pending map[zkcoord.Partition]int64 // positions that are printed but not committed
	kept    time.Time                   // when positions were committed last
}

func newReader(a *app, o *getOptions) *reader {
	r := &reader{app: a, options: o, printer: newPrinter(a.out, o.output), group: o.group, known: map[zkcoord.Partition]bool{}, away: map[int]bool{}, began: time.Now(), pending: map[zkcoord.Partition]int64{}}
	if r.group == "" {
		r.group = readerGroup
	}
	return r
}

func (r *reader) close() {
	if r.conn != nil {
		r.conn.Close()
	}
	if r.cluster != nil {
		r.cluster.close()
	}
}

// connTo is the connection for questions to the broker that has a partition.
func (r *reader) connTo(ctx context.Context, p zkcoord.Partition) (*client.Conn, error) {
	if r.cluster != nil {
		return r.cluster.dial(ctx, p.Broker)
	}
	return r.conn, nil
}

// dialTo makes another connection to the broker that has a partition.
func (r *reader) dialTo(ctx context.Context, p zkcoord.Partition) (*client.Conn, error) {
	if r.cluster == nil {
		return r.dial(ctx)
	}
	addr, err := r.cluster.masterAddr(ctx, p.Broker)
	if err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return client.Dial(dialCtx, addr)
}

func (r *reader) run(ctx context.Context) (err error) {
	if r.app.cluster != nil {
		if r.cluster, err = r.openCluster(ctx); err != nil {
			return err
		}
	} else if r.conn, err = r.dial(ctx); err != nil {
		return err
	}
	var partitions []zkcoord.Partition
	switch {
	case r.options.partition != nil:
		partitions = []zkcoord.Partition{*r.options.partition}
	case r.cluster != nil:
		partitions, err = r.clusterPartitions(ctx)
	default:
		partitions, err = r.openPartitions(ctx, r.conn, 0)
	}
	if err != nil {
		return err
	}
	if r.options.from.kind == atOffset && r.options.from.offset > 0 && len(partitions) > 1 {
		return usagef("--from %d is an offset of one partition, and %s has %d: add --partition", r.options.from.offset,
			r.options.topic, len(partitions))
	}
	// Whatever ends the reading: what was printed is flushed and its positions are kept, also after an interrupt.
	defer func() {
		keepCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		if keepErr := r.keep(keepCtx); err == nil {
			err = keepErr
		}
	}()
	if r.options.follow {
		return r.follow(ctx, partitions)
	}
	for _, partition := range partitions {
		if err := r.drain(ctx, partition); err != nil {
			return err
		}
		if r.full() {
			break
		}
	}
	if r.printed == 0 {
		return notFoundf("nothing to read in topic %s", r.options.topic)
	}
	return nil
}

// clusterPartitions lists the partitions that the brokers of the cluster have open.
func (r *reader) clusterPartitions(ctx context.Context) ([]zkcoord.Partition, error) {
	if err := r.cluster.needMasters(); err != nil {
		return nil, err
	}
	offers, err := r.cluster.directory.Lookup(ctx, zkcoord.UseSubscribe, r.options.topic)
	if err != nil {
		return nil, err
	}
	var list []zkcoord.Partition
	for _, p := range masterPartitions(offers) {
		r.known[p] = true
		if p.Number == 0 {
			open, err := r.openOn(ctx, p.Broker)
			if err != nil && (!r.options.follow || !client.Retriable(err)) {
				return nil, err
			}
			if err != nil { // whoever follows waits for it
				r.say("%v: going on with the others, and trying again", err)
				r.away[p.Broker] = true
			}
			list = append(list, open...)
		}
		if r.away[p.Broker] {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, notFoundf("no broker of %s has the topic %s now", r.cluster, r.options.topic)
	}
	return list, nil
}

// openOn lists the partitions that a broker of the cluster has open.
func (r *reader) openOn(ctx context.Context, broker int) ([]zkcoord.Partition, error) {
	conn, err := r.cluster.dial(ctx, broker)
	if err != nil {
		return nil, err
	}
	return r.openPartitions(ctx, conn, broker)
}

// masterPartitions lists the partitions of masters.
func masterPartitions(offers []zkcoord.Offer) (list []zkcoord.Partition) {
	for _, o := range offers {
		for n := range o.Partitions {
			if o.Replica.IsMaster() {
				list = append(list, zkcoord.Partition{Broker: o.Replica.Broker, Number: n})
			}
		}
	}
	return list
}

// openPartitions lists the partitions that a broker has open, and warns of those that are left out.
func (r *reader) openPartitions(ctx context.Context, conn *client.Conn, broker int) ([]zkcoord.Partition, error) {
	numbers, err := r.partitions(ctx, conn, r.options.topic)
	if err != nil {
		return nil, err
	}
	topics, err := conn.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	for _, t := range topics {
		if t.Name == r.options.topic && t.Partitions > len(numbers) {
			r.say("%d of %d partitions of %s are closed and not read", t.Partitions-len(numbers), t.Partitions, t.Name)
		}
	}
	list := make([]zkcoord.Partition, len(numbers))
	for i, n := range numbers {
		list[i] = zkcoord.Partition{Broker: broker, Number: n}
	}
	return list, nil
}

// full tells whether -n messages have been printed.
func (r *reader) full() bool { return r.options.count > 0 && r.printed >= r.options.count }

// drain prints one partition up to the end it has now.
func (r *reader) drain(ctx context.Context, partition zkcoord.Partition) error {
	conn, err := r.connTo(ctx, partition)
	if err != nil {
		return err
	}
	c := r.newCursor(partition)
	if err := c.begin(ctx, conn); err != nil {
		return err
	}
	end, err := c.end(ctx, conn)
	if err != nil {
		return err
	}
	for c.offset < end && !r.full() {
		b, err := c.fetch(ctx, conn, -1)
		if err != nil {
			return err
		}
		if b.ended {
			return nil
		}
		if err := r.show(b, end); err != nil {
			return err
		}
		if time.Since(r.kept) > commitEvery {
			if err := r.keep(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// show prints the messages of a batch that begin before end, as far as -n allows.
func (r *reader) show(b batch, end int64) error {
	for _, m := range b.messages {
		if r.full() || m.offset >= end {
			return nil
		}
		if err := r.printer.print(m); err != nil {
			return err
		}
		r.printed++
		r.pending[b.partition] = m.next
	}
	return nil
}

// keep flushes what was printed, and then commits the group's positions.
func (r *reader) keep(ctx context.Context) error {
	if err := r.printer.flush(); err != nil {
		return err
	}
	r.kept = time.Now()
	if r.options.group == "" || r.options.noCommit {
		clear(r.pending)
		return nil
	}
	for partition, offset := range r.pending {
		if err := r.commit(ctx, partition.Number, offset); err != nil {
			return fmt.Errorf("keep the position of group %s in partition %s: %w", r.options.group, r.partitionName(partition), err)
		}
		delete(r.pending, partition)
	}
	return nil
}

// commit tells the broker how far the group is in one partition. The connection for it is mostly idle, and may have been lost
// long ago without anybody noticing: then it is made again.
func (r *reader) commit(ctx context.Context, partition int32, offset int64) error {
	group := protocol.Group(r.options.group)
	err := r.conn.Commit(ctx, r.options.topic, group, partition, offset)
	if !client.Retriable(err) {
		return err
	}
	conn, dialErr := r.dial(ctx)
	if dialErr != nil {
		return err
	}
	r.conn.Close()
	r.conn = conn
	return r.conn.Commit(ctx, r.options.topic, group, partition, offset)
}
