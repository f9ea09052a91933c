package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"
)

func write(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "server.ini")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Load(write(t, text), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// allKeys has every key that the original knows, with the liberties that its files take: blank values, expressions, comments with ; and #,
// spaces around =, CR LF.
const allKeys = `;一个配置文件
[system]
; 编号
brokerId=7
serverPort = 8200
dashboardHttpPort=8201
dataPath=
dataLogPath=
hostName=
appClassPath=
numPartitions=3
unflushThreshold=1000
unflushInterval=10000
maxSegmentSize=1024 * 1024 * 1024
maxTransferSize=1048576
getProcessThreadCount=8*10
putProcessThreadCount=80
deletePolicy=
deleteWhen=0 0 6,18 * * ?
quartzThreadCount=5
maxCheckpoints=3
checkpointInterval=3600000
flushTxLogAtCommit=1
maxTxTimeoutTimerCapacity=30000
maxTxTimeoutInSeconds=60
loadMessageStoresInParallel=false
acceptPublish=true
acceptSubscribe=true
stat=
;; 两个分号
updateConsumerOffsets=false
[zookeeper]
# ZooKeeper
zk.zkEnable=true
zk.zkConnect=zk1:2181,zk2:2181
zk.zkRoot=/meta
zk.zkSessionTimeoutMs=30000
zk.zkConnectionTimeoutMs=30000
zk.zkSyncTimeMs=5000
[topic=blank]
numPartitions=10
deletePolicy=
unflushInterval=
unflushThreshold=
deleteWhen=
dataPath=
acceptPublish=
acceptSubscribe=
stat=
group.readers=
[topic=orders]
numPartitions=
unflushThreshold=0
unflushInterval=500
deletePolicy=archive,7d,true
deleteWhen=0 30 * * * ?
dataPath=/data/orders
acceptPublish=false
acceptSubscribe=true
stat=false
[topic=log-*]
numPartitions=99
`

func TestLoad_OriginalFile(t *testing.T) {
	gbk, err := simplifiedchinese.GBK.NewEncoder().String(allKeys)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"UTF-8": allKeys, "UTF-8 with a byte order mark": "\ufeff" + allKeys, "GBK": gbk, "CR LF": strings.ReplaceAll(allKeys, "\n", "\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, text)
			if string(c.Raw()) != text {
				t.Error("the raw bytes were changed")
			}
			if c.BrokerID != 7 || c.Port != 8200 || c.HTTPPort != 8201 || c.NumPartitions != 3 || c.MaxSegmentSize != 1<<30 || c.AutoCreateTopics {
				t.Errorf("%+v", c)
			}
			if c.HostName != "" || c.DataPath != "metaq-data" || c.DeletePolicy.MaxAge != 168*time.Hour || !c.Stat {
				t.Errorf("a blank value is not the default: %+v", c)
			}
			blank, ok := c.Topic("blank")
			want := c.system("blank")
			want.NumPartitions = 10
			if !ok || blank != want {
				t.Errorf("a blank value of a topic is not the system's: %+v, want %+v", blank, want)
			}
			if zk := (ZooKeeper{true, "zk1:2181,zk2:2181", "/meta", 30_000, 30_000, 5_000}); c.ZooKeeper != zk || !c.InCluster() {
				t.Errorf("[zookeeper] is %+v, in a cluster %v, want %+v", c.ZooKeeper, c.InCluster(), zk)
			}
			orders, ok := c.Topic("orders")
			if !ok || orders.NumPartitions != 3 || orders.UnflushThreshold != 0 || orders.UnflushInterval != 500 || !orders.DeletePolicy.Zip ||
				orders.AcceptPublish || !orders.AcceptSubscribe || orders.Stat {
				t.Errorf("orders: %+v, %v", orders, ok)
			}
			logs, ok := c.Topic("log-web")
			if !ok || logs != c.system("log-web") {
				t.Errorf("a wildcard lends more than admission: %+v, %v", logs, ok)
			}
			if _, ok := c.Topic("other"); ok {
				t.Error("a topic that no section names is accepted")
			}
		})
	}
}

