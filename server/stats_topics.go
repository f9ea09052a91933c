package server

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// statsTopics lists the topics with data, then, by name, those that are configured and have none; a wildcard has none itself.
func (s *Server) statsTopics(t *statsText) {
	var empty []string
	for _, topic := range s.catalog.all() {
		queues := topic.queues()
		if len(queues) == 0 {
			empty = append(empty, string(topic.name))
			continue
		}
		messages, bytes := s.volume(topic)
		conf := topic.conf
		t.text(fmt.Sprintf("%s partitions %d message_count %d message_bytes %d accept_publish %t accept_subscribe %t",
			topic.name, len(queues), messages, bytes, conf.AcceptPublish, conf.AcceptSubscribe))
	}
	for _, conf := range s.config().Topics {
		if strings.Contains(conf.Name, "*") {
			empty = append(empty, conf.Name)
		}
	}
	slices.Sort(empty)
	for _, name := range empty {
		t.text(name + " *Empty*")
	}
}

// statsOffsets lists the partitions that were written.
func (s *Server) statsOffsets(t *statsText) {
	for _, topic := range s.catalog.all() {
		queues := topic.queues()
		for i, st := range s.store.StatAll(queues) {
			q := queues[i]
			t.text(fmt.Sprintf("%s part %d min_offset %d max_offset %d", topic.name, q.Partition(), st.Min, st.End))
		}
	}
}

// Result codes of `stats TOPIC`.
const (
	topicFound   = 0
	topicUnknown = 1
	topicEmpty   = 2 // configured, without data
)

// statsTopic is the item of one topic; every word that is no item is taken for one.
func (s *Server) statsTopic(t *statsText, name string) {
	topic := s.catalog.find([]byte(name))
	code, counts := topicUnknown, sample{}
	window := &window{baseAt: time.Now()}
	var partitions int
	var messages, bytes int64
	if topic != nil {
		code, partitions = topicFound, len(topic.queues())
		if partitions == 0 {
			code = topicEmpty
		}
		messages, bytes = s.volume(topic)
		if topic.conf.Stat {
			counts, window = topic.counts.read(), &topic.counts.window
		}
	}
	t.text(name)
	t.int("resultCode", int64(code))
	t.int("partitions", int64(partitions))
	t.int("message_count", messages)
	t.int("bytes", bytes)
	values := window.lines(time.Now(), counts, func(string) string { return "Invalid keyTwo:" + name })
	for i, key := range realtimeKeys {
		t.line("topic_"+key, values[i])
	}
}

// statsGroups lists what the consumer groups have committed.
func (s *Server) statsGroups(t *statsText) {
	var text []string
	size := 0
	for g := range s.store.GroupOffsets() {
		line := fmt.Sprintf("%s group %s part %d offset %d", g.Topic, g.Group, g.Partition, g.Offset)
		if q := s.store.Queue([]byte(g.Topic), g.Partition); q != nil {
			line += fmt.Sprintf(" lag_bytes %d", max(q.Stat().End-g.Offset, 0))
		}
		text = append(text, line)
		if size += len(line); t.most > 0 && size > t.most {
			break // it is too much already
		}
	}
	slices.Sort(text)
	for _, line := range text {
		t.text(line)
	}
}
