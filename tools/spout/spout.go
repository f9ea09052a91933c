package spout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// Options are those of a spout.
type Options struct {
	Addr   string // of the broker or the cluster, as the client takes it
	Group  string
	Topics []string
	Start  client.Start // where a group begins that has no offset yet
	Tuples Tuples

	InFlight           int           // messages of a partition that are taken and not done, at most
	Tries              int           // of a message that fails, before it goes to the dead-letter topic; 0: no limit
	RetryFrom, RetryTo time.Duration // pauses between them
	AnswerIn           time.Duration // how long Storm may take for a tuple; 0: twice the time-out of the topology
	Dead               string        // the dead-letter topic; "": that of a topic is named after it
	Metric             string        // of the topology, which is told the Counts; "": none
}

const (
	// burst bounds the tuples of one answer to next.
	burst = 64
	// idleFor is how long Storm waits for a message when there is none, and nothing else for it to do.
	idleFor = 20 * time.Millisecond
	// commitEvery is short, because all that is done and not committed comes again after a crash.
	commitEvery = time.Second
	// reportEvery is how often the counts are told.
	reportEvery = 30 * time.Second
	// defaultMessageTimeout is Storm's.
	defaultMessageTimeout = 30 * time.Second
)

// spout is a running one.
type spout struct {
	Options
	ctx   context.Context // until Storm has gone
	pipe  *pipe
	dead  *client.Producer
	lines lines
	log   *slog.Logger
	news  chan struct{} // of capacity 1: a message has come
	less  chan struct{} // of capacity 1: fewer are in hand

	burials sync.WaitGroup

	mu       sync.Mutex
	inFlight *inFlight
	active   bool    // the topology is
	intake   *intake // the last one; nil before the topology is activated

	// Of the goroutine that answers Storm only.
	reported time.Time
	told     Counts
}

// Check says what is wrong with the options, before Storm is there to be told.
func (o Options) Check() error {
	if err := o.Tuples.Check(); err != nil {
		return err
	}
	for _, topic := range o.Topics {
		if _, err := protocol.ParseTopic(o.deadTopic(topic)); err != nil {
			return fmt.Errorf("the dead-letter topic: %w", err)
		}
	}
	switch {
	case o.InFlight < 1:
		return fmt.Errorf("%d messages in flight: at least one is needed", o.InFlight)
	case o.Tries < 0:
		return fmt.Errorf("%d tries: 0 stands for no limit", o.Tries)
	case o.RetryFrom <= 0 || o.RetryTo < o.RetryFrom:
		return fmt.Errorf("pauses from %s to %s: the first is more than 0, the last not less than that", o.RetryFrom, o.RetryTo)
	case o.AnswerIn < 0:
		return fmt.Errorf("a time-out of %s is negative", o.AnswerIn)
	}
	return nil
}

// Run is the spout that Storm talks to through in and out. It ends without an error when Storm has gone, which is the end of in, or when ctx ends: what the topology
// has dealt with is committed then, and the partitions are given up.
func Run(ctx context.Context, in io.Reader, out io.Writer, o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &spout{Options: o, ctx: ctx, pipe: newPipe(in, out), news: make(chan struct{}, 1), less: make(chan struct{}, 1)}
	s.log = s.lines.logger()
	consumer, err := s.newConsumer() // to see that the options are right
	if err != nil {
		return err
	}
	if err := consumer.Close(ctx); err != nil {
		return err
	}
	if s.dead, err = client.NewProducer(o.Addr, client.WithProducerLog(s.log)); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.serve() }() // which may wait for Storm for ever
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	return errors.Join(err, s.end(stop))
}

// end gives everything up.
func (s *spout) end(stop context.CancelFunc) error {
	s.mu.Lock()
	stop()
	last := s.intake
	s.mu.Unlock()
	if last != nil {
		<-last.ended
	}
	s.burials.Wait()
	closing, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	return s.dead.Close(closing)
}

// suits says whether the spout can be one of this topology.
func (o Options) suits(topology setup) error {
	if n := topology.siblings(); n > 1 && !strings.HasPrefix(o.Addr, zkcoord.ClusterScheme) {
		return fmt.Errorf("against a broker that stands alone a group is one process, and this spout has %d tasks, which would get every message %d times: "+
			"set its parallelism to 1, or name the ZooKeeper of a cluster with --zk", n, n)
	}
	return nil
}