func TestLoad_EveryKeyOfTheOriginalIsInTheTest(t *testing.T) {
	system, zookeeper := 0, 0
	for _, k := range keys {
		switch {
		case !strings.Contains(allKeys, "\n"+k.name+"=") && !strings.Contains(allKeys, "\n"+k.name+" ="):
		case k.section == systemSection:
			system++
		default:
			zookeeper++
		}
	}
	if system != 27 || zookeeper != 6 || len(topicKeys) != 9 {
		t.Errorf("%d keys of [system], %d of [zookeeper], %d of a topic, want 27, 6 and 9", system, zookeeper, len(topicKeys))
	}
}

func TestLoad_ConformanceFile(t *testing.T) {
	raw, err := os.ReadFile("../../test/conformance/testdata/server.ini")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("@PORT@", "1", "@HTTPPORT@", "2", "@DATA@", "/d", "@ZK@", "z:1").Replace(string(raw))
	c := load(t, text)
	if topic, ok := c.Topic("cv-closed"); !ok || topic.NumPartitions != 2 || c.DataPath != "/d" || c.UnflushThreshold != 0 {
		t.Errorf("%+v, %v, %+v", topic, ok, c)
	}
	if topic, ok := c.Topic("cv-anything"); !ok || topic.NumPartitions != 1 {
		t.Errorf("a topic of the wildcard: %+v, %v", topic, ok)
	}
}

func TestLoad_WithoutFile(t *testing.T) {
	c, err := Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Topic("anything"); !ok || c.HostName != "127.0.0.1" || c.UnflushThreshold > 1 || c.Raw() != nil {
		t.Errorf("%+v", c)
	}
}

func TestLoad_AbsentFlushRuleIsGroupCommit(t *testing.T) {
	for text, want := range map[string]int{"[system]\n": 0, "[system]\nunflushThreshold=1\n": 1, "[system]\nunflushThreshold=-1\n": -1, "[system]\nunflushThreshold=2\n": 2} {
		c := load(t, text)
		if rules := c.Rules("t"); rules.FlushMessages != want || rules.FlushInterval != 10*time.Second {
			t.Errorf("%q: %+v, want %d", text, rules, want)
		}
	}
}

func TestLoad_Precedence(t *testing.T) {
	file := write(t, "[system]\nserverPort=1\nbrokerId=1\nnumPartitions=1\n[topic=t]\n[topic=a.b]\nnumPartitions=2\n")
	c, err := Load(file, []string{"METAQ_BROKER_ID=2", "METAQ_NUM_PARTITIONS=2", "METAQ_SERVER_PORT=", "METAQ_BROKER=x:1", "HOME=/"},
		map[string]string{"numPartitions": "3", "topic.u.numPartitions": "5", "topic.a.b.numPartitions": "6", "brokerId": " "})
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 1 || c.BrokerID != 2 || c.NumPartitions != 3 {
		t.Errorf("port %d, broker %d, partitions %d; want 1 2 3", c.Port, c.BrokerID, c.NumPartitions)
	}
	for topic, want := range map[string]int{"t": 3, "u": 5, "a.b": 6} {
		if got, ok := c.Topic(topic); !ok || got.NumPartitions != want {
			t.Errorf("topic %s: %+v, %v; want %d partitions", topic, got, ok, want)
		}
	}
}

