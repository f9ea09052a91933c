package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// Recovery is what Run does with messages whose handler fails, see WithRecovery. Zero values stand for the defaults.
type Recovery struct {
	// Dir is where those messages are stored, below a directory for the group. One consumer of a group uses it at a time.
	Dir string
	// MaxBytes bounds what is stored, and once more what is rejected. When as much is stored, a partition with one more message that fails stops there, says so
	// (WithConsumerLog, Consumer.Recovery), and goes on when there is room or the handler succeeds. Default: 256 MiB.
	MaxBytes int64

	// Attempts is how often the handler gets a message before it is stored. Its partition waits meanwhile, others go on. Default: 5.
	Attempts int
	// RetryFrom and RetryTo bound the pauses between these attempts; each is twice as long as the one before. Default: 100 ms and 2 s.
	RetryFrom, RetryTo time.Duration

	// Retries is how often the handler gets a stored message before Reject does; -1: no limit. Default: 20, which takes about an hour.
	Retries int
	// MaxAge is how long after its first failure a message is tried again before Reject gets it. Default: no limit.
	MaxAge time.Duration
	// StoredFrom and StoredTo bound the pauses between the tries of stored messages. Default: 1 s and 5 min.
	StoredFrom, StoredTo time.Duration

	// Reject gets a message that is given up, and is called again later if it fails. Default: the message is logged and appended to the file rejected.jsonl in the
	// directory of the group, see ReadRejected and Consumer.Redrive.
	Reject func(context.Context, Rejected) error
}

// WithRecovery lets Run go on when the handler fails. The message is tried again after pauses; then it is put into a local store, flushed to the disk, and counts
// as done, so that its partition goes on. Stored messages are tried again beside the others, in no certain order, also after a restart of the program,
// until the handler succeeds or they are rejected. The handler is then called from at least two goroutines.
func WithRecovery(r Recovery) ConsumerOption { return func(o *consumerOptions) { o.recovery = &r } }

// RecoveryStatus tells what a consumer has with messages whose handler fails.
type RecoveryStatus struct {
	Stored  int   // messages that are tried again from the local store
	Bytes   int64 // of the disk that they use
	Stopped map[zkcoord.TopicPartition]error
}

// Recovery tells how it stands; zero without WithRecovery.
func (c *Consumer) Recovery() RecoveryStatus {
	if c.recovery == nil {
		return RecoveryStatus{}
	}
	return c.recovery.status()
}

const (
	defaultRecoveryBytes = 256 << 20
	stoppedFor           = time.Second // how long a partition waits before its message is tried again that could not be stored
)

// recovery carries out a Recovery.
type recovery struct {
	Recovery
	log      *slog.Logger
	store    *failedStore
	rejected *rejectedFile

	mu      sync.Mutex
	stopped map[zkcoord.TopicPartition]error
}

func openRecovery(r Recovery, group protocol.Group, log *slog.Logger) (*recovery, error) {
	if r.Dir == "" {
		return nil, errors.New("metaq: recovery needs a directory for messages whose handler fails")
	}
	for _, d := range []struct {
		value    *int64
		standard int64
	}{{&r.MaxBytes, defaultRecoveryBytes},
		{(*int64)(&r.RetryFrom), int64(100 * time.Millisecond)}, {(*int64)(&r.RetryTo), int64(2 * time.Second)},
		{(*int64)(&r.StoredFrom), int64(time.Second)}, {(*int64)(&r.StoredTo), int64(5 * time.Minute)}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
		if *d.value < 0 {
			return nil, fmt.Errorf("metaq: recovery: %d is negative", *d.value)
		}
	}
	if r.Attempts == 0 {
		r.Attempts = 5
	}
	if r.Retries == 0 {
		r.Retries = 20
	}
	if r.Attempts < 1 || r.Retries < -1 || r.MaxAge < 0 {
		return nil, fmt.Errorf("metaq: recovery: %d attempts, %d retries of stored messages, an age of %v: none may be negative, but retries may be -1",
			r.Attempts, r.Retries, r.MaxAge)
	}
	dir := filepath.Join(r.Dir, string(group))
	store, err := openFailedStore(dir, r.MaxBytes)
	if err != nil {
		return nil, err
	}
	v := &recovery{Recovery: r, log: log, store: store, stopped: map[zkcoord.TopicPartition]error{}}
	if v.rejected, err = openRejectedFile(dir, r.MaxBytes); err != nil {
		return nil, errors.Join(err, store.close())
	}
	return v, nil
}

