package server

import (
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/server/config"
)

// Bounds that are not in the configuration.
const (
	flushSize     = 256 << 10 // bytes of answers that are written before a pass is over
	batchSize     = 1 << 20   // most bytes of messages that are appended together
	segmentMargin = 4 << 10   // bytes of a log segment that are not for a message
	leastBuffered = 8 << 20   // bounds of what is held for all connections together, if the configuration does not say
	mostBuffered  = 1 << 30
	joinLimit     = 32 << 10 // up to here the rest of a read is copied in front of the next one; beyond, it grows in place
	maxScratch    = 4 << 20  // a loop's buffer larger than this is not kept
	maxDue        = 16 << 10 // a connection's buffer larger than this is not kept, and larger late answers are not copied together
	minRate       = 4 << 10  // bytes a second at which a large command may come without running out of time
	maxLinger     = 16 << 20 // bytes that a peer may send after the end
	lingerTime    = 2 * time.Second
	resumeDelay   = 5 * time.Millisecond
	stallTime     = 30 * time.Second // how long a peer may take nothing although answers wait for it
	tickTime      = 250 * time.Millisecond
	sweepTicks    = 4                // ticks in which every connection is looked at once
	maxWait       = 5 * time.Minute  // longest long poll
	workers       = 4                // goroutines for what may block
	crowdedTime   = 10 * time.Second // how long a connection may take until its first command when there is hardly room for others
	refusals      = 16               // refused connections that may linger at the same time
	reserveFDs    = 64               // descriptors that connections leave to the store, the HTTP side and the runtime
	httpConns     = 32               // connections of the HTTP side
	httpIdle      = 10 * time.Second // how long one of them may be silent: those of clients must not keep a health check out
	scrapes       = 4                // that are answered at the same time: each is made in memory
	metricTopics  = 1000             // topics with metrics of their own
	metricQueues  = 10000            // partitions with metrics of their own
)

// limits are the bounds of the configuration, in the form in which they are used.
type limits struct {
	parse       protocol.Limits
	batch       int   // bytes of messages that are appended together, if they are more than one
	transfer    int   // bytes of an answer to get
	inFlight    int   // commands of a connection that are not answered yet
	highWater   int   // bytes queued towards a connection at which its commands are no longer read
	outbound    int   // bytes queued towards a connection at which it is closed
	list        int   // bytes of an answer that lists what there is
	input       int   // bytes of commands that a connection may send while they are not read
	buffered    int64 // bytes held for all connections together
	connections int
	perAddress  int
	idle        time.Duration // 0: never
	partial     time.Duration
	first       time.Duration // until the first command; 0: for ever
	stall       time.Duration
}

func newLimits(cfg *config.Config) *limits {
	l := cfg.Limits
	lim := &limits{
		// A message has to fit a segment of the log, with its headers.
		parse:       protocol.Limits{Line: l.MaxLine, Body: min(l.MaxMessage, int(cfg.LogSegmentSize)-segmentMargin)},
		batch:       min(batchSize, int(cfg.LogSegmentSize)/4),
		transfer:    int(cfg.MaxTransferSize),
		inFlight:    l.MaxInFlight,
		highWater:   l.MaxOutbound,
		connections: l.MaxConnections,
		perAddress:  l.MaxConnectionsPerAddress,
		idle:        l.IdleTimeout(),
		partial:     l.PartialCommandTimeout(),
		first:       l.FirstCommandTimeout(),
		buffered:    l.MaxBuffered,
		stall:       stallTime,
	}
	if lim.buffered == 0 {
		memory, _ := MemoryLimit()
		lim.buffered = min(max(memory/4, leastBuffered), mostBuffered)
	}
	// One answer may begin just below the high water mark, and one more may have been under way then.
	lim.outbound = lim.highWater + 2*max(lim.transfer, lim.parse.Body+protocol.RecordHeader) + flushSize + maxScratch
	lim.list = lim.outbound - lim.highWater // whatever else waits
	lim.input = max(lim.highWater, lim.parse.Body+lim.parse.Line)
	return lim
}
