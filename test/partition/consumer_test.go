package partition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/wire"
	"github.com/metaq/metaq/zkcoord"
)

// What the consumers are.
const (
	groupName = "g"
	topicName = "t"
	layout    = zkcoord.DefaultRoot

	sessionTime = 2 * time.Second
	commitEvery = 200 * time.Millisecond
	leaveBound  = 10 * time.Second
)

// What a consumer tells.
const (
	acquired = "acquired"
	released = "released"
	handed   = "handed"  // messages, to its user
	refused  = "refused" // a commit, because somebody else has committed
)

// A note is one line that a consumer writes.
type note struct {
	T     int64             `json:"t"` // nanoseconds of the machine's clock, which all processes share
	What  string            `json:"what"`
	Part  int               `json:"part"`
	Claim int               `json:"claim"` // the consumer's count of what it has had
	Off   int64             `json:"off,omitempty"`
	Got   []history.Message `json:"got,omitempty"`
}

// teller writes down what happens to a consumer.
type teller struct {
	mu    sync.Mutex
	out   *json.Encoder
	count int
	claim map[int]int // by partition
}

// consume runs a consumer of the client until its standard input ends, and then closes it.
func consume(zk, name string) int {
	t := &teller{out: json.NewEncoder(os.Stdout), claim: map[int]int{}}
	c, err := client.NewConsumer(zkcoord.ClusterScheme+zk, groupName, []string{topicName}, client.WithConsumerID(name), client.WithCommitEvery(commitEvery), client.WithWorkers(partitions),
		client.WithConsumerZooKeeper(client.ZooKeeper{SessionTimeout: sessionTime, ConnectTimeout: sessionTime / 3}), client.WithRebalanced(t.rebalanced),
		client.WithConsumerLog(slog.New(slog.NewTextHandler(refusals{t}, nil))))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(running, t.handed) }()
	_, err = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), leaveBound)
	defer cancel()
	err = errors.Join(err, c.Close(ctx))
	stop()
	if err = errors.Join(err, <-ended); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (t *teller) tellLocked(n note) {
	n.T = time.Now().UnixNano()
	if err := t.out.Encode(n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) // nobody listens any more
	}
}

// rebalanced is told of partitions that come and go.
func (t *teller) rebalanced(got, gaveUp []zkcoord.TopicPartition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range got {
		t.count++
		t.claim[int(p.Partition.Number)] = t.count
		t.tellLocked(note{What: acquired, Part: int(p.Partition.Number), Claim: t.count})
	}
	for _, p := range gaveUp {
		t.tellLocked(note{What: released, Part: int(p.Partition.Number), Claim: t.claim[int(p.Partition.Number)]})
	}
}

// handed is the handler of the messages.
func (t *teller) handed(_ context.Context, m client.Received) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	part := int(m.Partition)
	got := judged(part, wire.Message{Offset: m.Offset, ID: m.ID, Data: m.Body})
	t.tellLocked(note{What: handed, Part: part, Claim: t.claim[part], Off: m.Offset, Got: []history.Message{got}})
	return nil
}

// refusals are the log of a consumer, in which it says that somebody else has committed.
type refusals struct{ t *teller }

func (r refusals) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "somebody else has changed the offset") {
		r.t.mu.Lock()
		defer r.t.mu.Unlock()
		r.t.tellLocked(note{What: refused})
	}
	return os.Stderr.Write(line)
}

// judged is a message as histories have it. Its data are a letter, see letterSize.
func judged(part int, m wire.Message) history.Message {
	h := history.Message{Off: m.Offset, MID: m.ID, Len: len(m.Data), CRC: sumOf(m.Data)}
	n, err := wire.OpenLetter(wire.Queue{Topic: topicName, Partition: part}, m.Data)
	if err != nil {
		h.Bad = err.Error()
	}
	h.ID = fmt.Sprintf("w%d-%d", part, n)
	return h
}

func sumOf(b []byte) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(b)) }
