package partition

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
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
	fetchSize   = 64 << 10
	fetchWait   = 100 * time.Millisecond
	fetchBound  = time.Second // for an answer
	commitEvery = 200 * time.Millisecond
	saveBound   = time.Second
	retryEvery  = 50 * time.Millisecond
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

// consumer is a process that reads its share of a topic as the group consumer of the client does. It is made of the parts below that, so that what it does when is
// told exactly.
type consumer struct {
	broker  string
	offsets *zkcoord.Offsets

	mu    sync.Mutex
	out   *json.Encoder
	count int
	at    map[zkcoord.TopicPartition]*reading
}

// reading is a partition that is worked on.
type reading struct {
	claim zkcoord.Claim
	n     int
	stop  context.CancelFunc
	done  chan struct{}
	next  zkcoord.Offset // where to go on
	kept  zkcoord.Offset // that was committed
}

// consume runs a consumer until its standard input ends, and then leaves the group.
func consume(zk, broker, name string) int {
	s, err := zkcoord.Connect(zkcoord.Config{Connect: zk, SessionTimeout: sessionTime, ConnectTimeout: sessionTime / 3})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c := &consumer{broker: broker, offsets: zkcoord.NewOffsets(s, layout, groupName), out: json.NewEncoder(os.Stdout), at: map[zkcoord.TopicPartition]*reading{}}
	m := zkcoord.Join(s, layout, zkcoord.MemberConfig{Group: groupName, Consumer: name, Topics: []protocol.Topic{topicName}}, c)
	_, err = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), leaveBound)
	defer cancel()
	err = errors.Join(err, m.Leave(ctx))
	s.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (c *consumer) tell(n note) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.T = time.Now().UnixNano()
	if err := c.out.Encode(n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) // nobody listens any more
	}
}

// Acquire begins to read partitions.
func (c *consumer) Acquire(claims []zkcoord.Claim) {
	for _, claim := range claims {
		ctx, stop := context.WithCancel(context.Background())
		c.count++
		r := &reading{claim: claim, n: c.count, stop: stop, done: make(chan struct{})}
		c.at[claim.TopicPartition] = r
		c.tell(note{What: acquired, Part: r.part(), Claim: r.n})
		go func() {
			defer close(r.done)
			c.read(ctx, r)
		}()
	}
}

// Release ends that, and commits what is still its own.
func (c *consumer) Release(claims []zkcoord.Claim) {
	for _, claim := range claims {
		c.at[claim.TopicPartition].stop()
	}
	for _, claim := range claims {
		r := c.at[claim.TopicPartition]
		<-r.done
		c.save(r)
		c.tell(note{What: released, Part: r.part(), Claim: r.n})
		delete(c.at, claim.TopicPartition)
	}
}

func (r *reading) part() int { return int(r.claim.Partition.Number) }

// read hands over what comes in a partition, from where the group has come to.
func (c *consumer) read(ctx context.Context, r *reading) {
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		at, _, err := c.offsets.Load(ctx, r.claim.TopicPartition)
		if err == nil {
			r.next, r.kept = at, at
			break
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return
		}
	}
	for ctx.Err() == nil {
		err := c.follow(ctx, r)
		select {
		case <-retry.C:
		case <-ctx.Done():
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, r.claim, err)
		}
	}
}

// follow reads over one connection until something fails.
func (c *consumer) follow(ctx context.Context, r *reading) error {
	dialing, cancel := context.WithTimeout(ctx, fetchBound)
	conn, err := client.Dial(dialing, c.broker)
	cancel()
	if err != nil {
		return err
	}
	defer conn.Close()
	commit := time.NewTicker(commitEvery)
	defer commit.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, fetchBound)
		b, err := conn.Get(asking, topicName, groupName, r.claim.Partition.Number, r.next.Offset, fetchSize, fetchWait)
		cancel()
		var none *client.StatusError
		if err != nil && !(errors.As(err, &none) && none.Status == 404) {
			return err
		}
		if err := c.hand(r, b); err != nil {
			return err
		}
		select {
		case <-commit.C:
			c.save(r)
		case <-ctx.Done():
			return nil
		default:
		}
	}
}

// hand gives messages to the user, as long as the partition is its own for sure.
func (c *consumer) hand(r *reading, b []byte) error {
	list, next, err := wire.Messages(r.next.Offset, b)
	if err != nil || len(list) == 0 {
		return err
	}
	var got []history.Message
	for _, m := range list {
		got = append(got, judged(r.part(), m))
	}
	if !r.claim.Valid() {
		return errors.New("the session is over")
	}
	c.tell(note{What: handed, Part: r.part(), Claim: r.n, Off: r.next.Offset, Got: got})
	r.next = zkcoord.Offset{MessageID: list[len(list)-1].ID, Offset: next}
	return nil
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

// save commits how far a partition has come, if it is its own for sure.
func (c *consumer) save(r *reading) {
	if r.next == r.kept || !r.claim.Valid() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveBound)
	defer cancel()
	err := c.offsets.Save(ctx, map[zkcoord.TopicPartition]zkcoord.Offset{r.claim.TopicPartition: r.next})
	var moved *zkcoord.MovedError
	switch {
	case err == nil:
		r.kept = r.next
	case errors.As(err, &moved):
		c.tell(note{What: refused, Part: r.part(), Claim: r.n, Off: r.next.Offset})
	default:
		fmt.Fprintln(os.Stderr, cmp.Or(strings.TrimSpace(err.Error()), "save"))
	}
}
