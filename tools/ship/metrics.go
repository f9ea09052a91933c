//go:build linux

package ship

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics makes the metrics from the counters when somebody asks.
type metrics struct{ agent *Agent }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("metaq_ship_"+name, help, labels, nil)
}

var (
	descHeld     = desc("held_bytes", "Bytes that are read and not acknowledged, with what they take in memory.")
	descLimit    = desc("held_limit_bytes", "The bound of metaq_ship_held_bytes.")
	descSaved    = desc("checkpoint_timestamp_seconds", "When the last checkpoint was written.")
	descSavedOK  = desc("checkpoint_success", "0 while the checkpoint cannot be written.")
	descLag      = desc("lag_bytes", "Bytes of the files that are not acknowledged.", "input", "topic")
	descFiles    = desc("files", "Files that are known, by state.", "input", "topic", "state")
	descCounters = []struct {
		desc  *prometheus.Desc
		value func(*InputStatus) int64
	}{
		{desc("messages_total", "Lines that were acknowledged.", "input", "topic"), func(s *InputStatus) int64 { return s.Messages }},
		{desc("bytes_total", "Bytes of files that were acknowledged.", "input", "topic"), func(s *InputStatus) int64 { return s.Bytes }},
		{desc("failed_blocks_total", "Blocks of lines that the broker did not take whole; they are sent again.", "input", "topic"), func(s *InputStatus) int64 { return s.Failed }},
		{desc("refused_lines_total", "Lines that the broker has refused for good, set aside.", "input", "topic"), func(s *InputStatus) int64 { return s.Refused }},
		{desc("cut_lines_total", "Lines that were longer than the limit.", "input", "topic"), func(s *InputStatus) int64 { return s.Cut }},
		{desc("cut_bytes_total", "Bytes that were cut off.", "input", "topic"), func(s *InputStatus) int64 { return s.CutBytes }},
		{desc("truncated_files_total", "Files that were truncated or overwritten in place.", "input", "topic"), func(s *InputStatus) int64 { return s.Truncated }},
		{desc("copies_continued_total", "Copies in which the content of such files was found.", "input", "topic"), func(s *InputStatus) int64 { return s.Copies }},
		{desc("hole_bytes_total", "Zeros that were skipped.", "input", "topic"), func(s *InputStatus) int64 { return s.HoleBytes }},
		{desc("lost_files_total", "Files that were gone before they were read to their end.", "input", "topic"), func(s *InputStatus) int64 { return s.LostFiles }},
		{desc("lost_bytes_total", "Bytes of these, as far as they were seen.", "input", "topic"), func(s *InputStatus) int64 { return s.LostBytes }},
	}
)

// Describe says nothing beforehand: what Collect tells is only known when the followers are at work.
func (m metrics) Describe(chan<- *prometheus.Desc) {}

// Collect tells the present values.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := m.agent.Status()
	gauge(descHeld, float64(s.Held))
	gauge(descLimit, float64(m.agent.config.Memory))
	if !s.Saved.IsZero() {
		gauge(descSaved, float64(s.Saved.UnixMilli())/1000)
	}
	ok := 1.0
	if s.Problem != "" {
		ok = 0
	}
	gauge(descSavedOK, ok)
	for i := range s.Inputs {
		in := &s.Inputs[i]
		for _, c := range descCounters {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.value(in)), in.Name, in.Topic)
		}
		lag, states := int64(0), map[string]int{}
		for _, f := range in.Files {
			lag += f.Lag
			states[f.State]++
		}
		gauge(descLag, float64(lag), in.Name, in.Topic)
		for _, state := range []string{stateFollowed, stateRotated, stateRemoved, stateMissing, stateWaiting} {
			gauge(descFiles, float64(states[state]), in.Name, in.Topic, state)
		}
	}
}
