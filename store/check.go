package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store/vfs"
)

// CheckOptions say what Check looks at and what it may do.
type CheckOptions struct {
	FS     vfs.FS // default: the operating system
	Dir    string
	BootID string // default: what the kernel says; tells what a power cut leaves from damage, as at a start
	Repair bool   // repair what can be repaired
	DryRun bool   // with Repair: change nothing; the findings say what would be done

	Progress func(done, total int) // called after each segment; may be nil
}

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	SeverityNote   Severity = "note"   // normal after a crash; the next start of the broker deals with it
	SeverityDamage Severity = "damage" // something is not as it was written
)

// Area is what a finding is about.
type Area string

// The areas.
const (
	AreaIdentity   Area = "identity"
	AreaCheckpoint Area = "checkpoint"
	AreaSegment    Area = "segment" // a file of the log as a whole
	AreaFrame      Area = "frame"   // a part of a segment in which no sound frame begins
	AreaRecord     Area = "record"  // a message inside a sound frame
	AreaOrder      Area = "order"   // sound frames that do not follow from one another
	AreaIndex      Area = "index"
	AreaTail       Area = "tail"    // the torn end that a crash leaves
	AreaFlushed    Area = "flushed" // the file that says how long the log was
	AreaLeftover   Area = "leftover"
)

// Finding is one thing that is not as in a directory that was closed in order.
type Finding struct {
	Severity Severity `json:"severity"`
	Area     Area     `json:"area"`
	File     string   `json:"file"`
	Offset   int64    `json:"offset"` // where in the file, in bytes
	Bytes    int64    `json:"bytes,omitempty"`
	Reason   string   `json:"reason"`
	Lost     []Loss   `json:"lost,omitempty"`
	Action   string   `json:"action,omitempty"` // what happens about it: at the next start for a note, by a repair for damage
	Fixable  bool     `json:"fixable"`          // a repair does something about it
	Repaired bool     `json:"repaired"`

	fix func() error
}

// Loss is a range of a queue that cannot be read any more.
type Loss struct {
	Topic     protocol.Topic `json:"topic"` // empty if not even the queue's name is known
	Partition int32          `json:"partition"`
	Queue     uint32         `json:"queue"`    // the queue's number in the log
	From      int64          `json:"from"`     // logical offsets
	To        int64          `json:"to"`       // behind the last one
	Messages  int64          `json:"messages"` // -1: not known
	Possible  bool           `json:"possible"` // nobody can say whether there was anything; no new message gets these offsets
}

// CheckReport is what Check found.
type CheckReport struct {
	Dir      string    `json:"dir"`
	Segments int       `json:"segments"`
	Bytes    int64     `json:"bytes"` // of sound frames
	Frames   int64     `json:"frames"`
	Messages int64     `json:"messages"` // hidden ones too
	Queues   int       `json:"queues"`
	Findings []Finding `json:"findings"`
}

// Sound says that nothing is damaged, or nothing any more.
func (r CheckReport) Sound() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == SeverityDamage && !f.Repaired })
}

// Check reads a whole data directory: identity, both checkpoints, each frame and message of each segment, the index files. It takes the
// directory's lock, so no broker may run on it (*vfs.LockedError).
//
// With Repair it mends what it can without taking away anything that can still be read, after a copy of each changed file was put into
// the folder aside: index files are made again, a checkpoint comes from the one before, and damage behind the checkpoint, with which no
// broker starts, is replaced by a frame that says that something is lost. An error is about the check itself, not about what it found.
func Check(o CheckOptions) (CheckReport, error) {
	store := Options{FS: o.FS, Dir: o.Dir, BootID: o.BootID}
	setDefaults(&store)
	o.FS, o.BootID = store.FS, store.BootID
	unlock, err := lockOffline(o.FS, o.Dir)
	if err != nil {
		return CheckReport{}, err
	}
	defer unlock()
	first, err := checkOnce(o)
	if err != nil || !o.Repair || o.DryRun {
		return first.report, err
	}
	if err := first.repair(); err != nil {
		return first.report, err
	}
	// Look again instead of believing the repair.
	second, err := checkOnce(o)
	if err != nil {
		return first.report, fmt.Errorf("check after the repair: %w", err)
	}
	report := second.report
	left := report.Findings
	report.Findings = []Finding{}
	for _, f := range first.report.Findings {
		same := func(g Finding) bool {
			return g.Severity == f.Severity && g.Area == f.Area && g.File == f.File && g.Offset == f.Offset
		}
		f.Repaired = f.fix != nil && !slices.ContainsFunc(left, same)
		report.Findings = append(report.Findings, f)
		left = slices.DeleteFunc(left, same)
	}
	report.Findings = append(report.Findings, left...)
	return report, nil
}

