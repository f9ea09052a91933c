//go:build linux

package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
)

// Agent follows the files of its inputs and sends their lines.
type Agent struct {
	config    Config
	log       *slog.Logger
	host      string
	lock      *lock
	refused   *refused
	producer  *client.Producer
	budget    *budget
	rate      *rate.Limiter // nil: no limit
	mostFiles int           // open ones a follower
	followers []*follower
	began     time.Time
	http      *httpSide
	left      []checkpointInput // of other agents with the same checkpoint

	saving  sync.Mutex        // a checkpoint is being written
	saved   map[string]uint64 // by input: the changes of the last one
	savedMu sync.Mutex
	savedAt time.Time
	// saveFailed is why the last one could not be written.
	saveFailed error
}

// forever is how long a line is tried again: as long as it takes.
const forever = 100 * 365 * 24 * time.Hour

// leastBurst is how many bytes may be sent at once, whatever the rate.
const leastBurst = 64 << 10

// window is how many lines are on their way to a broker, at most: what it stores in the time of a flush of a slow disk.
const window = 32768

// Open takes the directory of the checkpoint, which no other agent may use, and reads where the one before has ended.
func Open(config Config, log *slog.Logger) (*Agent, error) {
	config.Inputs = slices.Clone(config.Inputs)
	if err := config.Check(); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ship: %w", err)
	}
	a := &Agent{config: config, log: log, host: host, budget: &budget{total: config.Memory, waiting: map[*follower]bool{}}, began: time.Now()}
	a.mostFiles = openFiles() / len(config.Inputs)
	if config.Rate > 0 {
		a.rate = rate.NewLimiter(rate.Limit(config.Rate), int(min(max(config.Rate/10, leastBurst), math.MaxInt32)))
	}
	if a.lock, err = takeLock(config.Dir); err != nil {
		return nil, err
	}
	a.refused = &refused{path: filepath.Join(config.Dir, refusedName)}
	old, err := readCheckpoint(config.Dir, log)
	if err != nil {
		return nil, errors.Join(err, a.lock.release())
	}
	a.leave(old)
	for i := range a.config.Inputs {
		f := newFollower(a, &a.config.Inputs[i])
		f.restore(old)
		a.followers = append(a.followers, f)
	}
	if a.http, err = a.listen(); err != nil {
		return nil, errors.Join(err, a.lock.release())
	}
	if err := a.lock.tell(a.HTTPAddr()); err != nil {
		return nil, errors.Join(err, a.http.stop(), a.lock.release())
	}
	// The budget is what bounds the producer: it must never make a follower wait.
	lines := int(4 * config.Memory / lineCost)
	a.producer, err = client.NewProducer(config.Broker, client.WithRetryFor(forever), client.WithTimeout(config.Timeout), client.WithWindow(window),
		client.WithBuffer(lines, int(min(4*config.Memory, math.MaxInt32))), client.WithProducerLog(log))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ship: %w", err), a.http.stop(), a.lock.release())
	}
	return a, nil
}

// openFiles is how many files may be open, with some left for everything else.
func openFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<20 {
		return 1 << 20
	}
	return max(int(limit.Cur)*3/4-64, 16)
}

// attribute is that of the messages of a stream.
func (a *Agent) attribute(in *Input, path string) string {
	return strings.NewReplacer("{host}", a.host, "{path}", path).Replace(in.Attribute)
}

// HTTPAddr is where status and metrics are served, "" for nowhere.
func (a *Agent) HTTPAddr() string { return a.http.addr() }

// saveEvery is how often a checkpoint is written at most.
const saveEvery = 200 * time.Millisecond

