package store

import (
	"fmt"
	"strings"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// Open opens a data directory, makes it if it is not there, and recovers what a crash has left: it loads the last checkpoint and reads
// the log from there on. It blocks for as long as that takes, at most the time to read some segments.
//
// A torn tail is cut, kept in the folder "aside" and logged. Damage before what was safe on disk is a *CorruptError and changes nothing;
// with ReadOnly the store opens all the same and serves what lies before it.
func Open(o Options) (*Store, error) {
	setDefaults(&o)
	ids, err := newIDWorker(o.BrokerID)
	if err != nil {
		return nil, err
	}
	s := &Store{
		options: o, fs: o.FS, now: o.Now, rules: o.Rules, epoch: 1, ids: ids,
		topics: map[string][]*Queue{}, offsets: newOffsetTable(o.OffsetLimits), hidden: map[int64]*hiddenGroup{},
		flushC: make(chan struct{}, 1), prepareC: make(chan struct{}, 1), sealC: make(chan struct{}, 1), spareRuns: make(chan *memIndex, 1), mapped: mappings{max: maxMapped},
		opened: o.Now(), stamps: steadyClock{back: true},
		quit: make(chan struct{}), quitFlusher: make(chan struct{}), flushTimer: newFlushTimer(),
	}
	s.diskLimits.Store(&o.DiskLimits)
	if err := s.fs.MkdirAll(s.path("log")); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if s.lock, err = s.fs.Lock(s.path("lock")); err != nil {
		return nil, err
	}
	began := s.now()
	if err := s.load(); err != nil {
		for _, g := range s.segments {
			g.close()
		}
		s.lock.Close()
		return nil, err
	}
	s.recovery = s.now().Sub(began)
	if !o.ReadOnly {
		s.checkDisk()
		s.flusherOff.Add(1)
		go s.flusher()
		s.workersOff.Add(6)
		s.SetDiskTimeout(o.DiskTimeout)
		go s.watchdog()
		go s.preparer()
		go s.sealer()
		go s.janitor()
		go s.noter()
		if o.RewriteRate > 0 {
			s.workersOff.Add(1)
			go s.rewriter()
		}
		go s.watchDisk()
		s.signal(s.prepareC)
	}
	return s, nil
}

func setDefaults(o *Options) {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LogSegmentSize == 0 {
		o.LogSegmentSize = defaultSegmentSize
	}
	o.LogSegmentSize = align(o.LogSegmentSize)
	if o.MaxUnflushed == 0 {
		o.MaxUnflushed = defaultMaxUnflushed
	}
	if o.OffsetLimits.Groups == 0 {
		o.OffsetLimits.Groups = defaultGroups
	}
	if o.OffsetLimits.Offsets == 0 {
		o.OffsetLimits.Offsets = defaultOffsets
	}
	if o.HotBytes == 0 {
		o.HotBytes = defaultHotBytes
	}
	if o.Rules == nil {
		o.Rules = func(protocol.Topic) Rules { return Rules{} }
	}
	if o.BootID == "" {
		if b, err := vfs.OS().ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
			o.BootID = strings.TrimSpace(string(b))
		}
	}
}
