package client

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// Ordered is how a producer keeps the order of some topics, see WithOrdered.
type Ordered struct {
	// Dir is the directory for messages that cannot be sent now. One producer uses it at a time.
	Dir string
	// MaxBytes bounds what is there, with what brokers have refused for good (ReadSpill); beyond it messages fail with ErrSpillFull. Default: 1 GiB.
	MaxBytes int64
	// Partitions tells for each topic how many partitions each broker has: {"orders": {0: 4, 1: 4}}. A broker that stands alone is broker 0.
	Partitions map[string]map[int]int32
}

const defaultSpill = 1 << 30

// WithOrdered keeps the order of the messages of each partition of some topics, whatever happens. Their partitions are fixed by what is configured here,
// and never by which brokers are there, so that a Key always has the same partition. One message of a partition is on its way at a time. While the broker
// of a partition is away, slow or refuses it, its messages are written to a local file and are acknowledged when they are flushed to the disk, with
// Spilled in their Receipt. They are sent in order before anything newer, if need be by the next producer with the same Dir. A message may be
// stored twice, never out of order: repetitions begin with a message that was stored before.
func WithOrdered(o Ordered) ProducerOption { return func(p *producerOptions) { p.ordered = &o } }

// ordered are the tracks of a producer.
type ordered struct {
	p          *Producer
	dir        *spillDir
	partitions map[protocol.Topic][]Partition // sorted
	tracks     map[spillPlace]*track          // under Producer.mu
	closing    sync.Once
}

// openOrdered begins with what waits on disk.
func (p *Producer) openOrdered(c Ordered) error {
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultSpill
	}
	if c.Dir == "" || c.MaxBytes < 0 {
		return fmt.Errorf("metaq: ordered sending with the directory %q and %d bytes: it needs a directory, and more than 0 bytes", c.Dir, c.MaxBytes)
	}
	o := &ordered{p: p, partitions: map[protocol.Topic][]Partition{}, tracks: map[spillPlace]*track{}}
	for name, brokers := range c.Partitions {
		topic, err := protocol.ParseTopic(name)
		if err != nil {
			return fmt.Errorf("metaq: %w", err)
		}
		for broker, count := range brokers {
			if count < 1 || p.cluster.directory == nil && broker != 0 {
				return fmt.Errorf("metaq: ordered topic %s: broker %d with %d partitions: it needs one at least, and a broker that stands alone counts as 0", topic, broker, count)
			}
			for n := range count {
				o.partitions[topic] = append(o.partitions[topic], Partition{Broker: broker, Number: n})
			}
		}
		slices.SortFunc(o.partitions[topic], zkcoord.ComparePartitions)
	}
	dir, found, err := openSpillDir(c.Dir, spillMagic, c.MaxBytes)
	if err != nil {
		return err
	}
	o.dir = dir
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ordered = o
	for at, s := range found {
		o.startLocked(at, s)
	}
	return nil
}

func (o *ordered) startLocked(at spillPlace, s *spill) *track {
	t := &track{p: o.p, spillPlace: at, spill: s, wake: make(chan struct{}, 1), tried: make(chan error, 1), backoff: newBackoff(), started: time.Now()}
	o.tracks[at] = t
	if o.p.cluster.directory != nil {
		o.p.publishingLocked(at.topic)
	}
	o.p.sending.Go(t.run)
	return t
}

// trackLocked is the track of a message, nil if its topic is not ordered.
func (o *ordered) trackLocked(s *sending) (*track, error) {
	partitions := o.partitions[s.topic]
	if len(partitions) == 0 {
		return nil, nil
	}
	if !s.chosen {
		s.partition, s.chosen = o.p.options.selector(&s.message, partitions), true
	}
	if !slices.Contains(partitions, s.partition) {
		return nil, fmt.Errorf("metaq: %s is none of the %d partitions of the ordered topic %s", s.partition, len(partitions), s.topic)
	}
	at := spillPlace{s.topic, s.partition}
	if t := o.tracks[at]; t != nil {
		return t, t.damaged
	}
	return o.startLocked(at, o.dir.newSpill(at)), nil
}

func (o *ordered) wakeLocked() {
	for _, t := range o.tracks {
		t.signal()
	}
}

// close lets go of the directory.
func (o *ordered) close() (err error) {
	o.closing.Do(func() {
		for _, t := range o.tracks {
			t.spill.close()
		}
		err = o.dir.lock.Close()
	})
	return err
}

// track is the way of the messages of one ordered partition: those on disk are older than those in memory. One is tried at a time, the oldest.
type track struct {
	p *Producer
	spillPlace
	wake chan struct{} // room for one

	// Under Producer.mu.
	memory  []*sending
	damaged error // why the oldest message on disk cannot be read, and with it nothing be taken

	// Of the goroutine only.
	spill   *spill
	backoff *backoff.ExponentialBackOff
	tried   chan error // the end of a try
	receipt Receipt    // before tried says nil
	trying  trying
	size    int       // data of the message that is tried
	began   time.Time // the try
	resume  time.Time // not before
	started time.Time
	away    bool // the last try has failed, or takes long
	told    bool // why was logged since the last one that did not fail
}

// trying says where the message is that is tried.
type trying int

const (
	nothing  trying = iota
	inMemory        // the first one in memory
	onDisk          // the oldest on disk
	given           // nowhere any more: its sender was told that it failed
)

func (t *track) enqueueLocked(s *sending) {
	s.began = time.Now()
	t.memory = append(t.memory, s)
	t.signal()
}

