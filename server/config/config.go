// Package config is the configuration of a broker: what a server.ini of Metamorphosis 1.4.6 says, with our additions, the environment and
// the command line on top. Package server and the tool use it. docs/configuration.md explains every key to users; keys.go is the one place
// where a key is defined.
package config

import (
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

// Config holds the effective values. Fields are named after their keys.
type Config struct {
	BrokerID              int
	HostName              string
	Port                  int
	HTTPPort              int
	DataPath              string
	NumPartitions         int
	UnflushThreshold      int
	UnflushInterval       int   // milliseconds
	MaxSegmentSize        int64 // bytes
	MaxTransferSize       int64 // bytes
	DeletePolicy          store.Policy
	DeleteWhen            store.Schedule
	AcceptPublish         bool
	AcceptSubscribe       bool
	Stat                  bool
	UpdateConsumerOffsets bool
	AutoCreateTopics      bool
	LogSegmentSize        int64 // bytes
	Limits                Limits
	Topics                []TopicConfig // as the file lists them, wildcards included

	file     string
	raw      []byte
	sources  map[string]string // by key; absent: default
	sections []section
}

// Limits bound what clients can make the broker hold.
type Limits struct {
	MaxLine                  int // bytes
	MaxMessage               int // bytes of data
	MaxConnections           int // 0: as many as file descriptors allow
	MaxConnectionsPerAddress int // 0: no bound
	MaxInFlight              int // commands of a connection
	MaxOutbound              int // bytes towards a connection

	idle, partial time.Duration
}

// IdleTimeout is how long a connection may be silent; 0: for ever.
func (l Limits) IdleTimeout() time.Duration { return l.idle }

// PartialCommandTimeout is how long half a command may wait for its rest.
func (l Limits) PartialCommandTimeout() time.Duration { return l.partial }

// TopicConfig is what is known of a topic; what its section does not say is the system's.
type TopicConfig struct {
	Name             string // may have wildcards in a section
	NumPartitions    int
	UnflushThreshold int
	UnflushInterval  int // milliseconds
	DeletePolicy     store.Policy
	DeleteWhen       store.Schedule
	AcceptPublish    bool
	AcceptSubscribe  bool
	Stat             bool
}

// Wildcard says that the name stands for all topics that match it.
func (t TopicConfig) Wildcard() bool { return strings.Contains(t.Name, "*") }

// Default is the configuration without a file: a broker for this machine, made to be tried.
func Default() *Config {
	deleteWhen, err := store.ParseSchedule("0 0 6,18 * * ?")
	if err != nil {
		panic(err) // a literal of ours
	}
	return &Config{
		HostName: "127.0.0.1", Port: 8123, HTTPPort: 8120, DataPath: "metaq-data", NumPartitions: 1, UnflushInterval: 10000,
		MaxSegmentSize: 1 << 30, MaxTransferSize: 1 << 20, DeletePolicy: store.Policy{MaxAge: 168 * time.Hour}, DeleteWhen: deleteWhen,
		AcceptPublish: true, AcceptSubscribe: true, Stat: true, AutoCreateTopics: true, LogSegmentSize: 128 << 20,
		Limits:  Limits{MaxLine: 4096, MaxMessage: 4 << 20, MaxInFlight: 16384, MaxOutbound: 16 << 20, partial: 30 * time.Second},
		sources: map[string]string{},
	}
}

// Topic is the configuration of a topic: its own section; that of the system if a wildcard section admits it, or if topics are made by
// themselves. false: the broker does not accept it.
func (c *Config) Topic(name string) (TopicConfig, bool) {
	admitted := c.AutoCreateTopics
	for _, t := range c.Topics {
		if t.Name == name {
			return t, true
		}
		admitted = admitted || t.Wildcard() && matches(t.Name, name)
	}
	return c.system(name), admitted
}

// system is a topic that has no section of its own.
func (c *Config) system(name string) TopicConfig {
	return TopicConfig{Name: name, NumPartitions: c.NumPartitions, UnflushThreshold: c.UnflushThreshold, UnflushInterval: c.UnflushInterval,
		DeletePolicy: c.DeletePolicy, DeleteWhen: c.DeleteWhen, AcceptPublish: c.AcceptPublish, AcceptSubscribe: c.AcceptSubscribe, Stat: c.Stat}
}

// matches compares a name with a pattern in which * stands for anything.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 {
		return pattern == name
	}
	if !strings.HasPrefix(name, parts[0]) {
		return false
	}
	name = name[len(parts[0]):]
	for _, p := range parts[1:last] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return strings.HasSuffix(name, parts[last])
}

