package config

import (
	"fmt"
	"strings"
	"time"
)

// namedTopics is how many topics LossWindow names for one rule.
const namedTopics = 5

// LossWindow says in one line what an acknowledgement means, for the system and for topics where it is something else.
func (c *Config) LossWindow() string {
	system := lossWindow(c.UnflushThreshold, c.UnflushInterval)
	var others []string // in the order of the file
	topics := map[string][]string{}
	for _, t := range c.Topics {
		line := lossWindow(t.UnflushThreshold, t.UnflushInterval)
		if t.Wildcard() || line == system {
			continue
		}
		if topics[line] == nil {
			others = append(others, line)
		}
		topics[line] = append(topics[line], t.Name)
	}
	text := system
	for _, line := range others {
		names := topics[line]
		more := ""
		if n := len(names) - namedTopics; n > 0 {
			names, more = names[:namedTopics], fmt.Sprintf(" and %d more", n)
		}
		text += "; for " + strings.Join(names, ", ") + more + ": " + line
	}
	return text
}

func lossWindow(threshold, interval int) string {
	if threshold <= 1 {
		return "acks mean: flushed"
	}
	return fmt.Sprintf("acks may be lost on power failure: up to %d messages a partition or %v", threshold, time.Duration(interval)*time.Millisecond)
}