// lockOffline makes sure that dir is a data directory and that nobody uses it.
func lockOffline(fsys vfs.FS, dir string) (unlock func() error, err error) {
	if _, err := fsys.List(filepath.Join(dir, "log")); err != nil {
		return nil, fmt.Errorf("%s is no data directory: %w", dir, err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, "lock"))
	var held *vfs.LockedError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("a broker is running on %s, stop it first: %w", dir, err)
	}
	if err != nil {
		return nil, err
	}
	return lock.Close, nil
}

// checker is one pass over a directory.
type checker struct {
	CheckOptions
	report CheckReport
	salt   salt
	noted  int64 // up to where the log was flushed, says the file flushed

	point   *checkpoint // where a broker goes on; nil: none, the log is read from 0
	blind   bool        // there is none and the log does not begin at 0: nobody knows the queues
	last    *checkpoint // the file checkpoint, if sound
	prev    *checkpoint
	bases   []int64
	dropped map[int64]bool // segments that the log says were dropped behind the checkpoint

	names  map[uint32]queueName
	ends   map[uint32]int64 // where each queue goes on, as far as that is known
	seen   map[uint32]int64 // log position of each queue's last run
	at     int64            // log position behind what was read; -1: nothing yet
	damage int              // last finding since the log was contiguous that can be why something is missing; -1: none
	spans  []span           // damaged places

	mins     map[uint32]int64 // smallest readable offset of each queue, say the checkpoint and what lies behind it
	index    *sealedIndex     // of the sealed segment that is read; nil: none that is sound
	gapKnown bool             // why a segment is not there is in a finding
	gaps     []span           // where segments are not there and are not needed, says the checkpoint

	kept   map[string]bool // files with a copy aside
	struck map[int64]bool  // segments that a repair takes out of the checkpoints

	inTail bool
	tail   []*segment
	fills  []*fill // damaged places behind the checkpoint

	torn             int // finding of a torn end; what is read from there on lies behind it; -1: none
	tornBase, tornAt int64
}

type queueName struct {
	topic     protocol.Topic
	partition int32
}

// span is a damaged place and its finding.
type span struct {
	from, to int64
	finding  int
}

func checkOnce(o CheckOptions) (*checker, error) {
	c := &checker{CheckOptions: o, report: CheckReport{Dir: o.Dir, Findings: []Finding{}}, names: map[uint32]queueName{}, ends: map[uint32]int64{},
		seen: map[uint32]int64{}, mins: map[uint32]int64{}, at: -1, damage: -1, torn: -1, dropped: map[int64]bool{}, kept: map[string]bool{}, struck: map[int64]bool{}}
	defer func() {
		for _, g := range c.tail {
			g.close()
		}
	}()
	var err error
	if c.bases, _, err = segmentBases(c.FS, c.Dir); err != nil {
		return c, err
	}
	if err := c.checkIdentity(); err != nil {
		return c, err
	}
	if err := c.checkCheckpoints(); err != nil {
		return c, err
	}
	if err := c.checkFlushed(); err != nil {
		return c, err
	}
	if err := c.checkLeftovers(); err != nil {
		return c, err
	}
	c.report.Segments = len(c.bases)
	if err := c.checkLog(); err != nil {
		return c, err
	}
	c.report.Queues = len(c.names)
	return c, nil
}

