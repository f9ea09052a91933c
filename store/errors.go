package store

import (
	"errors"
	"fmt"
)

// When opening a data directory.
var (
	// ErrFormat is returned for a data directory that a newer program has written.
	ErrFormat = errors.New("store: the data directory has a format that this program does not know")
)

// When appending.
var (
	// ErrPoisoned is wrapped by every append after a write or an fsync has failed: what is on disk is uncertain, so nothing more
	// is acknowledged. Reads go on. Restart the broker once the disk is sound.
	ErrPoisoned = errors.New("the log takes no more writes")
	// ErrUncertain is wrapped, beside ErrPoisoned, by the append whose own write or flush has failed: a restart may find what it was to store.
	ErrUncertain = errors.New("it may be stored all the same")
	// ErrFull is wrapped when the disk has no room for the next segment. Nothing was stored; it works again when there is room.
	ErrFull = errors.New("the disk is full")
	// ErrNoSegment is wrapped when the next segment cannot be made for another reason: the file system is read-only, say, or does not know
	// fallocate. Nothing was stored; it works again when that does.
	ErrNoSegment = errors.New("the next segment of the log cannot be made")
	// ErrTooLarge is returned for a message that does not fit a segment of the log.
	ErrTooLarge = errors.New("the message is larger than a log segment (logSegmentSize)")
	// ErrReadOnly is returned by a store that was opened read-only.
	ErrReadOnly = errors.New("the store is open read-only")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the store is closed")
	// ErrGroups is wrapped when a group would be one more than OffsetLimits.Groups.
	ErrGroups = errors.New("offsets of as many groups are kept as there may be")
	// ErrOffsets is wrapped when an offset of a group would be one more than OffsetLimits.Offsets.
	ErrOffsets = errors.New("as many offsets of groups are kept as there may be")
	// ErrHidden is returned for a hidden group that is not known.
	ErrHidden = errors.New("no such hidden group")
)

// When reading.
var (
	// ErrEnd is returned for an offset at or beyond the readable end.
	ErrEnd = errors.New("no message at this offset yet")
	// ErrCold is returned to a reader that asked for memory only, when the bytes may have to come from disk.
	ErrCold = errors.New("the message is not in memory")
)

// MovedError is returned when an offset is not the beginning of a stored message; Offset is where to go on.
type MovedError struct{ Offset int64 }

func (e *MovedError) Error() string { return fmt.Sprintf("go on at offset %d", e.Offset) }

// CorruptError names a place that is damaged.
type CorruptError struct {
	File   string // the path of the file
	Offset int64  // where in the file, in bytes
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: damaged at byte %d: %s", e.File, e.Offset, e.Reason)
}