// Rules are what the store has to know of a topic.
func (c *Config) Rules(topic protocol.Topic) store.Rules {
	t, _ := c.Topic(string(topic))
	return store.Rules{FlushMessages: t.UnflushThreshold, FlushInterval: time.Duration(t.UnflushInterval) * time.Millisecond,
		SegmentSize: c.MaxSegmentSize, Retention: t.DeletePolicy, DeleteWhen: t.DeleteWhen}
}

// Raw is the file as it is, nil without one.
func (c *Config) Raw() []byte { return c.raw }

// Checksum is the CRC-32 of the file, as the original shows it.
func (c *Config) Checksum() uint32 { return crc32.ChecksumIEEE(c.raw) }

// LossWindow says in one line what an acknowledgement means.
func (c *Config) LossWindow() string {
	line := "acks mean: flushed"
	if c.UnflushThreshold > 1 {
		line = fmt.Sprintf("acks may be lost on power failure: up to %d messages a partition or %v", c.UnflushThreshold, time.Duration(c.UnflushInterval)*time.Millisecond)
	}
	var others []string
	for _, t := range c.Topics {
		if (t.UnflushThreshold > 1) != (c.UnflushThreshold > 1) && !t.Wildcard() {
			others = append(others, t.Name)
		}
	}
	if len(others) > 0 {
		line += "; otherwise for " + strings.Join(others, ", ")
	}
	return line
}

// Explain prints every value and where it came from.
func (c *Config) Explain(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "KEY\tVALUE\tFROM\tCHANGE\tMEANING")
	for _, k := range keys {
		value, from := "", c.source(k.name)
		if k.get != nil {
			value = k.get(c)
		} else if from == "default" {
			continue
		}
		about := k.about
		if k.class == noEffect {
			about = "accepted, has no effect here: " + about
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", k.name, value, from, k.class, about)
	}
	for _, t := range c.Topics {
		fmt.Fprintf(tw, "[topic=%s]\t\t%s\t%s\t%s\n", t.Name, c.file, reloadable, t.describe())
	}
	return tw.Flush()
}

func (t TopicConfig) describe() string {
	if t.Wildcard() {
		return "admits topics of such names, with the values of the system section"
	}
	return fmt.Sprintf("numPartitions=%d unflushThreshold=%d unflushInterval=%d deletePolicy=%v deleteWhen=%v acceptPublish=%v acceptSubscribe=%v stat=%v",
		t.NumPartitions, t.UnflushThreshold, t.UnflushInterval, t.DeletePolicy, t.DeleteWhen, t.AcceptPublish, t.AcceptSubscribe, t.Stat)
}

func (c *Config) source(name string) string {
	if s := c.sources[name]; s != "" {
		return s
	}
	return "default"
}

// Change is a key whose value differs between two configurations.
type Change struct{ Key, Old, New string }

// Diff compares with a newer configuration: what a running broker can take over, and what needs a restart.
func (c *Config) Diff(newer *Config) (reload, needRestart []Change) {
	for _, k := range keys {
		if k.get == nil || k.get(c) == k.get(newer) {
			continue
		}
		change := Change{k.name, k.get(c), k.get(newer)}
		if k.class == reloadable {
			reload = append(reload, change)
		} else {
			needRestart = append(needRestart, change)
		}
	}
	names := map[string][2]string{}
	for i, list := range [][]TopicConfig{c.Topics, newer.Topics} {
		for _, t := range list {
			n := names[t.Name]
			n[i] = t.describe()
			names[t.Name] = n
		}
	}
	for name, d := range names {
		if d[0] != d[1] {
			reload = append(reload, Change{"topic=" + name, d[0], d[1]})
		}
	}
	slices.SortStableFunc(reload, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	return reload, needRestart
}
