package config

import (
	"slices"
	"strings"
)

// Change is a key whose value differs between two configurations: serverPort, topic.NAME.KEY, or topic.NAME for a topic that came or went.
type Change struct{ Key, Old, New string }

// configured is the value of a topic.NAME that is there.
const configured = "configured"

// Taken is what a running broker that has c makes of a newer configuration: the newer one, but what needs a restart stays.
func (c *Config) Taken(newer *Config) *Config {
	taken := *newer
	for _, k := range keys {
		if k.class == restart {
			k.copy(&taken, c)
		}
	}
	return &taken
}

// Diff compares with a newer configuration: what a running broker can take over, and what needs a restart. Both are sorted by key.
func (c *Config) Diff(newer *Config) (reload, needRestart []Change) {
	for _, k := range keys {
		if k.class == noEffect || k.get(c) == k.get(newer) {
			continue
		}
		change := Change{k.name, k.get(c), k.get(newer)}
		if k.class == reloadable {
			reload = append(reload, change)
		} else {
			needRestart = append(needRestart, change)
		}
	}
	was := map[string]*TopicConfig{}
	for i := range c.Topics {
		was[c.Topics[i].Name] = &c.Topics[i]
	}
	for i := range newer.Topics {
		t := &newer.Topics[i]
		old := was[t.Name]
		delete(was, t.Name)
		if old == nil {
			reload = append(reload, Change{"topic." + t.Name, "", configured})
			continue
		}
		if t.Wildcard() {
			continue // its values mean nothing
		}
		for _, k := range topicKeys {
			if k.class != noEffect && k.get(old) != k.get(t) {
				reload = append(reload, Change{topicKeyName(t.Name, k.name), k.get(old), k.get(t)})
			}
		}
	}
	for name := range was {
		reload = append(reload, Change{"topic." + name, configured, ""})
	}
	byKey := func(a, b Change) int { return strings.Compare(a.Key, b.Key) }
	slices.SortFunc(reload, byKey)
	slices.SortFunc(needRestart, byKey)
	return reload, needRestart
}
