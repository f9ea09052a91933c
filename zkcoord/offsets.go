package zkcoord

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/metaq/metaq/protocol"
)

// MovedError says that offsets were not kept because somebody else has changed them since they were loaded or kept last: another consumer, or somebody
// at a console. Load tells what they are now.
type MovedError struct{ Partitions []TopicPartition }

func (e *MovedError) Error() string {
	names := make([]string, len(e.Partitions))
	for i, p := range e.Partitions {
		names[i] = p.String()
	}
	return "zookeeper: somebody else has changed the offset of " + strings.Join(names, ", ")
}

// Offsets are where a group goes on, kept in ZooKeeper as the original does. It remembers which version of each it has seen, and changes no other one,
// so that a consumer that has lost a partition without knowing cannot undo what its next owner does. Functions may be called from several goroutines,
// for the same partition one at a time.
type Offsets struct {
	session *Session
	layout  Layout
	group   protocol.Group

	mu   sync.Mutex
	seen map[TopicPartition]seenOffset
}

// seenOffset is the node of an offset as it was seen or made last.
type seenOffset struct {
	exists  bool
	version int32
	unsure  []byte // data of a change whose outcome is not known
}

// NewOffsets makes the Offsets of a group.
func NewOffsets(s *Session, l Layout, g protocol.Group) *Offsets {
	return &Offsets{session: s, layout: l, group: g, seen: map[TopicPartition]seenOffset{}}
}

// Load tells where the group goes on in a partition; ok is false if that was never kept.
func (o *Offsets) Load(ctx context.Context, p TopicPartition) (offset Offset, ok bool, err error) {
	path := o.path(p)
	data, stat, err := o.session.Get(ctx, path)
	if errors.Is(err, ErrNoNode) {
		o.note(p, seenOffset{})
		return Offset{}, false, nil
	}
	if err != nil {
		return Offset{}, false, err
	}
	o.note(p, seenOffset{exists: true, version: stat.Version})
	if len(data) == 0 {
		return Offset{}, false, nil // made as a parent, or emptied by hand
	}
	offset, err = ParseOffset(data)
	if err != nil {
		return Offset{}, false, fmt.Errorf("%s: %w", path, err)
	}
	return offset, true, nil
}

// offsetsAtOnce is how many offsets are one transaction of ZooKeeper. With the longest names there are it is far from the largest request.
const offsetsAtOnce = 100

// Save keeps offsets that were loaded or kept before, many with one request. *MovedError: some were changed by somebody else and stay as they are; the others are kept.
// After another error some may be kept.
func (o *Offsets) Save(ctx context.Context, offsets map[TopicPartition]Offset) error {
	var known []TopicPartition
	var chunks [][]TopicPartition
	for p := range offsets {
		if at := o.at(p); at.exists && at.unsure == nil {
			known = append(known, p)
		} else {
			chunks = append(chunks, []TopicPartition{p})
		}
	}
	chunks = slices.AppendSeq(chunks, slices.Chunk(known, offsetsAtOnce))
	var mu sync.Mutex
	var moved []TopicPartition
	err := eachAtOnce(chunks, func(chunk []TopicPartition) error {
		if len(chunk) > 1 {
			if err := o.saveTogether(ctx, chunk, offsets); !notAsExpected(err) {
				return err
			} // one of them was changed: which one?
		}
		for _, p := range chunk {
			err := o.save(ctx, p, offsets[p])
			if errors.Is(err, errMoved) {
				mu.Lock()
				moved = append(moved, p)
				mu.Unlock()
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(moved) > 0 {
		return &MovedError{moved}
	}
	return err
}

// saveTogether keeps offsets whose nodes are known, all or none.
func (o *Offsets) saveTogether(ctx context.Context, some []TopicPartition, offsets map[TopicPartition]Offset) error {
	changes := make([]Change, len(some))
	for i, p := range some {
		changes[i] = Change{o.path(p), offsets[p].Encode(), o.at(p).version}
	}
	err := o.session.SetAll(ctx, changes)
	for i, p := range some {
		switch at := o.at(p); {
		case err == nil:
			o.note(p, seenOffset{exists: true, version: at.version + 1})
		case errors.Is(err, ErrUnknown):
			at.unsure = changes[i].Data
			o.note(p, at)
		}
	}
	return err
}

// errMoved says of one offset what MovedError says of several.
var errMoved = errors.New("changed by somebody else")

// notAsExpected tells that a node has another version than was seen last, or is there or gone unexpectedly.
func notAsExpected(err error) bool {
	return errors.Is(err, ErrBadVersion) || errors.Is(err, ErrNodeExists) || errors.Is(err, ErrNoNode)
}

// save keeps one offset.
func (o *Offsets) save(ctx context.Context, p TopicPartition, offset Offset) error {
	at, path, data := o.at(p), o.path(p), offset.Encode()
	if at.unsure != nil {
		var err error
		if at, err = o.settle(ctx, p, at); err != nil {
			return err
		}
	}
	before := at
	var err error
	if at.exists {
		at.version, err = o.session.Set(ctx, path, data, at.version)
	} else {
		at, err = seenOffset{exists: true}, o.session.Create(ctx, path, data, Persistent)
	}
	switch {
	case err == nil:
		o.note(p, at)
	case notAsExpected(err):
		return errMoved
	case errors.Is(err, ErrUnknown):
		before.unsure = data
		o.note(p, before)
	}
	return err
}

// settle finds out whether a change has happened that got no answer.
func (o *Offsets) settle(ctx context.Context, p TopicPartition, at seenOffset) (seenOffset, error) {
	data, stat, err := o.session.Get(ctx, o.path(p))
	there := !errors.Is(err, ErrNoNode)
	switch {
	case there && err != nil:
		return at, err
	case there == at.exists && (!there || stat.Version == at.version):
		at.unsure = nil // it did not happen
	case there && bytes.Equal(data, at.unsure) && (at.exists && stat.Version == at.version+1 || !at.exists && stat.Version == 0):
		at = seenOffset{exists: true, version: stat.Version}
	default:
		return at, errMoved
	}
	o.note(p, at)
	return at, nil
}

func (o *Offsets) path(p TopicPartition) string {
	return o.layout.Offset(o.group, p.Topic, p.Partition)
}

func (o *Offsets) at(p TopicPartition) seenOffset {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[p]
}

func (o *Offsets) note(p TopicPartition, at seenOffset) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[p] = at
}