func (c *checker) path(name string) string { return filepath.Join(c.Dir, name) }

// find adds a finding and returns its number.
func (c *checker) find(f Finding) int {
	f.Fixable = f.fix != nil
	c.report.Findings = append(c.report.Findings, f)
	return len(c.report.Findings) - 1
}

// lose adds to what a finding has lost.
func (c *checker) lose(finding int, queue uint32, from, to, messages int64) {
	f := &c.report.Findings[finding]
	if n := len(f.Lost); n > 0 && f.Lost[n-1].Queue == queue && f.Lost[n-1].To == from && f.Lost[n-1].Messages >= 0 && messages >= 0 {
		f.Lost[n-1].To = to
		f.Lost[n-1].Messages += messages
		return
	}
	if to <= c.mins[queue] {
		return // retention has taken it already
	}
	name := c.names[queue]
	f.Lost = append(f.Lost, Loss{Topic: name.topic, Partition: name.partition, Queue: queue, From: from, To: to, Messages: messages})
}

func (c *checker) checkIdentity() error {
	name := c.path(identityName)
	b, err := c.FS.ReadFile(name)
	id := identity{}
	if err == nil {
		id, err = parseIdentity(name, b)
	}
	ballot := countSalts(c.FS, c.Dir, c.bases)
	voted, votes := ballot.winner()
	var corrupt *CorruptError
	switch {
	case err == nil:
		c.salt = id.salt()
		if votes < 2 || ballot[c.salt] > 0 {
			return nil
		}
		corrupt = &CorruptError{File: name, Reason: "it is that of another directory: nothing here was written with its salt"}
	case isNotExist(err) && votes == 0:
		return nil
	case isNotExist(err):
		corrupt = &CorruptError{File: name, Reason: "missing"}
	case !errors.As(err, &corrupt):
		return err
	}
	c.salt = voted
	c.find(Finding{Severity: SeverityDamage, Area: AreaIdentity, File: name, Reason: corrupt.Reason,
		Action: "write a new one with the salt that is in the checksums of the other files: the directory becomes a new replica with the same messages",
		fix: func() error {
			id := newIdentity()
			if votes > 0 {
				id.Salt = voted.String()
			}
			data, err := id.encode()
			if err != nil {
				return err
			}
			return c.replace(name, data)
		}})
	return nil
}

// reasonMissing is what is wrong with a checkpoint that is not there.
const reasonMissing = "missing"

// replacing says whether the new checkpoint lies beside the missing one, whole: between the two renames there is no other. See writeCheckpoint.
func (c *checker) replacing(name string) bool {
	b, err := c.FS.ReadFile(name + ".tmp")
	if err != nil {
		return false
	}
	next, err := parseCheckpoint(name, b, c.salt)
	return err == nil && next.pos >= c.prev.pos
}

