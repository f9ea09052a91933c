package server

import (
	"sync/atomic"
	"time"
)

func (s *Server) statsConnections(t *statsText) {
	t.int("curr_connections", int64(s.admission.count()))
	t.int("addresses", int64(s.admission.addresses()))
	t.int("max_connections", int64(s.maxConnections()))
	t.int("accepted_total", s.admission.accepted.Load())
	for r := range reasons {
		t.int("refused_"+r.String(), s.admission.refused[r].Load())
	}
	t.int("left_event_loop_total", s.adopted.Load())
	t.int("accept_errors_total", s.admission.failed.Load())
	t.int("outbound_bytes", s.outbound.Load())
	t.int("buffered_bytes", s.budget.held.Load())
	t.int("buffered_peak_bytes", s.budget.peak.Load())
	t.int("buffered_refusals_total", s.budget.refused.Load())
	t.int("silent_closed_total", s.admission.silent.Load())
	for _, e := range []struct {
		name string
		of   func(*counters) *atomic.Int64
	}{
		{"bytes_in_total", func(n *counters) *atomic.Int64 { return &n.bytesIn }},
		{"bytes_out_total", func(n *counters) *atomic.Int64 { return &n.bytesOut }},
		{"bad_requests_total", func(n *counters) *atomic.Int64 { return &n.badRequests }},
		{"pauses_total", func(n *counters) *atomic.Int64 { return &n.pauses }},
		{"timeouts_total", func(n *counters) *atomic.Int64 { return &n.timeouts }},
		{"slow_closed_total", func(n *counters) *atomic.Int64 { return &n.slowClosed }},
		{"panics_total", func(n *counters) *atomic.Int64 { return &n.panics }},
		{"cold_reads_total", func(n *counters) *atomic.Int64 { return &n.coldReads }},
		{"long_polls_total", func(n *counters) *atomic.Int64 { return &n.longPolls }},
	} {
		t.int(e.name, s.sum(e.of))
	}
}

func (s *Server) statsLimits(t *statsText) {
	lim := s.limits.Load()
	t.int("maxLineLength", int64(lim.parse.Line))
	t.int("maxMessageSize", int64(lim.parse.Body))
	t.int("maxTransferSize", int64(lim.transfer))
	t.int("maxCommandsInFlight", int64(lim.inFlight))
	t.int("maxOutboundBytes", int64(lim.highWater))
	t.int("maxBufferedBytes", lim.buffered)
	t.int("outbound_closed_at_bytes", int64(lim.outbound))
	t.int("unread_input_bytes", int64(lim.input))
	t.int("maxConnections", int64(s.maxConnections()))
	t.int("maxConnectionsPerAddress", int64(lim.perAddress))
	t.int("maxTopics", int64(s.config().Limits.MaxTopics))
	t.int("maxPartitions", int64(s.config().Limits.MaxPartitions))
	t.int("maxGroups", int64(s.config().Offsets.Groups))
	t.int("maxGroupOffsets", int64(s.config().Offsets.Offsets))
	t.int("longest_wait_ms", int64(maxWait/time.Millisecond))
	t.int("idleTimeout_ms", int64(lim.idle/time.Millisecond))
	t.int("partialCommandTimeout_ms", int64(lim.partial/time.Millisecond))
	t.int("firstCommandTimeout_ms", int64(lim.first/time.Millisecond))
	t.int("stall_timeout_ms", int64(lim.stall/time.Millisecond))
	t.int("diskTimeout_ms", int64(s.config().Limits.DiskTimeout()/time.Millisecond))
	t.int("workers", workers)
}

func (s *Server) statsStore(t *statsText) {
	st := s.store.Stats()
	t.int("appended", st.Appended)
	t.int("flushed", st.Flushed)
	t.int("unflushed_bytes", st.Appended-st.Flushed)
	t.int("segments", int64(st.Segments))
	t.int("mapped_segments", int64(st.Mapped))
	t.int("queues", int64(st.Queues))
	t.int("groups", int64(st.Groups))
	t.int("group_offsets", int64(st.Offsets))
	t.int("messages_since_start", st.Messages)
	t.int("torn_bytes", st.TornBytes)
	t.int("retention_stuck_partitions", int64(st.RetentionStuck))
	t.int("archive_damaged_total", st.ArchivedDamaged)
	t.int("rewritten_segments", st.Rewritten)
	t.int("rewritten_bytes", st.RewrittenBytes)
	t.int("rewrite_pending_segments", int64(st.RewritePending))
	t.int("rewrite_ms", int64(st.RewriteTime/time.Millisecond))
	t.int("recovery_ms", int64(st.Recovery/time.Millisecond))
	t.int("disk_used_percent", int64(st.DiskUsed))
	t.line("disk_full", st.DiskFull != nil)
	t.int("disk_cleaned_messages_total", st.Cleaned)
	t.int("disk_free_bytes", st.FreeBytes)
	t.int("disk_total_bytes", st.TotalBytes)
	t.int("disk_stuck_total", s.store.BusyTimes())
	t.int("busy_answers_total", st.BusyAnswers)
	t.int("puts_late_total", s.latePuts.Load())
	if stuck := s.store.Busy(); stuck != nil {
		t.int("disk_stuck_ms", int64(stuck.For/time.Millisecond))
		t.line("disk_stuck_since", stuck.Since.UTC().Format(time.RFC3339))
	} else {
		t.int("disk_stuck_ms", 0)
	}
	writable := int64(1)
	if st.Failed != nil {
		writable = 0
	}
	t.int("writable", writable)
}

func (s *Server) statsFlush(t *statsText) {
	st := s.store.Stats()
	t.line("acknowledgement", s.config().LossWindow())
	t.int("flushes", st.Flushes)
	t.int("flush_total_us", int64(st.FlushTime/time.Microsecond))
	if st.Flushes > 0 {
		t.int("flush_mean_us", int64(st.FlushTime/time.Microsecond)/st.Flushes)
		t.line("messages_per_flush", ratio(st.Messages, st.Flushes))
	}
	t.int("unflushed_bytes", st.Appended-st.Flushed)
}