// answerIn is how long Storm may take for a tuple. After its own time-out it fails the tuple, so that twice as long says that it has lost it.
func (o Options) answerIn(topology setup) time.Duration {
	switch seconds := topology.number("topology.message.timeout.secs"); {
	case o.AnswerIn > 0:
		return o.AnswerIn
	case topology.disabled("topology.enable.message.timeouts"):
		return 0 // a tuple may take as long as it likes
	case seconds > 0:
		return 2 * time.Duration(seconds*float64(time.Second))
	}
	return 2 * defaultMessageTimeout
}

func (s *spout) newConsumer() (*client.Consumer, error) {
	return client.NewConsumer(s.Addr, s.Group, s.Topics, client.WithStart(s.Start), client.WithInHand(s.InFlight), client.WithCommitEvery(commitEvery),
		client.WithConsumerLog(s.log))
}

// serve greets Storm, and answers it until that has gone.
func (s *spout) serve() error {
	topology, err := s.pipe.greet(s.suits)
	if err != nil {
		return err
	}
	s.inFlight = newInFlight(policy{s.Tries, s.RetryFrom, s.RetryTo, s.answerIn(topology), int(topology.number("topology.max.spout.pending"))})
	for {
		c, err := s.pipe.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.answer(c); err != nil {
			return fmt.Errorf("write to Storm: %w", err)
		}
	}
}

// answer carries out one command. Every answer ends with a sync, which is what Storm waits for; nothing here waits for anything else for long.
func (s *spout) answer(c command) error {
	var err error
	switch c.Name {
	case "next":
		s.activate()
		err = s.emit()
	case "ack", "fail":
		s.settle(c)
	case "activate":
		s.activate()
	case "deactivate":
		s.deactivate()
	default:
		s.log.Warn("Storm has sent a command that a spout does not know", "command", c.Name)
	}
	s.expire()
	if err == nil {
		err = s.report()
	}
	if err == nil {
		err = s.pipe.write(syncMessage{"sync"})
	}
	if err == nil {
		err = s.pipe.flush()
	}
	return err
}

func (s *spout) activate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.active && s.ctx.Err() == nil {
		s.active = true
		s.intake = s.begin(s.intake)
	}
}

// deactivate gives the partitions up, so that others of the group may have them.
func (s *spout) deactivate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active {
		s.active = false
		s.intake.stop()
	}
}

// emit gives Storm what there is. If that is nothing, and Storm has nothing else to do, it waits a little for a message.
func (s *spout) emit() error {
	n, idle, err := s.emitReady()
	if n > 0 || !idle || err != nil {
		return err
	}
	select {
	case <-s.news:
	case <-time.After(idleFor):
	}
	_, _, err = s.emitReady()
	return err
}

func (s *spout) emitReady() (n int, idle bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < burst {
		f := s.inFlight.next()
		if f == nil {
			break
		}
		tuple, unreadable := s.Tuples.of(f.message)
		if unreadable != nil {
			s.inFlight.unreadable(f, unreadable.Error())
			s.buryLocked(f)
			continue
		}
		n++
		if err := s.pipe.write(emitMessage{Command: "emit", ID: s.inFlight.emit(f, time.Now()), Tuple: tuple}); err != nil {
			return n, false, err
		}
	}
	return n, len(s.inFlight.emitted) == 0, nil
}

// settle takes what Storm says of a tuple.
func (s *spout) settle(c command) {
	var id string
	if err := json.Unmarshal(c.ID, &id); err != nil {
		s.log.Warn("Storm speaks of a tuple that was never emitted", "command", c.Name, "id", string(c.ID))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Name == "ack" {
		s.inFlight.ack(id)
	} else if dead := s.inFlight.fail(id, time.Now()); dead != nil {
		s.buryLocked(dead)
	}
	wake(s.less)
}

// expire sees to what is due.
func (s *spout) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.inFlight.expire(time.Now()) {
		s.buryLocked(f)
	}
	wake(s.less) // what of a partition that was given up has not been answered for is in hand no more
}

// report tells Storm what is to be said: lines for the log of its worker, and the counts now and then.
func (s *spout) report() error {
	if now := time.Now(); now.Sub(s.reported) >= reportEvery {
		s.reported = now
		s.mu.Lock()
		counts := s.inFlight.counts
		s.mu.Unlock()
		if counts != s.told {
			s.told = counts
			s.log.Info(counts.String())
		}
		if s.Metric != "" {
			if err := s.pipe.write(metricMessage{"metrics", s.Metric, counts}); err != nil {
				return err
			}
		}
	}
	list, left := s.lines.take()
	for _, l := range list {
		if err := s.pipe.write(l); err != nil {
			return err
		}
	}
	if left > 0 {
		return s.pipe.write(logMessage{"log", fmt.Sprintf("metaq: %d more lines are left out", left), stormLevel(slog.LevelWarn)})
	}
	return nil
}
