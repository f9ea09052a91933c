package config

// class says what a change of a key takes.
type class uint8

const (
	reloadable class = iota // SIGHUP takes it
	restart                 // it takes a restart
	noEffect                // accepted, because an original file has it
)

func (c class) String() string {
	return [...]string{"reload", "restart", "no effect"}[c]
}

// key is one setting. An ini file, the environment and --set name it alike.
type key struct {
	name    string
	section string // "system" or "zookeeper"
	class   class
	about   string                      // one line for --check-config; for noEffect: why
	set     func(*Config, string) error // parses a value; nil for noEffect
	get     func(*Config) string
}

// system are the keys of [system]: first the 27 of the original (MetaConfig.java of 1.4.6), then ours.
var keys = []key{
	intKey("brokerId", restart, "id of this broker, part of the message ids", 0, 1023, func(c *Config) *int { return &c.BrokerID }),
	stringKey("hostName", restart, "address to listen on and to be known by; empty: all addresses", func(c *Config) *string { return &c.HostName }),
	intKey("serverPort", restart, "port of the text protocol; 0: any free one", 0, 65535, func(c *Config) *int { return &c.Port }),
	intKey("dashboardHttpPort", restart, "HTTP port: health, metrics; 0: any free one, -1: none", -1, 65535, func(c *Config) *int { return &c.HTTPPort }),
	stringKey("dataPath", restart, "directory of the log", func(c *Config) *string { return &c.DataPath }),
	ignored("dataLogPath", "transactions live in the one log"),
	intKey("numPartitions", reloadable, "partitions of a topic that says nothing else", 1, 1<<16, func(c *Config) *int { return &c.NumPartitions }),
	intKey("unflushThreshold", reloadable, "messages of a partition acknowledged before a flush; 0 or 1: flush before the answer (group commit)", 0, 1<<30, func(c *Config) *int { return &c.UnflushThreshold }),
	millisKey("unflushInterval", reloadable, "milliseconds until something acknowledged is flushed, without group commit", func(c *Config) *int { return &c.UnflushInterval }),
	sizeKey("maxSegmentSize", restart, "logical bytes of a virtual segment, as `offset` and deletePolicy see it", 1<<10, 1<<40, func(c *Config) *int64 { return &c.MaxSegmentSize }),
	sizeKey("maxTransferSize", reloadable, "bytes of an answer to get, unless one message alone is larger", 1<<10, 1<<30, func(c *Config) *int64 { return &c.MaxTransferSize }),
	ignored("getProcessThreadCount", "gets run on the event loops"),
	ignored("putProcessThreadCount", "puts run on the event loops"),
	policyKey("deletePolicy", "what becomes of old messages: delete,168 (hours) or archive,7d,true; a size as well: delete,168,10G; empty: kept"),
	scheduleKey("deleteWhen", "when old messages are looked for, a Quartz expression"),
	ignored("quartzThreadCount", "retention runs in one goroutine"),
	ignored("maxCheckpoints", "the log keeps two checkpoints"),
	ignored("checkpointInterval", "a checkpoint is written when a log segment is full"),
	ignored("flushTxLogAtCommit", "transactions are not supported yet"),
	ignored("maxTxTimeoutTimerCapacity", "transactions are not supported yet"),
	ignored("maxTxTimeoutInSeconds", "transactions are not supported yet"),
	ignored("loadMessageStoresInParallel", "there is one log, and its start takes a moment"),
	boolKey("acceptPublish", reloadable, "whether producers find the topics of this broker", func(c *Config) *bool { return &c.AcceptPublish }),
	boolKey("acceptSubscribe", reloadable, "whether consumers find the topics of this broker", func(c *Config) *bool { return &c.AcceptSubscribe }),
	boolKey("stat", reloadable, "real-time statistics of each topic", func(c *Config) *bool { return &c.Stat }),
	boolKey("updateConsumerOffsets", reloadable, "answer a get beyond the end with 301 and the end, instead of 404", func(c *Config) *bool { return &c.UpdateConsumerOffsets }),
	ignored("appClassPath", "there are no Java classes to load"),

	boolKey("autoCreateTopics", reloadable, "make a topic at the first put to it", func(c *Config) *bool { return &c.AutoCreateTopics }),
	sizeKey("logSegmentSize", restart, "bytes of a segment file of the log; one more is preallocated", 1<<20, 1<<30, func(c *Config) *int64 { return &c.LogSegmentSize }),
	memoryKey("maxMessageSize", restart, "bytes of the data of a message", 1<<10, 512<<20, func(c *Config) *int { return &c.Limits.MaxMessage }),
	memoryKey("maxLineLength", restart, "bytes of a command line", 256, 64<<10, func(c *Config) *int { return &c.Limits.MaxLine }),
	intKey("maxConnections", reloadable, "connections in all; 0: as many as file descriptors allow", 0, 1<<20, func(c *Config) *int { return &c.Limits.MaxConnections }),
	intKey("maxConnectionsPerAddress", reloadable, "connections of one address; 0: no bound", 0, 1<<20, func(c *Config) *int { return &c.Limits.MaxConnectionsPerAddress }),
	intKey("maxCommandsInFlight", reloadable, "commands of a connection that wait for their answer", 1, 1<<20, func(c *Config) *int { return &c.Limits.MaxInFlight }),
	memoryKey("maxOutboundBytes", reloadable, "bytes waiting for a client that reads slowly; it is not read from beyond that", 1<<16, 1<<30, func(c *Config) *int { return &c.Limits.MaxOutbound }),
	durationKey("idleTimeout", reloadable, "how long a connection may be silent; 0: for ever", func(c *Config) *duration { return &c.Limits.idle }),
	durationKey("partialCommandTimeout", reloadable, "how long half a command may wait for its rest", func(c *Config) *duration { return &c.Limits.partial }),

	zkKey("zk.zkConnect"), zkKey("zk.zkSessionTimeoutMs"), zkKey("zk.zkConnectionTimeoutMs"),
	zkKey("zk.zkSyncTimeMs"), zkKey("zk.zkEnable"), zkKey("zk.zkRoot"),
}
