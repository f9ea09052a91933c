package config

import (
	"hash/crc32"
	"slices"
	"strings"
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
	RewriteRate           int64 // bytes a second
	Disk                  store.DiskLimits
	Offsets               store.OffsetLimits
	Limits                Limits
	ZooKeeper             ZooKeeper
	Topics                []TopicConfig // as the file lists them, wildcards included

	file     string
	raw      []byte
	sources  map[string]string // where a value came from, by key or topic.NAME.KEY; absent: default
	idle     map[string]string // values of keys that have no effect, by the same names
	sections []section         // of topics, until loadTopics has read them
	byName   map[string]int    // index into Topics
	patterns []string          // the names of Topics with wildcards
}

// Limits bound what clients can make the broker hold.
type Limits struct {
	MaxLine                  int // bytes
	MaxMessage               int // bytes of data
	MaxConnections           int // 0: as many as file descriptors allow
	MaxConnectionsPerAddress int // 0: no bound
	MaxInFlight              int // commands of a connection
	MaxOutbound              int // bytes towards a connection

	MaxTopics     int // that have a message, or a section of their own
	MaxPartitions int // that have a message

	MaxBuffered int64 // bytes for all connections together; 0: by the memory

	idle, partial, first, disk time.Duration
}

// IdleTimeout is how long a connection may be silent; 0: for ever.
func (l Limits) IdleTimeout() time.Duration { return l.idle }

// FirstCommandTimeout is how long a new connection may take until its first command; 0: for ever.
func (l Limits) FirstCommandTimeout() time.Duration { return l.first }

// PartialCommandTimeout is how long half a command may wait for its rest.
func (l Limits) PartialCommandTimeout() time.Duration { return l.partial }

// DiskTimeout is how long a put may wait for the disk; 0: for ever.
func (l Limits) DiskTimeout() time.Duration { return l.disk }

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
		AcceptPublish: true, AcceptSubscribe: true, Stat: true, AutoCreateTopics: true, LogSegmentSize: 128 << 20, RewriteRate: 64 << 20, Disk: store.DiskLimits{Refuse: 95},
		ZooKeeper: defaultZooKeeper(),
		Offsets:   store.OffsetLimits{Groups: 10_000, Offsets: 1_000_000},
		Limits:    Limits{MaxTopics: 100_000, MaxPartitions: 1_000_000, MaxLine: 4096, MaxMessage: 4 << 20, MaxInFlight: 16384, MaxOutbound: 16 << 20, partial: 30 * time.Second, first: time.Minute, disk: 2 * time.Second},
		sources:   map[string]string{}, idle: map[string]string{}, byName: map[string]int{},
	}
}

// Topic is the configuration of a topic: its own section; that of the system if a wildcard section admits it, or if topics are made by
// themselves. false: the broker does not accept it.
func (c *Config) Topic(name string) (TopicConfig, bool) {
	if i, ok := c.byName[name]; ok && !c.Topics[i].Wildcard() {
		return c.Topics[i], true
	}
	admitted := c.AutoCreateTopics || slices.ContainsFunc(c.patterns, func(pattern string) bool { return matches(pattern, name) })
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
