package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// Rules are what the configuration says about a topic.
type Rules struct {
	FlushMessages int           // unflushThreshold; up to 1 is group commit: acknowledged after the flush
	FlushInterval time.Duration // unflushInterval: the longest time that something stays unflushed without group commit
	SegmentSize   int64         // maxSegmentSize: logical bytes after which a virtual segment ends; 0 = never
	Retention     Policy        // deletePolicy
	DeleteWhen    Schedule      // deleteWhen
}

// groupCommit says that a put is acknowledged only once it is flushed.
func (r Rules) groupCommit() bool { return r.FlushMessages <= 1 }

// Options of Open. The zero value of a field takes its default.
type Options struct {
	FS             vfs.FS // default: the operating system
	Dir            string
	BrokerID       int // 0..1023, part of the message ids
	Now            func() time.Time
	Uptime         func() time.Duration // goes on evenly, whatever happens to Now; default: since Open
	Log            zerolog.Logger
	LogSegmentSize int64         // bytes of a segment of the log; default 128 MiB
	DiskTimeout    time.Duration // how long a put waits for the disk, see busy.go; 0: for ever
	MaxUnflushed   int64         // bytes that may be acknowledged before they are flushed; default 256 MiB
	RewriteRate    int64         // bytes a second, read and written, to put sealed segments into the order of their queues; 0: never
	HotBytes       int64         // how far behind the end a read counts as in memory; default 256 MiB
	Rules          func(protocol.Topic) Rules
	DiskLimits     DiskLimits
	OffsetLimits   OffsetLimits
	ReadOnly       bool   // serve what is sound of a damaged log, write nothing
	BootID         string // default: what the kernel says; tells a power cut from a killed process
}

const (
	defaultSegmentSize  = 128 << 20
	defaultMaxUnflushed = 256 << 20
	defaultHotBytes     = 256 << 20
)

// Store is the log of a broker and its queues. All methods may be called from any goroutine.
//
// Lock order: dirMu before mu; mapped.mu before mu; files under none. Nothing is called back under a lock.
type Store struct {
	options Options
	fs      vfs.FS
	lock    io.Closer
	now     func() time.Time
	salt    salt // of the checksums; set once, at the start

	dirMu  sync.RWMutex // guards topics, byID
	topics map[string][]*Queue
	byID   []*Queue // queue id - 1

	mu       sync.Mutex
	open     *segment
	segments []*segment // ascending; the open one is the last; replaced, never changed in place
	appended int64      // log position of the end of what is written
	epoch    uint32
	ids      *idWorker
	offsets  offsetTable
	hidden   map[int64]*hiddenGroup
	foreign  []foreignRef
	unsafe   []unsafeRun // runs that count only when they are flushed, in log order
	// positions of the checkpoint before the last one, and of the last one
	checkpointed, checkpointedNext int64
	looked                         int64     // what checkpointed was when segments were last looked for that can go
	movedAt                        int64     // end of the log when a minimum last moved, or of the last sealed segment without a message
	walking                        *snapshot // that is being taken
	round                          uint32    // number of the last snapshot
	failed                         error     // why the log takes no more writes
	closed                         bool
	messages                       int64 // records appended since the start
	rules                          func(protocol.Topic) Rules

	flushed    atomic.Int64
	noted      int64      // what the file flushed said at the start
	flushes    uint64     // that have begun; guarded by mu
	unsynced   []*segment // full segments that the flusher has not synced; guarded by mu
	dirDirty   bool       // a segment was named and the directory not synced; guarded by mu
	flushC     chan struct{}
	flushTimer *time.Timer
	flushIn    time.Duration // what the timer was set to, 0 if it is not; guarded by mu
	flushDue   time.Time     // when it rings; guarded by mu

	next                   *prepared // guarded by mu, like the next four
	prepareErr             error     // of the last try to make one
	prepareTried           time.Time
	noRoom                 error      // that puts are refused with since a segment could not be made, nil once one is there; guarded by mu
	rolled                 *sealing   // a roll whose checkpoint is not taken yet
	toSeal                 []*sealing // oldest first
	preparedCount          atomic.Int64
	prepareC               chan struct{}
	spareRuns              chan *memIndex // memory for the index of the next segment
	sealC                  chan struct{}
	quit                   chan struct{}
	quitFlusher            chan struct{}
	flusherOff, workersOff sync.WaitGroup

	disk    diskWatch
	waitMu  sync.Mutex // guards the next two; taken last, so that a write that hangs does not keep those who wait from being told
	waiting []waiting  // for a flush, in the order in which they began to
	awaited int64      // how many have ever waited

	files sync.Mutex // held while segment files are synced or closed

	retention sync.Mutex // held while old messages are removed; before all others

	healing  sync.Mutex // held while a damaged index is replaced; before mu
	verified int64      // log position from which on this process has written or checked the log itself; set once, at the start

	mapped mappings // of sealed segments

	reserve    reserve
	diskLimits atomic.Pointer[DiskLimits]
	diskFull   atomic.Pointer[FullError] // why no messages are taken, nil if they are
	cleaned    atomic.Int64              // messages, see Stats

	flushCount, flushNanos atomic.Int64

	rewritten, rewrittenBytes, rewriteNanos atomic.Int64
	answered                                atomic.Int64 // bytes that reads have given
	checkpointSound                         bool         // the last checkpoint is one that can be read; set at the start, then only by who writes it
	tornBytes                               int64
	opened                                  time.Time
	stamps, ages                            steadyClock // of frames and of retention; guarded by mu
	stuck                                   int         // queues whose old messages cannot be removed; guarded by mu
	archivedDamaged                         atomic.Int64
	recovery                                time.Duration
}

