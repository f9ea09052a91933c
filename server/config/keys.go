package config

import (
	"time"

	"github.com/metaq/metaq/zkcoord"
)

// The kinds of values, with their bounds.
var (
	anyText   = textKind()
	yesNo     = boolKind()
	brokerIDs = intKind(0, 1<<10-1) // ten bits of a message id
	ports     = intKind(0, 1<<16-1)
	counts    = intKind(1, zkcoord.MaxPartitions)
	perhaps   = intKind(0, 1<<20) // 0: no bound
	percents  = intKind(0, 100)
	numbers   = intKind(1, 1<<24)         // of what is kept in memory for ever
	messages  = intKind(-1<<31, 1<<31-1)  // the original takes 0 and everything below for group commit
	millis    = intKind(1, 1<<31-1)       // as the original
	virtual   = sizeKind(int64(1), 1<<40) // of virtual segments: nothing is allocated by it
	transfers = sizeKind(int64(1)<<10, 1<<30)
	segments  = sizeKind(int64(1)<<20, 1<<30)
	policies  = policyKind()
	schedules = scheduleKind()
	durations = durationKind()
	connects  = connectKind()
	roots     = rootKind()
)

const (
	aboutPartitions = "partitions of a topic"
	aboutThreshold  = "messages of a partition acknowledged before a flush; 0 or 1: flush before the answer (group commit)"
	aboutInterval   = "milliseconds until something acknowledged is flushed, without group commit"
	aboutPolicy     = "what becomes of old messages: delete,168 (hours) or archive,7d,true; a size as well: delete,168,10G; or keep"
	aboutWhen       = "when old messages are looked for, a Quartz expression"
	aboutPublish    = "whether producers are told of the topic"
	aboutSubscribe  = "whether consumers are told of the topic"
	aboutStat       = "real-time statistics of each topic"

	noTransactions = "transactions are not supported yet"
)