// Run ships until ctx ends, or with Once until nothing is left. What is on its way then is waited for, as long as the Config says; what is not acknowledged after
// that is sent again by the next agent. It may be called once.
func (a *Agent) Run(ctx context.Context) (err error) {
	hard, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	start := make(chan struct{})
	var following, sending sync.WaitGroup
	for _, f := range a.followers {
		following.Go(func() { f.run(ctx, hard, start) })
		sending.Go(func() { f.send(ctx) })
	}
	// What is there is written down before anything is sent: after a crash in the first second, files that were at their end are not taken for new ones.
	if err = a.save(); err != nil {
		giveUp()
	}
	close(start)
	stopSaving := make(chan struct{})
	var saver sync.WaitGroup
	saver.Go(func() { a.saveNowAndThen(stopSaving) })
	defer context.AfterFunc(ctx, func() {
		a.log.Info("stopping: waiting for acknowledgements", "at_most", a.config.Drain.String())
		time.AfterFunc(a.config.Drain, giveUp)
	})()
	following.Wait()
	close(stopSaving)
	saver.Wait()
	if left := a.budget.inUse(); left > 0 {
		a.log.Warn("stopped before everything was acknowledged: it will be sent again", "bytes", left)
	}
	err = errors.Join(err, a.save())
	// What is still on its way is not waited for: it is not in the checkpoint.
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if closeErr := a.producer.Close(over); closeErr != nil && !errors.Is(closeErr, context.Canceled) {
		err = errors.Join(err, closeErr)
	}
	sending.Wait()
	for _, f := range a.followers {
		if len(f.unshipped) > 0 {
			err = errors.Join(err, fmt.Errorf("ship: %s: not everything was shipped: %w", f.input.Name, errors.Join(f.unshipped...)))
		}
	}
	return errors.Join(err, a.end())
}

// end lets go of what Open has taken.
func (a *Agent) end() error {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	a.producer.Close(over) // for the second time, if it was used
	return errors.Join(a.http.stop(), a.lock.release())
}

func (a *Agent) saveNowAndThen(stop <-chan struct{}) {
	wait := saveEvery
	for {
		select {
		case <-stop:
			return
		case <-time.After(wait):
		}
		began := time.Now()
		a.save() // it tells what is wrong
		wait = max(saveEvery, restFactor*time.Since(began))
	}
}

// send hands blocks to the producer, in their order. It waits where the producer does: until the brokers of the topic are known.
func (f *follower) send(ctx context.Context) {
	topic, ordered := f.input.Topic, f.input.Order != OrderNone
	for b := range f.blocks {
		f.signal() // there is room for another one
		f.limitRate(ctx, b)
		b.sent.Store(int64(time.Since(f.agent.began)))
		s := b.file.stream
		m := client.Message{Topic: topic, Attribute: s.attribute}
		if ordered {
			m.Key = s.path
		}
		answered := func(_ client.Receipt, err error) {
			if err != nil {
				b.fail(err)
			}
			if b.left.Add(-1) == 0 {
				f.arrived(b)
			}
		}
		for _, body := range b.bodies[:b.lines:b.lines] {
			m.Body = body
			f.agent.producer.SendAsync(m, answered)
		}
	}
}

// limitRate waits until a block may be sent. When the agent stops, there is no limit any more.
func (f *follower) limitRate(ctx context.Context, b *block) {
	r := f.agent.rate
	if r == nil {
		return
	}
	for left := int(b.to - b.from); left > 0 && ctx.Err() == nil; left -= r.Burst() {
		_ = r.WaitN(ctx, min(left, r.Burst())) // the only error is that of ctx
	}
}

// fail notes that a line was not taken. Of several failures a refusal for good counts, which is seen to by more than sending again.
func (b *block) fail(err error) {
	for {
		old := b.failure.Load()
		if old != nil && (refusedForGood(*old) || !refusedForGood(err)) {
			return
		}
		if b.failure.CompareAndSwap(old, &err) {
			return
		}
	}
}

// refusedForGood says that a line will never be taken, whatever happens: it is too large for the broker, for example.
func refusedForGood(err error) bool {
	var status *client.StatusError
	return errors.As(err, &status) && status.Status == protocol.StatusBadRequest || errors.Is(err, client.ErrTooLarge)
}
