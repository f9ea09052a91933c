package server

import (
	"runtime"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// collector makes the metrics from the counters when somebody asks, so that counting stays cheap.
type collector struct{ server *Server }

func newCollector(s *Server) collector { return collector{s} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("metaq_"+name, help, labels, nil)
}

var (
	descPutMessages  = desc("put_messages_total", "Messages stored, by topic.", "topic")
	descPutBytes     = desc("put_bytes_total", "Bytes of data stored.")
	descPutFailures  = desc("put_failures_total", "Puts that failed, by the code of the answer.", "code")
	descGets         = desc("get_requests_total", "Answers to get, by what they held.", "result")
	descGetBytes     = desc("get_bytes_total", "Bytes of messages given to consumers.")
	descRequests     = desc("requests_total", "Commands, by verb.", "cmd")
	descBadRequests  = desc("bad_requests_total", "Lines that were no command.")
	descDuration     = desc("request_duration_seconds", "From reading a command to having its answer; the wait of a long poll is not part of it.", "cmd")
	descFlush        = desc("flush_duration_seconds", "Time of the log's flushes to the disk.")
	descFlushBatch   = desc("flush_batch_messages", "Messages a flush.")
	descFirst        = desc("partition_first_offset_bytes", "First offset of a partition that can be read.", "topic", "partition")
	descEnd          = desc("partition_end_offset_bytes", "Offset behind the last message of a partition that can be read.", "topic", "partition")
	descLag          = desc("consumer_lag_bytes", "Bytes between what a group has committed and the end.", "group", "topic", "partition")
	descConnections  = desc("connections", "Connections of clients.")
	descAccepted     = desc("connections_accepted_total", "Connections that were let in.")
	descRejected     = desc("connections_rejected_total", "Connections that were refused, by reason.", "reason")
	descAcceptErrors = desc("accept_errors_total", "Errors of the listener.")
	descOutbound     = desc("outbound_buffer_bytes", "Bytes of answers that wait for slow readers.")
	descBuffered     = desc("buffered_bytes", "Bytes held for all connections together: answers not taken, commands not complete or not run.")
	descBufferedMax  = desc("buffered_limit_bytes", "The bound of metaq_buffered_bytes.")
	descBufferedNo   = desc("buffered_refusals_total", "Commands refused and connections closed because all connections together held too much.")
	descConnLimit    = desc("connections_limit", "Connections that there may be.")
	descTimeouts     = desc("timeouts_total", "Connections closed because they were idle, or a command was not complete in time.")
	descSilent       = desc("silent_connections_closed_total", "Connections closed because they never sent a command.")
	descPauses       = desc("pauses_total", "How often a connection was not read because its answers wait.")
	descSlow         = desc("slow_consumers_closed_total", "Connections closed because they did not take their answers.")
	descPanics       = desc("panics_total", "Commands that panicked.")
	descIn           = desc("received_bytes_total", "Bytes received from clients.")
	descOut          = desc("sent_bytes_total", "Bytes sent to clients.")
	descDiskFull     = desc("disk_full", "1 while no messages are taken because the disk is fuller than diskRefusePercent, or the next segment cannot be made.")
	descCleaned      = desc("disk_cleaned_messages_total", "Messages that were removed before their time because the disk was fuller than diskCleanPercent.")
	descFree         = desc("disk_free_bytes", "Free bytes of the file system of the log.")
	descTotal        = desc("disk_size_bytes", "Size of the file system of the log.")
	descSegments     = desc("segment_count", "Segments of the log.")
	descQueues       = desc("partitions", "Partitions that were written.")
	descPoisoned     = desc("partition_poisoned", "1 if the log takes no more writes after a failed one.")
	descDiskStuck    = desc("disk_stuck_seconds", "For how long the disk has not answered; 0 if it does. The store's other metrics are missing while a write hangs.")
	descDiskStucks   = desc("disk_stuck_total", "How often the disk has not answered for longer than diskTimeout.")
	descLatePuts     = desc("puts_late_total", "Puts that became safe after they were answered with 504, busy.")
	descUnflushed    = desc("unflushed_bytes", "Bytes of the log that are not flushed yet.")
	descTorn         = desc("recovery_torn_bytes", "Bytes of a torn tail that the last start has cut.")
	descStuck        = desc("retention_stuck_partitions", "Partitions whose old messages could not be removed at the last try.")
	descArchiveBad   = desc("archive_damaged_total", "Damaged places that an archive went around.")
	descRewritten    = desc("rewritten_segments_total", "Segments of the log that were put into the order of their partitions.")
	descRewriteBytes = desc("rewritten_bytes_total", "Bytes written for that.")
	descRewriteTodo  = desc("rewrite_pending_segments", "Segments of the log that are to be looked at for that.")
	descRewriteTime  = desc("rewrite_seconds_total", "Time spent on that, without what was waited to be slow enough.")
	descReload       = desc("config_reload_success", "1 if the last reload of the configuration was taken, 0 if the file had a mistake.")
	descReloadTime   = desc("config_reload_success_timestamp_seconds", "When a configuration was last taken, that of the start included.")
	descRegistered   = desc("zookeeper_registered", "1 while the broker is registered in ZooKeeper.")
	descSession      = desc("zookeeper_connected", "1 while a server of ZooKeeper answers.")
	descSessions     = desc("zookeeper_sessions_total", "Sessions of ZooKeeper since the start.")
	descLost         = desc("zookeeper_sessions_lost_total", "How often a session was lost, by the broker's own clock or by ZooKeeper's word.")
	descRegTopics    = desc("zookeeper_topics", "Topics that are to be registered.")
	descBuild        = desc("build_info", "The version; always 1.", "version", "go")
)

// Describe sends nothing: the labels depend on the topics, so the collector is unchecked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect is part of prometheus.Collector.
func (k collector) Collect(out chan<- prometheus.Metric) {
	k.collectCommands(out)
	k.collectConnections(out)
	if !k.collectDisk(out) {
		k.collectStore(out)
		k.collectTopics(out)
	}
	k.collectReloads(out)
	k.collectCluster(out)
	out <- gauge(descBuild, 1, Version, runtime.Version())
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// truth is 1 or 0.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func counter(d *prometheus.Desc, v int64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (k collector) collectCommands(out chan<- prometheus.Metric) {
	s := k.server
	out <- counter(descPutBytes, s.sum(func(n *counters) *atomic.Int64 { return &n.putBytes }))
	for i, code := range failureCodes {
		out <- counter(descPutFailures, s.sum(func(n *counters) *atomic.Int64 { return &n.failures[i] }), strconv.Itoa(int(code)))
	}
	out <- counter(descGets, s.sum(func(n *counters) *atomic.Int64 { return &n.hits }), "hit")
	out <- counter(descGets, s.sum(func(n *counters) *atomic.Int64 { return &n.misses }), "empty")
	out <- counter(descGets, s.sum(func(n *counters) *atomic.Int64 { return &n.moved }), "moved")
	out <- counter(descGetBytes, s.sum(func(n *counters) *atomic.Int64 { return &n.getBytes }))
	out <- counter(descBadRequests, s.sum(func(n *counters) *atomic.Int64 { return &n.badRequests }))
	for v := protocol.VerbPut; v <= protocol.VerbOpen; v++ {
		requests := s.sum(func(n *counters) *atomic.Int64 { return &n.requests[v] })
		out <- counter(descRequests, requests, v.String())
		if requests > 0 {
			out <- s.duration(v)
		}
	}
}

// duration adds the histograms of a verb up.
func (s *Server) duration(v protocol.Verb) prometheus.Metric {
	var count, nanos int64
	buckets := make(map[float64]uint64, len(bucketBounds))
	for i := range len(bucketBounds) + 1 {
		for j := range s.counts {
			count += s.counts[j].durations[v].buckets[i].Load()
		}
		if i < len(bucketBounds) {
			buckets[bucketBounds[i].Seconds()] = uint64(count)
		}
	}
	for j := range s.counts {
		nanos += s.counts[j].durations[v].nanos.Load()
	}
	return prometheus.MustNewConstHistogram(descDuration, uint64(count), float64(nanos)/1e9, buckets, v.String())
}

func (k collector) collectConnections(out chan<- prometheus.Metric) {
	s := k.server
	out <- gauge(descConnections, float64(s.admission.count()))
	out <- counter(descAccepted, s.admission.accepted.Load())
	for r := range reasons {
		out <- counter(descRejected, s.admission.refused[r].Load(), r.String())
	}
	out <- counter(descAcceptErrors, s.admission.failed.Load())
	out <- gauge(descOutbound, float64(s.outbound.Load()))
	out <- gauge(descBuffered, float64(s.budget.held.Load()))
	out <- gauge(descBufferedMax, float64(s.limits.Load().buffered))
	out <- counter(descBufferedNo, s.budget.refused.Load())
	out <- gauge(descConnLimit, float64(s.maxConnections()))
	out <- counter(descTimeouts, s.sum(func(n *counters) *atomic.Int64 { return &n.timeouts }))
	out <- counter(descSilent, s.admission.silent.Load())
	out <- counter(descPauses, s.sum(func(n *counters) *atomic.Int64 { return &n.pauses }))
	out <- counter(descSlow, s.sum(func(n *counters) *atomic.Int64 { return &n.slowClosed }))
	out <- counter(descPanics, s.sum(func(n *counters) *atomic.Int64 { return &n.panics }))
	out <- counter(descIn, s.sum(func(n *counters) *atomic.Int64 { return &n.bytesIn }))
	out <- counter(descOut, s.sum(func(n *counters) *atomic.Int64 { return &n.bytesOut }))
}

func (k collector) collectReloads(out chan<- prometheus.Metric) {
	out <- gauge(descReload, truth(!k.server.reloads.refused.Load()))
	out <- gauge(descReloadTime, float64(k.server.reloads.succeeded.Load())/1e9)
}

// collectCluster adds nothing for a broker that is alone.
func (k collector) collectCluster(out chan<- prometheus.Metric) {
	c := k.server.cluster.Load()
	if c == nil {
		return
	}
	status, _ := c.session.Status()
	out <- gauge(descRegistered, truth(c.broker.Standing() == nil))
	out <- gauge(descSession, truth(status.State == zkcoord.Connected))
	out <- counter(descSessions, c.begun.Load())
	out <- counter(descLost, c.lost.Load())
	out <- gauge(descRegTopics, float64(c.topics.Load()))
}

// collectDisk says whether asking the store for more would hang.
func (k collector) collectDisk(out chan<- prometheus.Metric) (blocked bool) {
	seconds := 0.0
	if stuck := k.server.store.Busy(); stuck != nil {
		seconds, blocked = stuck.For.Seconds(), stuck.Blocks()
	}
	out <- gauge(descDiskStuck, seconds)
	out <- counter(descDiskStucks, k.server.store.BusyTimes())
	out <- counter(descLatePuts, k.server.latePuts.Load())
	return blocked
}

func (k collector) collectStore(out chan<- prometheus.Metric) {
	st := k.server.store.Stats()
	out <- prometheus.MustNewConstSummary(descFlush, uint64(st.Flushes), st.FlushTime.Seconds(), nil)
	out <- prometheus.MustNewConstSummary(descFlushBatch, uint64(st.Flushes), float64(st.Messages), nil)
	out <- gauge(descDiskFull, truth(st.DiskFull != nil))
	out <- counter(descCleaned, st.Cleaned)
	out <- gauge(descFree, float64(st.FreeBytes))
	out <- gauge(descTotal, float64(st.TotalBytes))
	out <- gauge(descSegments, float64(st.Segments))
	out <- gauge(descQueues, float64(st.Queues))
	out <- gauge(descUnflushed, float64(st.Appended-st.Flushed))
	out <- gauge(descTorn, float64(st.TornBytes))
	out <- gauge(descStuck, float64(st.RetentionStuck))
	out <- counter(descArchiveBad, st.ArchivedDamaged)
	out <- counter(descRewritten, st.Rewritten)
	out <- counter(descRewriteBytes, st.RewrittenBytes)
	out <- gauge(descRewriteTodo, float64(st.RewritePending))
	out <- prometheus.MustNewConstMetric(descRewriteTime, prometheus.CounterValue, st.RewriteTime.Seconds())
	out <- gauge(descPoisoned, truth(st.Failed != nil))
}

// otherTopics is the label of what is beyond the bounds on topics and partitions.
const otherTopics = "(other)"

func (k collector) collectTopics(out chan<- prometheus.Metric) {
	s := k.server
	var others int64
	partitions := 0
	for i, t := range s.catalog.all() {
		if i >= metricTopics {
			others += t.counts.puts.Load()
			continue
		}
		out <- counter(descPutMessages, t.counts.puts.Load(), string(t.name))
		queues := t.queues()
		queues = queues[:min(len(queues), metricQueues-partitions)]
		partitions += len(queues)
		for i, st := range s.store.StatAll(queues) {
			part := strconv.Itoa(int(queues[i].Partition()))
			out <- gauge(descFirst, float64(st.Min), string(t.name), part)
			out <- gauge(descEnd, float64(st.End), string(t.name), part)
		}
	}
	if others > 0 {
		out <- counter(descPutMessages, others, otherTopics)
	}
	groups := 0
	for g := range s.store.GroupOffsets() {
		if groups++; groups > metricQueues {
			break
		}
		if q := s.store.Queue([]byte(g.Topic), g.Partition); q != nil {
			out <- gauge(descLag, float64(max(q.Stat().End-g.Offset, 0)), string(g.Group), string(g.Topic), strconv.Itoa(int(g.Partition)))
		}
	}
}