func (t *track) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *track) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-t.wake:
		case err := <-t.tried:
			t.ended(err)
		case <-timer.C:
		case <-t.p.ctx.Done():
			t.store()
			return
		}
		oldest, closing := t.oldest()
		if t.trying != nothing && time.Since(t.began) >= slowAfter {
			t.away = true
		}
		// While what is on disk is being sent, newer ones wait for it in memory, but not for long.
		if !oldest.IsZero() && (t.away || !t.spill.empty() && time.Since(oldest) >= slowAfter) {
			t.store()
			oldest, closing = t.oldest()
		}
		if closing && oldest.IsZero() {
			if t.trying == nothing {
				return // what is on disk is sent by the next producer
			}
			continue
		}
		if t.trying == nothing && !time.Now().Before(t.resume) {
			t.try()
		}
		timer.Reset(t.idle(oldest))
	}
}

// oldest is when the oldest message in memory came, zero if there is none.
func (t *track) oldest() (came time.Time, closing bool) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if len(t.memory) > 0 {
		came = t.memory[0].began
	}
	return came, t.p.closing
}

// idle is how long there is nothing to do if nothing comes.
func (t *track) idle(oldest time.Time) time.Duration {
	const long = time.Minute
	switch {
	case t.trying == nothing && oldest.IsZero() && t.spill.empty():
		return long
	case t.trying == nothing:
		return time.Until(t.resume)
	case t.trying != inMemory && oldest.IsZero():
		return long
	case t.trying != inMemory:
		return time.Until(oldest.Add(slowAfter))
	}
	return time.Until(t.began.Add(slowAfter))
}

// try sends the oldest message.
func (t *track) try() {
	s := &sending{topic: t.topic, partition: t.partition, chosen: true, once: true}
	from := inMemory
	if !t.spill.empty() {
		from = onDisk
		var err error
		s.flag, s.data, err = t.spill.head()
		t.readable(err)
		if err != nil {
			t.resume = time.Now().Add(t.backoff.NextBackOff())
			return
		}
	}
	s.fn = func(r Receipt, err error) {
		t.receipt = r
		t.tried <- err
	}
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if t.p.closing && t.p.messages == 0 {
		return // the lanes end
	}
	if from == inMemory {
		if len(t.memory) == 0 {
			return
		}
		s.flag, s.data = t.memory[0].flag, t.memory[0].data
	}
	l := t.p.lanes[t.partition.Broker]
	if l == nil && time.Since(t.started) < slowAfter {
		t.resume = time.Now().Add(t.backoff.InitialInterval) // ZooKeeper has not told yet
		return
	}
	t.trying, t.began, t.size = from, time.Now(), len(s.data)
	if l == nil {
		s.fn(Receipt{}, errNoAddress)
		return
	}
	t.p.seq++
	s.seq = t.p.seq
	l.enqueueLocked(s)
}

// readable takes whether the oldest message on disk could be read. While it cannot, newer ones are not accepted: they would never be sent.
func (t *track) readable(err error) {
	t.p.mu.Lock()
	told := t.damaged != nil
	t.damaged = err
	var list []*sending
	if err != nil {
		list, t.memory = t.memory, nil
	}
	t.p.mu.Unlock()
	if err != nil && !told {
		t.p.options.log.Error("a message on disk cannot be read, and nothing is taken for its partition", "topic", t.topic, "partition", t.partition, "error", err)
	}
	for _, s := range list {
		t.p.finish(s, Receipt{}, err)
	}
}

// ended takes the end of a try.
func (t *track) ended(err error) {
	was := t.trying
	t.trying = nothing
	final := err != nil && (statusOf(err) == protocol.StatusBadRequest || statusOf(err) == protocol.StatusUnauthorized)
	switch {
	case err == nil || final && was == inMemory:
		t.backoff.Reset()
		if t.told {
			t.told = false
			t.p.options.log.Info("the broker of an ordered partition takes its messages again", "topic", t.topic, "partition", t.partition)
		}
		t.away = false
		switch was {
		case inMemory:
			t.p.mu.Lock()
			s := t.memory[0]
			t.memory = t.memory[1:]
			t.p.mu.Unlock()
			t.p.finish(s, t.receipt, err)
		case onDisk:
			t.spill.advance(t.size)
		}
	case final && was == onDisk:
		t.p.options.log.Error("a message that was accepted is refused for good, and kept in the spill directory", "topic", t.topic, "partition", t.partition, "error", err)
		flag, data, err := t.spill.head()
		if err == nil {
			err = t.spill.refuse(flag, data)
		}
		if err != nil {
			t.p.options.log.Error("a refused message cannot be kept", "error", err)
			t.resume = time.Now().Add(t.backoff.NextBackOff())
		}
	default:
		if !t.told {
			t.told = true
			t.p.options.log.Warn("the broker of an ordered partition does not take its messages now; they are kept on the disk", "topic", t.topic, "partition", t.partition, "error", err)
		}
		t.away = true // the next step stores what is in memory
		t.resume = time.Now().Add(t.backoff.NextBackOff())
	}
}

// store puts what is in memory on disk, behind what is there, and tells its senders.
func (t *track) store() {
	t.p.mu.Lock()
	list := t.memory
	t.memory = nil
	t.p.mu.Unlock()
	for len(list) > 0 {
		n, err := t.spill.add(list)
		if t.trying == inMemory {
			t.trying = onDisk
			if n == 0 {
				t.trying = given
			}
		}
		for _, s := range list[:n] {
			t.p.finish(s, Receipt{Broker: t.partition.Broker, Partition: t.partition.Number, Spilled: true}, nil)
		}
		list = list[n:]
		if err == nil {
			continue
		}
		fails := 1 // a smaller one may fit
		if !errors.Is(err, ErrSpillFull) {
			fails = len(list) // the disk would say the same of each of them, and many may wait
		}
		for _, s := range list[:fails] {
			t.p.finish(s, Receipt{}, err)
		}
		list = list[fails:]
	}
}
