package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/metaq/metaq/store"
)

type duration = time.Duration

func ignored(name, why string) key {
	return key{name: name, section: "system", class: noEffect, about: why}
}

func zkKey(name string) key {
	return key{name: name, section: "zookeeper", class: noEffect, about: "this broker runs alone; ZooKeeper is not supported yet"}
}

func stringKey(name string, c class, about string, at func(*Config) *string) key {
	return key{name: name, section: "system", class: c, about: about,
		set: func(cfg *Config, v string) error { *at(cfg) = v; return nil },
		get: func(cfg *Config) string { return *at(cfg) }}
}

func boolKey(name string, c class, about string, at func(*Config) *bool) key {
	return key{name: name, section: "system", class: c, about: about,
		set: func(cfg *Config, v string) (err error) { *at(cfg), err = parseBool(v); return err },
		get: func(cfg *Config) string { return strconv.FormatBool(*at(cfg)) }}
}

func intKey(name string, c class, about string, low, high int, at func(*Config) *int) key {
	return key{name: name, section: "system", class: c, about: about,
		set: func(cfg *Config, v string) (err error) { *at(cfg), err = parseInt(v, low, high); return err },
		get: func(cfg *Config) string { return strconv.Itoa(*at(cfg)) }}
}

func sizeKey(name string, c class, about string, low, high int64, at func(*Config) *int64) key {
	return key{name: name, section: "system", class: c, about: about,
		set: func(cfg *Config, v string) (err error) { *at(cfg), err = parseSize(v, low, high); return err },
		get: func(cfg *Config) string { return strconv.FormatInt(*at(cfg), 10) }}
}

// memoryKey is a size that is held in memory.
func memoryKey(name string, c class, about string, low, high int64, at func(*Config) *int) key {
	return key{name: name, section: "system", class: c, about: about,
		set: func(cfg *Config, v string) error {
			n, err := parseSize(v, low, high)
			*at(cfg) = int(n)
			return err
		},
		get: func(cfg *Config) string { return strconv.Itoa(*at(cfg)) }}
}

func millisKey(name string, c class, about string, at func(*Config) *int) key {
	return intKey(name, c, about, 1, 1<<31-1, at)
}

func durationKey(name string, c class, about string, at func(*Config) *duration) key {
	return key{name: name, section: "system", class: c, about: about,
		set: func(cfg *Config, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil || d < 0 {
				return fmt.Errorf("%q is no duration; write 30s, 5m or 0s", v)
			}
			*at(cfg) = d
			return nil
		},
		get: func(cfg *Config) string { return at(cfg).String() }}
}

func policyKey(name, about string) key {
	return key{name: name, section: "system", class: reloadable, about: about,
		set: func(cfg *Config, v string) error {
			p, err := store.ParsePolicy(v)
			cfg.DeletePolicy = p
			return err
		},
		get: func(cfg *Config) string { return cfg.DeletePolicy.String() }}
}

func scheduleKey(name, about string) key {
	return key{name: name, section: "system", class: reloadable, about: about,
		set: func(cfg *Config, v string) error {
			s, err := store.ParseSchedule(v)
			cfg.DeleteWhen = s
			return err
		},
		get: func(cfg *Config) string { return cfg.DeleteWhen.String() }}
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", v)
}

func parseInt(v string, low, high int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is not a number from %d to %d", v, low, high)
	}
	return n, nil
}

// parseSize reads a number of bytes, with K, M or G for powers of 1024.
func parseSize(v string, low, high int64) (int64, error) {
	digits, unit := v, int64(1)
	if v != "" {
		switch v[len(v)-1] {
		case 'K', 'k':
			unit = 1 << 10
		case 'M', 'm':
			unit = 1 << 20
		case 'G', 'g':
			unit = 1 << 30
		}
		if unit > 1 {
			digits = v[:len(v)-1]
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > high/unit || n*unit < low {
		return 0, fmt.Errorf("%q is not a size from %d to %d bytes (K, M, G are powers of 1024)", v, low, high)
	}
	return n * unit, nil
}

// topicKeys are the keys of a [topic=...] section, as in the original.
var topicKeys = map[string]func(*TopicConfig, string) error{
	"numPartitions": func(t *TopicConfig, v string) (err error) { t.NumPartitions, err = parseInt(v, 1, 1<<16); return err },
	"unflushThreshold": func(t *TopicConfig, v string) (err error) {
		t.UnflushThreshold, err = parseInt(v, 0, 1<<30)
		return err
	},
	"unflushInterval": func(t *TopicConfig, v string) (err error) {
		t.UnflushInterval, err = parseInt(v, 1, 1<<31-1)
		return err
	},
	"dataPath":        func(*TopicConfig, string) error { return nil }, // accepted: there is one log
	"deletePolicy":    func(t *TopicConfig, v string) (err error) { t.DeletePolicy, err = store.ParsePolicy(v); return err },
	"deleteWhen":      func(t *TopicConfig, v string) (err error) { t.DeleteWhen, err = store.ParseSchedule(v); return err },
	"acceptPublish":   func(t *TopicConfig, v string) (err error) { t.AcceptPublish, err = parseBool(v); return err },
	"acceptSubscribe": func(t *TopicConfig, v string) (err error) { t.AcceptSubscribe, err = parseBool(v); return err },
	"stat":            func(t *TopicConfig, v string) (err error) { t.Stat, err = parseBool(v); return err },
}