// keys are those of [system] and [zookeeper]: the 27 and 6 of the original (MetaConfig.java and ZkUtils.java of 1.4.6), with ours between.
var keys = []key[Config]{
	newKey("brokerId", restart, "id of this broker, part of the message ids", brokerIDs, func(c *Config) *int { return &c.BrokerID }),
	newKey("hostName", restart, "address to listen on and to be known by; empty: all addresses, and known by the first of this machine", anyText, func(c *Config) *string { return &c.HostName }),
	newKey("serverPort", restart, "port of the text protocol; 0: any free one", ports, func(c *Config) *int { return &c.Port }),
	newKey("dashboardHttpPort", restart, "HTTP port: health, metrics, put and get; 0: any free one, -1: none", intKind(-1, 1<<16-1), func(c *Config) *int { return &c.HTTPPort }),
	newKey("dataPath", restart, "directory of the log", anyText, func(c *Config) *string { return &c.DataPath }),
	ignored[Config](systemSection, "dataLogPath", "everything lives in the one log below dataPath"),
	newKey("numPartitions", reloadable, aboutPartitions, counts, func(c *Config) *int { return &c.NumPartitions }),
	newKey("unflushThreshold", reloadable, aboutThreshold, messages, func(c *Config) *int { return &c.UnflushThreshold }),
	newKey("unflushInterval", reloadable, aboutInterval, millis, func(c *Config) *int { return &c.UnflushInterval }),
	newKey("maxSegmentSize", restart, "logical bytes of a virtual segment, as `offset` and deletePolicy see it", virtual, func(c *Config) *int64 { return &c.MaxSegmentSize }),
	newKey("maxTransferSize", reloadable, "bytes of an answer to get, unless one message alone is larger", transfers, func(c *Config) *int64 { return &c.MaxTransferSize }),
	ignored[Config](systemSection, "getProcessThreadCount", "gets run on the event loops"),
	ignored[Config](systemSection, "putProcessThreadCount", "puts run on the event loops"),
	newKey("deletePolicy", reloadable, aboutPolicy, policies, func(c *Config) *policy { return &c.DeletePolicy }),
	newKey("deleteWhen", reloadable, aboutWhen, schedules, func(c *Config) *schedule { return &c.DeleteWhen }),
	ignored[Config](systemSection, "quartzThreadCount", "one goroutine looks after old messages"),
	ignored[Config](systemSection, "maxCheckpoints", "the log always keeps two checkpoints"),
	ignored[Config](systemSection, "checkpointInterval", "a checkpoint is written whenever a segment of the log is full"),
	ignored[Config](systemSection, "flushTxLogAtCommit", noTransactions),
	ignored[Config](systemSection, "maxTxTimeoutTimerCapacity", noTransactions),
	ignored[Config](systemSection, "maxTxTimeoutInSeconds", noTransactions),
	ignored[Config](systemSection, "loadMessageStoresInParallel", "there is one log, and it is read in order"),
	newKey("acceptPublish", reloadable, aboutPublish, yesNo, func(c *Config) *bool { return &c.AcceptPublish }),
	newKey("acceptSubscribe", reloadable, aboutSubscribe, yesNo, func(c *Config) *bool { return &c.AcceptSubscribe }),
	newKey("stat", reloadable, aboutStat, yesNo, func(c *Config) *bool { return &c.Stat }),
	newKey("updateConsumerOffsets", reloadable, "answer a get beyond the end with 301 and the end, instead of 404", yesNo, func(c *Config) *bool { return &c.UpdateConsumerOffsets }),
	ignored[Config](systemSection, "appClassPath", "there are no Java classes to load"),

	newKey("autoCreateTopics", reloadable, "make a topic at the first put to it", yesNo, func(c *Config) *bool { return &c.AutoCreateTopics }),
	newKey("logSegmentSize", restart, "bytes of a segment file of the log; one more is preallocated", segments, func(c *Config) *int64 { return &c.LogSegmentSize }),
	newKey("rewriteRate", restart, "bytes a second, read and written, to put full segments into the order of their partitions, for readers far behind; 0: never", sizeKind(int64(0), 1<<40), func(c *Config) *int64 { return &c.RewriteRate }),
	newKey("diskRefusePercent", reloadable, "how full the disk may be, in per cent of it, until puts are refused; 0: until there is no room for a segment", percents, func(c *Config) *int { return &c.Disk.Refuse }),
	newKey("diskCleanPercent", reloadable, "how full the disk may be until the oldest messages of topics that delete go before their time; 0: never", percents, func(c *Config) *int { return &c.Disk.Clean }),
	newKey("maxMessageSize", restart, "bytes of the data of a message", sizeKind(1<<10, 512<<20), func(c *Config) *int { return &c.Limits.MaxMessage }),
	newKey("maxLineLength", restart, "bytes of a command line", sizeKind(256, 64<<10), func(c *Config) *int { return &c.Limits.MaxLine }),
	newKey("maxConnections", reloadable, "connections in all; 0: as many as file descriptors allow", perhaps, func(c *Config) *int { return &c.Limits.MaxConnections }),
	newKey("maxConnectionsPerAddress", reloadable, "connections of one address; 0: no bound", perhaps, func(c *Config) *int { return &c.Limits.MaxConnectionsPerAddress }),
	newKey("maxCommandsInFlight", reloadable, "commands of a connection that wait for their answer", intKind(1, 1<<20), func(c *Config) *int { return &c.Limits.MaxInFlight }),
	newKey("maxOutboundBytes", reloadable, "bytes waiting for a client that reads slowly; it is not read from beyond that", sizeKind(1<<16, 1<<30), func(c *Config) *int { return &c.Limits.MaxOutbound }),
	newKey("maxBufferedBytes", reloadable, "bytes held for all clients together: answers they have not taken, commands not complete; 0: a quarter of the memory, at most 1G", sizeKind(int64(0), 1<<40), func(c *Config) *int64 { return &c.Limits.MaxBuffered }),
	newKey("maxTopics", reloadable, "topics that the broker has; a put makes no more of them", numbers, func(c *Config) *int { return &c.Limits.MaxTopics }),
	newKey("maxPartitions", reloadable, "partitions that were written, of all topics together; a put makes no more of them", numbers, func(c *Config) *int { return &c.Limits.MaxPartitions }),
	newKey("maxGroups", reloadable, "groups that keep offsets on the broker", numbers, func(c *Config) *int { return &c.Offsets.Groups }),
	newKey("maxGroupOffsets", reloadable, "offsets that groups keep on the broker, one for each group and partition", numbers, func(c *Config) *int { return &c.Offsets.Offsets }),
	newKey("firstCommandTimeout", reloadable, "how long a new connection may take until its first command; 0s: for ever", durations, func(c *Config) *time.Duration { return &c.Limits.first }),
	newKey("idleTimeout", reloadable, "how long a connection may be silent; 0s: for ever", durations, func(c *Config) *time.Duration { return &c.Limits.idle }),
	newKey("partialCommandTimeout", reloadable, "how long half a command may wait for its rest", durations, func(c *Config) *time.Duration { return &c.Limits.partial }),
	newKey("diskTimeout", reloadable, "how long a put waits for a disk that does not answer; then it and all others are answered busy; 0s: for ever", durations, func(c *Config) *time.Duration { return &c.Limits.disk }),

	newZooKeeperKey("zk.zkConnect", "servers of ZooKeeper, HOST:PORT,HOST:PORT with a /PATH behind if all is to lie below it; empty: the broker runs alone", connects, func(z *ZooKeeper) *string { return &z.Connect }),
	newZooKeeperKey("zk.zkRoot", "path in ZooKeeper that brokers and clients of this cluster share", roots, func(z *ZooKeeper) *string { return &z.Root }),
	newZooKeeperKey("zk.zkEnable", "whether to register in ZooKeeper", yesNo, func(z *ZooKeeper) *bool { return &z.Enable }),
	newZooKeeperKey("zk.zkSessionTimeoutMs", "milliseconds until ZooKeeper takes a broker that is silent for gone", millis, func(z *ZooKeeper) *int { return &z.SessionTimeout }),
	newZooKeeperKey("zk.zkConnectionTimeoutMs", "milliseconds that a connection to a server of ZooKeeper may take", millis, func(z *ZooKeeper) *int { return &z.ConnectTimeout }),
	newZooKeeperKey("zk.zkSyncTimeMs", "milliseconds that clients get, at a stop, to notice that the broker is not registered any more", intKind(0, 1<<31-1), func(z *ZooKeeper) *int { return &z.SyncTime }),
}

