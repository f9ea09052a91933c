//go:build linux

package ship

import "sync/atomic"

// counts are what a follower has counted since the start.
type counts struct {
	messages  atomic.Int64 // acknowledged
	bytes     atomic.Int64 // of files, acknowledged
	failed    atomic.Int64 // blocks that the broker did not take whole
	refused   atomic.Int64 // lines that were set aside
	cut       atomic.Int64 // lines that were too long
	dropped   atomic.Int64 // bytes of these that are in no message
	truncated atomic.Int64 // files that were found to be truncated or overwritten
	adopted   atomic.Int64 // copies in which a file was read on
	holes     atomic.Int64 // zeros that were skipped
	lostFiles atomic.Int64 // files that were gone before they were read to their end
	lost      atomic.Int64 // bytes of these, as far as they were seen
}