func TestLoad_Errors(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"key":                   {"[system]\nserverport2=1\n", ":2: [system] unknown key serverport2; did you mean serverPort?"},
		"key of a topic":        {"[topic=t]\nnumPartition=1\n", ":2: [topic=t] unknown key numPartition; did you mean numPartitions?"},
		"key of another":        {"[topic=t]\nbrokerId=1\n", ":2: [topic=t] brokerId belongs into the section [system]"},
		"key of the system":     {"[zookeeper]\nstat=true\n", ":2: [zookeeper] stat belongs into the section [system]"},
		"key of zookeeper":      {"[system]\nzk.zkRoot=/\n", ":2: [system] zk.zkRoot belongs into the section [zookeeper]"},
		"far from every key":    {"[system]\nwhatever=1\n", ":2: [system] unknown key whatever"},
		"number":                {"[system]\nserverPort=x\n", `:2: [system] serverPort: "x" is not a number from 0 to 65535`},
		"second of its name":    {"[topic=a]\nstat=true\n[topic=b]\n\nstat=maybe\n", ":5: [topic=b] stat: \"maybe\" is neither true nor false"},
		"schedule":              {"[system]\ndeleteWhen=0 0 6 ? * 9\n", ":2: [system] deleteWhen: \"0 0 6 ? * 9\": day of week"},
		"policy":                {"[system]\ndeletePolicy=burn,1\n", ":2: [system] deletePolicy: \"burn,1\": must begin with delete or archive"},
		"size":                  {"[system]\nmaxTransferSize=5T\n", ":2: [system] maxTransferSize"},
		"section":               {"\n[sytem]\nx=1\n", ":2: unknown section [sytem]"},
		"section without end":   {"[system\n", ":1: no name of a section"},
		"section of nothing":    {"[]\n", ":1: no name of a section"},
		"no section":            {"serverPort=1\n", ":1: serverPort stands before any section; write [system] above it"},
		"name of a topic":       {"[system]\n[topic=../x]\n", ":2: [topic=../x] topic name"},
		"topic without name":    {"[topic=]\n", ":1: [topic=] the topic name is empty"},
		"filter":                {"[topic=t]\ngroup.g=com.Filter\n", ":2: [topic=t] group.g: filters of the server"},
		"no value":              {"[system]\nserverPort\n", ":2: neither a section nor KEY=VALUE"},
		"no key":                {"[system]\n=1\n", ":2: no name of a key"},
		"value of many lines":   {"[system]\ndataPath=\"\"\"x\n\"\"\"\n", ":2: quotes of this kind are not supported"},
		"quoted key":            {"[system]\n`x\n", ":2: neither a section nor KEY=VALUE"},
		"neither UTF-8 nor GBK": {"[system]\ndataPath=/\xff\xff\n", ":2: [system] dataPath: "},
		"UTF-16":                {"\xff\xfe[\x00s\x00", ":1: the file is UTF-16"},
		"ports":                 {"[system]\nserverPort=1\ndashboardHttpPort=1\n", "serverPort and dashboardHttpPort are both 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(write(t, c.text), nil, nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want %q", err, c.says)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.ini"), nil, nil); err == nil || !strings.Contains(err.Error(), "none.ini") {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(write(t, strings.Repeat(";", maxFile+1)), nil, nil); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("a huge file: %v", err)
	}
}

func TestLoad_TellsAllMistakes(t *testing.T) {
	_, err := Load(write(t, "[system]\nserverPort=x\n[topic=t]\nstat=x\n"), []string{"METAQ_BROKER_ID=x"}, map[string]string{"numPartitions": "x"})
	if err == nil || len(strings.Split(err.Error(), "\n")) != 4 {
		t.Errorf("%v; want four lines", err)
	}
}

func TestLoad_FlagErrors(t *testing.T) {
	for set, says := range map[string]string{
		"serverProt":            "unknown key serverProt; did you mean serverPort?",
		"topic.t.numPartition":  "topic t: unknown key numPartition; did you mean numPartitions?",
		"topic.t":               "topic.t: write topic.NAME.KEY",
		"topic.-x.stat":         "topic name",
		"serverPort":            `serverPort: "1x"`,
		"topic.t.numPartitions": `topic t: numPartitions: "1x" is not`,
	} {
		if _, err := Load("", nil, map[string]string{set: "1x"}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("--set %s: %v; want %q", set, err, says)
		}
	}
}
