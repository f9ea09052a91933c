package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// maxFile bounds a configuration file; one with 100,000 topics is smaller.
const maxFile = 16 << 20

// fromFlag is the source of what the command line sets.
const fromFlag = "flag"

// Load makes the configuration: the defaults, then the file ("" for none), then METAQ_ variables of the environment, then set, which is
// the command line: "serverPort" or "topic.NAME.numPartitions". An empty value counts as absent, as in the original. An error lists
// everything that is wrong, a line each.
func Load(file string, env []string, set map[string]string) (*Config, error) {
	c := Default()
	var errs []error
	if file != "" {
		raw, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		errs = append(errs, c.loadFile(file, raw))
	}
	errs = append(errs, c.loadEnv(env))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if topic, ok := strings.CutPrefix(name, "topic."); ok {
			errs = append(errs, c.setTopic(topic, set[name]))
			continue
		}
		errs = append(errs, c.set("", name, set[name], fromFlag))
	}
	errs = append(errs, c.checkZooKeeper())
	// What a topic does not say is the system's, whatever set that.
	errs = append(errs, c.loadTopics())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if c.Port != 0 && c.Port == c.HTTPPort {
		return nil, fmt.Errorf("serverPort and dashboardHttpPort are both %d", c.Port)
	}
	return c, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
	}
	return raw, nil
}

// set gives a key its value. section is where it stands, "" if it is no file.
func (c *Config) set(section, name, value, from string) error {
	k := find(keys, name)
	if k == nil || section != "" && section != k.section {
		return unknown(section, name)
	}
	return assign(c, c, k, name, value, from)
}

// assign gives a key of an owner its value, and notes under full where it came from.
func assign[O any](c *Config, owner *O, k *key[O], full, value, from string) error {
	if value = strings.TrimSpace(value); value == "" {
		return nil
	}
	if k.class == noEffect {
		c.idle[full] = value
	} else if err := k.set(owner, value); err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	c.sources[full] = from
	return nil
}