// topicKeys are those of a [topic=NAME], the 9 of the original.
var topicKeys = []key[TopicConfig]{
	newKey("numPartitions", reloadable, aboutPartitions, counts, func(t *TopicConfig) *int { return &t.NumPartitions }),
	newKey("unflushThreshold", reloadable, aboutThreshold, messages, func(t *TopicConfig) *int { return &t.UnflushThreshold }),
	newKey("unflushInterval", reloadable, aboutInterval, millis, func(t *TopicConfig) *int { return &t.UnflushInterval }),
	ignored[TopicConfig](topicSection, "dataPath", "everything lives in the one log below the dataPath of [system]"),
	newKey("deletePolicy", reloadable, aboutPolicy, policies, func(t *TopicConfig) *policy { return &t.DeletePolicy }),
	newKey("deleteWhen", reloadable, aboutWhen, schedules, func(t *TopicConfig) *schedule { return &t.DeleteWhen }),
	newKey("acceptPublish", reloadable, aboutPublish, yesNo, func(t *TopicConfig) *bool { return &t.AcceptPublish }),
	newKey("acceptSubscribe", reloadable, aboutSubscribe, yesNo, func(t *TopicConfig) *bool { return &t.AcceptSubscribe }),
	newKey("stat", reloadable, aboutStat, yesNo, func(t *TopicConfig) *bool { return &t.Stat }),
}