// Position is a place in the log. 0 counts as acknowledged always.
type Position int64

// Stats are the counters of a store.
type Stats struct {
	Appended, Flushed int64 // log positions, in bytes
	Segments          int
	Mapped            int // sealed segments that are mapped now
	Queues            int
	Groups, Offsets   int   // that have committed, and what
	Messages          int64 // appended since the start
	Flushes           int64
	FlushTime         time.Duration // all flushes together
	TornBytes         int64         // cut by recovery at the start
	Recovery          time.Duration // how long the start took
	Failed            error         // why the log takes no more writes, nil if it does
	FreeBytes         int64
	TotalBytes        int64         // of the file system
	DiskUsed          int           // per cent of the file system, as DiskLimits counts them
	DiskFull          error         // why no messages are taken, a *FullError or that no segment can be made; nil if they are
	Cleaned           int64         // messages that were removed before their time since the start, see DiskLimits
	Rewritten         int64         // segments that were put into the order of their queues since the start
	RewrittenBytes    int64         // written for that
	RewritePending    int           // segments that are to be looked at for that
	RewriteTime       time.Duration // spent on it, without what it waited to be slow enough
	RetentionStuck    int           // queues whose old messages could not be removed at the last try; the log says why
	BusyAnswers       int64         // waiters that were told that the disk is busy
	ArchivedDamaged   int64         // damaged places that an archive went around since the start
}

// Stats reads the counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	st := Stats{Appended: s.appended, Flushed: s.flushed.Load(), Segments: len(s.segments), Messages: s.messages,
		Flushes: s.flushCount.Load(), FlushTime: time.Duration(s.flushNanos.Load()), TornBytes: s.tornBytes, Recovery: s.recovery, Failed: s.failed,
		Groups: len(s.offsets.groups), Offsets: len(s.offsets.list),
		RetentionStuck: s.stuck, ArchivedDamaged: s.archivedDamaged.Load(), DiskFull: s.noRoom, BusyAnswers: s.disk.unknown.Load(),
		Rewritten: s.rewritten.Load(), RewrittenBytes: s.rewrittenBytes.Load(), RewritePending: s.rewritePendingLocked(), RewriteTime: time.Duration(s.rewriteNanos.Load())}
	s.mu.Unlock()
	s.mapped.mu.Lock()
	st.Mapped = len(s.mapped.list)
	s.mapped.mu.Unlock()
	s.dirMu.RLock()
	st.Queues = len(s.byID)
	s.dirMu.RUnlock()
	st.DiskUsed, _ = s.diskUsed()
	if full := s.diskFull.Load(); full != nil {
		st.DiskFull = full
	}
	st.Cleaned = s.cleaned.Load()
	st.FreeBytes, st.TotalBytes, _ = s.fs.Free(s.options.Dir)
	return st
}

// SetRules takes new rules for all topics, existing queues included.
func (s *Store) SetRules(rules func(protocol.Topic) Rules) {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	s.mu.Lock()
	s.rules = rules
	var loose []*Queue
	for topic, parts := range s.topics {
		shared := rules(protocol.Topic(topic))
		for _, q := range parts {
			if q != nil {
				q.rules = &shared
				if !q.relaxed && !shared.groupCommit() {
					loose = append(loose, q)
				}
			}
		}
	}
	s.mu.Unlock()
	for step := range slices.Chunk(loose, walkStep) {
		if err := s.relax(step); err != nil {
			s.options.Log.Warn().Err(err).Msg("it cannot be written down that messages are acknowledged before their flush, so they go on to wait for it")
			return
		}
	}
}

// relax writes down that messages of queues may be acknowledged before they are flushed. From then on they are, by their rules.
func (s *Store) relax(list []*Queue) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range list {
		body := appendQueueBody(nil, q.flags()|queueRelaxed, q.partition, string(q.topic))
		if _, err := s.appendControlLocked(kindQueue, q.id, 0, body, func(int64) {
			q.saveLocked()
			q.relaxed, q.safeFrom = true, s.appended
		}); err != nil {
			return err
		}
	}
	return nil
}