func (c *checker) checkCheckpoints() error {
	points := [2]*checkpoint{}
	names := [2]string{c.path(checkpointName), c.path(checkpointPrev)}
	bad := [2]*CorruptError{}
	for i, name := range names {
		b, err := c.FS.ReadFile(name)
		if err == nil {
			points[i], err = parseCheckpoint(name, b, c.salt)
		}
		if err != nil && !isNotExist(err) && !errors.As(err, &bad[i]) {
			bad[i] = &CorruptError{File: name, Reason: err.Error()}
		}
	}
	c.last, c.prev = points[0], points[1]
	if bad[0] == nil && c.last == nil && (c.prev != nil || bad[1] != nil) {
		bad[0] = &CorruptError{File: names[0], Reason: reasonMissing}
	}
	damaged := func(i int, action string, fix func() error) {
		c.find(Finding{Severity: SeverityDamage, Area: AreaCheckpoint, File: names[i], Offset: bad[i].Offset, Reason: bad[i].Reason, Action: action, fix: fix})
	}
	switch {
	case c.last != nil:
		c.point = c.last
		if bad[1] != nil {
			damaged(1, "replace it by a copy of the last one", func() error { return c.replace(names[1], c.encode(c.last)) })
		}
	case c.prev != nil:
		c.prev.clean = false // the log was written since
		c.point = c.prev
		fix := func() error { return c.replace(names[0], c.encode(c.prev)) }
		if bad[0].Reason == reasonMissing && c.replacing(names[0]) {
			c.find(Finding{Severity: SeverityNote, Area: AreaCheckpoint, File: names[0], Reason: "a crash was in the middle of replacing it",
				Action: "the next start uses the one before: nothing is lost, it reads more of the log", fix: fix})
		} else {
			damaged(0, "replace it by the one before: nothing is lost, the start reads more of the log", fix)
		}
	default:
		c.blind = len(c.bases) > 0 && c.bases[0] != 0
		for i := range bad {
			switch {
			case bad[i] == nil:
			case c.blind:
				damaged(i, "restore it from a replica or a backup: the log alone does not say any more which queues there are", nil)
			default:
				damaged(i, "move it aside: the log is complete, the start reads all of it", func() error { return c.moveAside(names[i]) })
			}
		}
		if c.blind && bad[0] == nil && bad[1] == nil {
			c.find(Finding{Severity: SeverityDamage, Area: AreaCheckpoint, File: names[0], Reason: "missing, and the log does not begin at 0",
				Action: "restore it from a replica or a backup: the log alone does not say any more which queues there are"})
		}
	}
	if c.point != nil {
		for _, q := range c.point.queues {
			c.names[q.id] = queueName{q.topic, q.partition}
			first := 0
			for first+1 < len(q.starts) && q.starts[first].messages == q.starts[first+1].messages {
				first++ // nothing is in it: a power cut took what was
			}
			c.mins[q.id] = q.starts[first].offset
		}
	}
	return nil
}

func (c *checker) checkFlushed() (err error) {
	if name := c.path(unsyncedName); exists(c.FS, name) {
		c.find(Finding{Severity: SeverityNote, Area: AreaFlushed, File: name, Reason: "a sync has failed: what is read here may be in memory only",
			Action: "the next start writes once more what lies behind the checkpoint"})
	}
	name := c.path(flushedName)
	c.noted, err = readFlushed(c.FS, name, c.salt)
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		c.find(Finding{Severity: SeverityNote, Area: AreaFlushed, File: name, Reason: corrupt.Reason,
			Action: "a power cut may have torn it. It says nothing now, and the next start writes it again"})
		return nil
	}
	return err
}

// exists says whether there is a file of this name.
func exists(fsys vfs.FS, name string) bool {
	_, err := fsys.Stat(name)
	return err == nil
}

// encode writes a checkpoint down again, changed or not.
func (c *checker) encode(p *checkpoint) []byte {
	s := &Store{salt: c.salt, options: Options{BootID: p.bootID}, rules: func(protocol.Topic) Rules { return Rules{} }, ids: &idWorker{}, topics: map[string][]*Queue{}, offsets: newOffsetTable(OffsetLimits{})}
	s.restore(p)
	s.ids.last = p.lastID
	for _, base := range p.segments {
		if c.struck[base] {
			continue
		}
		s.segments = append(s.segments, &segment{base: base})
	}
	return s.encodeCheckpoint(p.pos, p.clean)
}

func (c *checker) checkLeftovers() error {
	for _, dir := range []string{c.Dir, c.path("log")} {
		names, err := c.FS.List(dir)
		if err != nil {
			return err
		}
		for _, n := range names {
			log, isIndex := strings.CutSuffix(n, ".idx")
			switch {
			case strings.HasSuffix(n, preparedSuffix) || strings.HasSuffix(n, ".tmp"):
				c.find(Finding{Severity: SeverityNote, Area: AreaLeftover, File: filepath.Join(dir, n), Reason: "a file that was not finished", Action: "removed at the next start"})
			case isIndex && !slices.Contains(names, log+".log"):
				c.find(Finding{Severity: SeverityNote, Area: AreaLeftover, File: filepath.Join(dir, n), Reason: "an index without its segment", Action: "nobody reads it; it may be removed"})
			}
		}
	}
	return nil
}
