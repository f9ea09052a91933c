package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/metaq/metaq/client"
)

// orderedPartitions are those of scripts/cluster.sh.
var orderedPartitions = []client.Partition{{Broker: 0, Number: 0}, {Broker: 0, Number: 1}, {Broker: 1, Number: 0}, {Broker: 1, Number: 1}}

const (
	orderedWindow = 100 // messages that wait in the producer of the topic whose order is kept: of each partition one is in flight
	enoughOrdered = 100 // of them before the kill
	enoughBack    = 100 // lines that the broker has to store when it is back
	trickle       = time.Millisecond
)

// shipment is what is on its way.
type shipment struct {
	plain, ordered *topic
	producers      []*client.Producer
	began          time.Time
	killed, back   time.Time
	atKill         struct{ acknowledged, underWay, read int }

	ending    chan struct{}
	ended     sync.Once // closes ending
	sending   sync.WaitGroup
	underWay  atomic.Int64
	longest   atomic.Int64 // nanoseconds until a line of the plain topic was acknowledged
	afterKill atomic.Int64 // lines that the killed broker has stored since
	dead      atomic.Bool
	closed    sync.Once
	err       error // of close
}

// ship begins to send both topics, and goes on with it until finish.
func ship(o options, total int, plain, ordered *topic) (*shipment, error) {
	s := &shipment{plain: plain, ordered: ordered, began: time.Now(), ending: make(chan struct{})}
	partitions := map[int]int32{}
	for _, p := range orderedPartitions {
		partitions[p.Broker] = max(partitions[p.Broker], p.Number+1)
	}
	for _, opts := range [][]client.ProducerOption{
		nil,
		{client.WithBuffer(orderedWindow, 64<<20), client.WithOrdered(client.Ordered{Dir: o.spill, Partitions: map[string]map[int]int32{ordered.name: partitions}})},
	} {
		p, err := client.NewProducer(o.cluster, opts...)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.producers = append(s.producers, p)
	}
	s.sending.Go(func() { s.send(o, s.producers[0], plain, total) })
	s.sending.Go(func() { s.send(o, s.producers[1], ordered, total) })
	return s, nil
}

// send sends lines as fast as the producer takes them; when that was all, a few more until the end.
func (s *shipment) send(o options, p *client.Producer, t *topic, total int) {
	slowly := time.NewTicker(trickle)
	defer slowly.Stop()
	for number := 0; ; number++ {
		if number >= total {
			<-slowly.C
		}
		select {
		case <-s.ending:
			return
		default:
		}
		began, afterKill := time.Now(), s.dead.Load()
		s.underWay.Add(1)
		p.SendAsync(t.message(number), func(r client.Receipt, err error) {
			t.note(number, r, err)
			s.underWay.Add(-1)
			for took := int64(time.Since(began)); t == s.plain; {
				if longest := s.longest.Load(); took <= longest || s.longest.CompareAndSwap(longest, took) {
					break
				}
			}
			if afterKill && err == nil && !r.Spilled && r.Broker == o.broker {
				s.afterKill.Add(1)
			}
		})
	}
}

// killInTheMiddle kills the broker when a third of the lines is acknowledged and all members of the group are at work. It is an error if it does not hit
// lines that are under way.
func (s *shipment) killInTheMiddle(o options, total int, g *group) error {
	err := until("a third of the lines is acknowledged, and every consumer reads", func() bool {
		return s.plain.acknowledgedSoFar() >= total/3 && s.ordered.acknowledgedSoFar() >= enoughOrdered && g.working()
	}, s.plain.acknowledgedSoFar)
	if err != nil {
		return err
	}
	s.atKill.acknowledged, s.atKill.read = s.plain.acknowledgedSoFar()+s.ordered.acknowledgedSoFar(), g.read()
	s.atKill.underWay = int(s.underWay.Load())
	if err := syscall.Kill(o.pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill -9 of broker %d, process %d: %w", o.broker, o.pid, err)
	}
	s.killed = time.Now()
	s.dead.Store(true)
	if s.atKill.underWay == 0 {
		return errors.New("the kill has hit nothing: no line was under way")
	}
	return nil
}

// untilBack waits until the broker that was killed stores lines again.
func (s *shipment) untilBack(o options) error {
	if err := until(fmt.Sprintf("broker %d stores lines again", o.broker), func() bool { return s.afterKill.Load() > 0 }, nil); err != nil {
		return err
	}
	s.back = time.Now()
	return until(fmt.Sprintf("broker %d stores %d lines", o.broker, enoughBack), func() bool { return s.afterKill.Load() >= enoughBack }, nil)
}

// finish waits until all lines are sent and acknowledged, and ends the sending.
func (s *shipment) finish(total int) error {
	if err := until("all lines are acknowledged", func() bool { return s.plain.acknowledgedSoFar() >= total }, s.plain.acknowledgedSoFar); err != nil {
		return err
	}
	s.ended.Do(func() { close(s.ending) })
	s.sending.Wait()
	return until("what is under way is acknowledged", func() bool { return s.underWay.Load() == 0 }, nil)
}

func (s *shipment) slowest() time.Duration { return time.Duration(s.longest.Load()) }

// close ends the producers. What one of them has on its disk has to be sent before, nobody does it later.
func (s *shipment) close() error {
	s.closed.Do(func() {
		s.ended.Do(func() { close(s.ending) })
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, p := range s.producers {
			s.err = errors.Join(s.err, p.Close(ctx))
		}
		s.sending.Wait()
	})
	return s.err
}
