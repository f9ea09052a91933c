package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"gopkg.in/ini.v1"

	"github.com/metaq/metaq/protocol"
)

// topicSection is how the section of a topic begins.
const topicSection = "topic="

// section is a [topic=NAME] of the file, or one key of a topic on the command line.
type section struct {
	topic    string
	settings []setting
	wrap     func(key string, err error) error // says where; key is empty for the section itself
}

type setting struct{ key, value, from string }

func fileSection(topic string, s *ini.Section, where location) section {
	sec := section{topic: topic, wrap: func(key string, err error) error {
		return where.errorf(s.Name(), key, "[%s] %w", s.Name(), err)
	}}
	for _, k := range s.Keys() {
		from := fmt.Sprintf("%s:%d", filepath.Base(where.file), where.lines[place{s.Name(), k.Name()}])
		sec.settings = append(sec.settings, setting{k.Name(), k.Value(), from})
	}
	return sec
}

// setTopic takes NAME.KEY of the command line. The name may have dots, a key has none.
func (c *Config) setTopic(path, value string) error {
	i := strings.LastIndexByte(path, '.')
	if i <= 0 {
		return fmt.Errorf("topic.%s: write topic.NAME.KEY", path)
	}
	c.sections = append(c.sections, section{topic: path[:i], settings: []setting{{path[i+1:], value, fromFlag}},
		wrap: func(_ string, err error) error { return fmt.Errorf("topic %s: %w", path[:i], err) }})
	return nil
}

// loadTopics builds the list of topics from the sections.
func (c *Config) loadTopics() error {
	var errs []error
	for _, s := range c.sections {
		i, ok := c.byName[s.topic]
		if !ok {
			if _, err := protocol.ParseTopic(strings.ReplaceAll(s.topic, "*", "x")); err != nil {
				errs = append(errs, s.wrap("", err))
				continue
			}
			i = len(c.Topics)
			c.byName[s.topic] = i
			c.Topics = append(c.Topics, c.system(s.topic))
			if c.Topics[i].Wildcard() {
				c.patterns = append(c.patterns, s.topic)
			}
		}
		for _, set := range s.settings {
			if err := c.setTopicKey(&c.Topics[i], set); err != nil {
				errs = append(errs, s.wrap(set.key, err))
			}
		}
	}
	c.sections = nil
	return errors.Join(errs...)
}

func (c *Config) setTopicKey(t *TopicConfig, s setting) error {
	k := find(topicKeys, s.key)
	switch {
	case k != nil:
		return assign(c, t, k, topicKeyName(t.Name, s.key), s.value, s.from)
	case strings.HasPrefix(s.key, "group."):
		if strings.TrimSpace(s.value) == "" {
			return nil
		}
		return fmt.Errorf("%s: filters of the server are Java classes in the original and are not supported; filter in the consumer", s.key)
	default:
		return unknown(topicSection, s.key)
	}
}

// topicKeyName is how the command line names a key of a topic.
func topicKeyName(topic, key string) string { return "topic." + topic + "." + key }