func (r *recovery) close() error { return r.store.close() }

func (r *recovery) status() (s RecoveryStatus) {
	s.Stored, s.Bytes = r.store.size()
	s.Stopped = map[zkcoord.TopicPartition]error{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, err := range r.stopped {
		s.Stopped[p] = err
	}
	return s
}

// pauseAfter is the pause after so many failures.
func pauseAfter(failures int, from, to time.Duration) time.Duration {
	d := from
	for range failures - 1 {
		if d >= to {
			break
		}
		d *= 2
	}
	return min(d, to)
}

// failed takes the failure of the first message of a batch. It says whether the message is safe in the store; otherwise it tells the batch when to go on.
func (r *recovery) failed(b *batch, m Received, failure error) (stored bool) {
	b.tries++
	if b.tries < r.Attempts {
		b.resume = time.Now().Add(pauseAfter(b.tries, r.RetryFrom, r.RetryTo))
		return false
	}
	now := time.Now()
	err := r.store.add(failedMessage{Received: m, since: now, due: now.Add(pauseAfter(1, r.StoredFrom, r.StoredTo))})
	if err == nil {
		r.log.Warn("a message whose handler fails is stored and tried again later", "topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "error", failure)
		return true
	}
	b.resume = now.Add(stoppedFor)
	if !b.stopped {
		r.log.Error("a partition stops: the handler of a message fails, and the message cannot be stored", "topic", m.Topic, "partition", m.Partition,
			"offset", m.Offset, "error", failure, "store", err)
	}
	b.stopped = true
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped[m.place()] = err
	return false
}

// goesOn notes that a batch does not stop its partition any more, if it did.
func (r *recovery) goesOn(b *batch) {
	if !b.stopped {
		return
	}
	b.stopped = false
	p := b.from.claim.place
	r.log.Info("a partition that had stopped goes on", "topic", p.Topic, "partition", p.Partition)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.stopped, p)
}

func (m Received) place() zkcoord.TopicPartition {
	return zkcoord.TopicPartition{Topic: protocol.Topic(m.Topic), Partition: Partition{Broker: m.Broker, Number: m.Partition}}
}

// run tries stored messages again until ctx ends.
func (r *recovery) run(ctx context.Context, handler func(context.Context, Received) error) {
	for ctx.Err() == nil {
		f, wait, added := r.store.next()
		if f != nil {
			r.retry(ctx, f, handler)
			continue
		}
		var due <-chan time.Time // never, if nothing is stored
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-due:
		case <-added:
		case <-ctx.Done():
		}
	}
}

func (r *recovery) retry(ctx context.Context, f *failedMessage, handler func(context.Context, Received) error) {
	if err := r.store.load(f); err != nil {
		r.log.Error("a stored message cannot be read", "error", err)
		r.store.later(f, r.StoredTo)
		return
	}
	where := []any{"topic", f.Topic, "partition", f.Partition, "offset", f.Offset}
	given := f.Received
	given.Body = bytes.Clone(f.Body) // the handler may write into it, and fail
	failure := handler(ctx, given)
	switch {
	case failure == nil:
		r.store.done(f)
		return
	case ctx.Err() != nil:
		r.store.later(f, 0) // it was told to stop; that is no failure
		return
	}
	f.tries++
	if (r.Retries < 0 || f.tries < r.Retries) && (r.MaxAge == 0 || time.Since(f.since) < r.MaxAge) {
		r.store.again(f, pauseAfter(f.tries+1, r.StoredFrom, r.StoredTo))
		return
	}
	given.Body = bytes.Clone(f.Body)
	rejected := Rejected{Received: given, Err: failure.Error(), Tries: r.Attempts + f.tries, Since: f.since, At: time.Now()}
	reject := r.Reject
	if reject == nil {
		reject = func(_ context.Context, m Rejected) error { return r.rejected.add(m) }
	}
	if err := reject(ctx, rejected); err != nil {
		r.log.Error("a message that is given up cannot be rejected, and stays stored", append(where, "failure", failure, "error", err)...)
		r.store.again(f, r.StoredTo)
		return
	}
	r.log.Error("a message is rejected", append(where, "tries", rejected.Tries, "error", failure)...)
	r.store.done(f)
}
