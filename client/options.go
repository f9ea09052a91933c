package client

import (
	"log/slog"
	"time"

	"github.com/metaq/metaq/zkcoord"
)

// producerOptions are the settings of a Producer; the defaults are in NewProducer.
type producerOptions struct {
	selector    Selector // nil: the default
	anywhere    bool     // the broker may choose the partition of a message without a key
	window      int
	maxMessages int
	maxBytes    int
	retryFor    time.Duration
	timeout     time.Duration
	ordered     *Ordered
	zookeeper   ZooKeeper
	log         *slog.Logger
}

// A ProducerOption changes a Producer.
type ProducerOption func(*producerOptions)

// WithSelector chooses how partitions are chosen. Default: RoundRobin.
func WithSelector(s Selector) ProducerOption { return func(o *producerOptions) { o.selector = s } }

// WithWindow bounds the messages that are sent and not answered yet. Default: 4096. With 1 the order of messages holds even when the broker
// refuses one of them for a while.
func WithWindow(messages int) ProducerOption { return func(o *producerOptions) { o.window = messages } }

// WithBuffer bounds what waits in the producer; beyond it Send and SendAsync block. Default: 65,536 messages and 64 MiB.
func WithBuffer(messages, bytes int) ProducerOption {
	return func(o *producerOptions) { o.maxMessages, o.maxBytes = messages, bytes }
}

// WithRetryFor is how long a message is tried again before it fails. 0: it is sent once. Default: 30 s.
func WithRetryFor(d time.Duration) ProducerOption { return func(o *producerOptions) { o.retryFor = d } }

// WithTimeout is how long a broker may leave everything that was sent to it without an answer. Then the connection counts as broken, and what was on its
// way is sent again. Default: 5 s.
func WithTimeout(d time.Duration) ProducerOption { return func(o *producerOptions) { o.timeout = d } }

// WithProducerLog takes a logger for reconnects. Default: silent.
func WithProducerLog(l *slog.Logger) ProducerOption { return func(o *producerOptions) { o.log = l } }

type consumerOptions struct {
	start       Start
	fetchSize   int32
	wait        time.Duration
	commitEvery time.Duration
	refresh     time.Duration
	offsets     OffsetStore // nil: those of the place, see WithOffsetStore
	onBrokers   bool        // each on the broker of its partition, see WithBrokerOffsets
	id          string      // "": one is made
	assign      zkcoord.Assignment
	broadcast   bool
	workers     int
	inHand      int
	filters     []Filter
	seen        Seen      // nil: every message is new
	recovery    *Recovery // nil: Run ends with the first message that fails
	zookeeper   ZooKeeper
	rebalanced  func(got, gaveUp []zkcoord.TopicPartition) // may be nil
	log         *slog.Logger
}

// A ConsumerOption changes a Consumer.
type ConsumerOption func(*consumerOptions)

// WithStart says where a group begins that has no offset yet. Default: FromEarliest.
func WithStart(s Start) ConsumerOption { return func(o *consumerOptions) { o.start = s } }

// WithFetchSize is how many bytes are asked for at once; up to twice as many a partition wait in the consumer. Default: 1 MiB.
func WithFetchSize(bytes int32) ConsumerOption {
	return func(o *consumerOptions) { o.fetchSize = bytes }
}

// WithCommitEvery is how often offsets are committed while messages are read. 0: only by Commit and Close. Default: 5 s.
func WithCommitEvery(d time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.commitEvery = d }
}

// WithOffsetStore says where the offsets of the group are kept. While the store cannot be had, the consumer waits for it. Default: on the broker if it stands
// alone, in a cluster in ZooKeeper, where members written in Java keep them.
func WithOffsetStore(s OffsetStore) ConsumerOption {
	return func(o *consumerOptions) { o.offsets = s }
}

// WithBrokerOffsets keeps the offsets of a group in a cluster on the brokers, each where its partition is, see BrokerOffsets. Members in Java cannot read them there.
func WithBrokerOffsets() ConsumerOption { return func(o *consumerOptions) { o.onBrokers = true } }

// WithConsumerID names the consumer in its group, as no other of the group is named. Default: one is made of address, process and time.
func WithConsumerID(id string) ConsumerOption { return func(o *consumerOptions) { o.id = id } }

// WithAssignment says how the partitions of a topic are dealt out in a cluster: zkcoord.AssignRanges, which is the default, or zkcoord.AssignByHash, with which
// fewer partitions change hands when a consumer comes or goes. It has to be the same for all members of the group, also those written in Java.
func WithAssignment(a zkcoord.Assignment) ConsumerOption {
	return func(o *consumerOptions) { o.assign = a }
}

// WithBroadcast makes a consumer of a cluster read every partition, whoever else is in the group. It needs an offset store of its own, a file for example.
func WithBroadcast() ConsumerOption { return func(o *consumerOptions) { o.broadcast = true } }

// WithRebalanced tells a member of a group in a cluster of the partitions that it gets, before it is given messages of them, and of those that it has given up: nothing
// more of them is handed over, and unless they were lost with the session, nothing is in a handler's hands either, and what was done is committed. One call ends
// before the next one begins, and the group waits for it, so it should be short; it must not call the consumer.
func WithRebalanced(fn func(got, gaveUp []zkcoord.TopicPartition)) ConsumerOption {
	return func(o *consumerOptions) { o.rebalanced = fn }
}

// WithConsumerLog takes a logger for reconnects. Default: silent.
func WithConsumerLog(l *slog.Logger) ConsumerOption { return func(o *consumerOptions) { o.log = l } }

// Start is a place to begin.
type Start struct {
	kind   startKind
	offset int64
	time   time.Time
}

type startKind uint8

const (
	earliest startKind = iota
	latest
	atOffset
	atTime
)

// FromEarliest begins with the oldest message there is.
func FromEarliest() Start { return Start{kind: earliest} }

// FromLatest begins with what comes from when messages are asked for first. Partitions that are there then begin at their end. Those that come later, as with
// another broker or a new topic, or that cannot be asked then, begin with the first message stored since, by the clock of this machine and that of the broker.
func FromLatest() Start { return Start{kind: latest} }

// FromOffset begins at a logical offset, in every partition.
func FromOffset(offset int64) Start { return Start{kind: atOffset, offset: offset} }

// FromTime begins with the first message stored at or after a time.
func FromTime(t time.Time) Start { return Start{kind: atTime, time: t} }