// Queue finds a queue, nil if it was never made. It does not allocate.
func (s *Store) Queue(topic []byte, partition int32) *Queue {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	parts := s.topics[string(topic)]
	if partition < 0 || int(partition) >= len(parts) {
		return nil
	}
	return parts[partition]
}

// Queues lists all queues, by topic and partition.
func (s *Store) Queues() []*Queue {
	s.dirMu.RLock()
	list := slices.Clone(s.byID)
	s.dirMu.RUnlock()
	slices.SortFunc(list, func(a, b *Queue) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return list
}

// maxPartition bounds what one topic can make the store allocate.
const maxPartition = 1 << 20

// CreateQueue makes a queue, or returns the one that is there. A new one is not durable by itself: what is put into it waits for it.
func (s *Store) CreateQueue(topic protocol.Topic, partition int32) (*Queue, error) {
	if partition < 0 || partition >= maxPartition {
		return nil, fmt.Errorf("store: partition %d is not in 0..%d", partition, maxPartition-1)
	}
	if q := s.Queue([]byte(topic), partition); q != nil {
		return q, nil
	}
	if err := s.refuseWhileStuck(); err != nil {
		return nil, err
	}
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	if parts := s.topics[string(topic)]; int(partition) < len(parts) && parts[partition] != nil {
		return parts[partition], nil
	}
	if full := s.diskFull.Load(); full != nil {
		return nil, full // what would be put into it is refused too
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, flags := uint32(len(s.byID)+1), uint8(0)
	if !s.rules(topic).groupCommit() {
		flags = queueRelaxed
	}
	var q *Queue
	_, err := s.appendControlLocked(kindQueue, id, 0, appendQueueBody(nil, flags, partition, string(topic)), func(int64) {
		q = s.newQueue(id, topic, partition)
		q.safeFrom, q.relaxed = s.appended, flags != 0
	})
	return q, err
}

// newQueue enters a queue into the directory.
func (s *Store) newQueue(id uint32, topic protocol.Topic, partition int32) *Queue {
	q := &Queue{store: s, id: id, topic: topic, partition: partition, starts: []start{{}}}
	for int(id) > len(s.byID) {
		s.byID = append(s.byID, nil)
	}
	s.byID[id-1] = q
	parts := s.topics[string(topic)]
	if i := slices.IndexFunc(parts, func(q *Queue) bool { return q != nil }); i >= 0 {
		q.topic, q.rules = parts[i].topic, parts[i].rules
	} else {
		rules := s.rules(topic)
		q.rules = &rules
	}
	if n := int(partition) + 1; n > len(parts) {
		parts = slices.Grow(parts, n-len(parts))[:n]
	}
	parts[partition] = q
	s.topics[string(topic)] = parts
	return q
}

func (s *Store) queueByID(id uint32) *Queue {
	if id == 0 || int(id) > len(s.byID) {
		return nil
	}
	return s.byID[id-1]
}

func (s *Store) writableLocked() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.options.ReadOnly:
		return ErrReadOnly
	case s.failed != nil:
		return s.failed
	}
	return nil
}

// poisonLocked stops all writing for good: after a failed write or fsync nobody knows what is on disk.
func (s *Store) poisonLocked(cause error) error {
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %w", ErrPoisoned, cause)
		s.options.Log.Error().Err(cause).Msg("the log is poisoned: no more writes are taken; reads go on. Check the disk, then restart the broker")
		s.signal(s.flushC) // the flusher tells those who wait
	}
	return s.failed
}

// uncertain is the error of an append that has reached the disk, or may have, before the log was poisoned.
func uncertain(poisoned error) error { return fmt.Errorf("%w; %w", poisoned, ErrUncertain) }

// segmentLocked is the segment that holds a position; nil if it is gone.
func (s *Store) segmentLocked(pos int64) *segment { return findSegment(s.segments, pos) }

func findSegment(list []*segment, pos int64) *segment {
	i, found := slices.BinarySearchFunc(list, pos, func(g *segment, p int64) int { return cmp.Compare(g.base, p) })
	if !found {
		i--
	}
	if i < 0 || pos > list[i].limit {
		return nil
	}
	return list[i]
}

func (s *Store) signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close flushes, seals the open segment and lets go of the directory. Nobody may be reading any more.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	var err error
	if !s.options.ReadOnly {
		err = s.stopWriting()
	}
	for _, g := range s.segments {
		g.close()
	}
	select {
	case x := <-s.spareRuns:
		x.release()
	default:
	}
	return errors.Join(err, s.lock.Close())
}

func (s *Store) path(name string) string { return filepath.Join(s.options.Dir, name) }
