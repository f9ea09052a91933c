package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

const sample = `
; a broker
[system]
brokerId=7
serverPort=8200
numPartitions=3
unflushThreshold=1000
unflushInterval=10000
maxSegmentSize=1073741824
getProcessThreadCount=20
deletePolicy=delete,168
deleteWhen=0 0 6,18 * * ?
;; more
[zookeeper]
zk.zkConnect=localhost:2181
[topic=orders]
numPartitions=10
unflushThreshold=0
deletePolicy=archive,7d,true
[topic=log-*]
numPartitions=99
`

func TestLoad_OriginalFile(t *testing.T) {
	c, err := Load(write(t, sample), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.BrokerID != 7 || c.Port != 8200 || c.NumPartitions != 3 || c.AutoCreateTopics || c.HostName != "" {
		t.Errorf("%+v", c)
	}
	orders, ok := c.Topic("orders")
	if !ok || orders.NumPartitions != 10 || orders.UnflushThreshold != 0 || !orders.DeletePolicy.Zip || orders.UnflushInterval != 10000 {
		t.Errorf("orders: %+v, %v", orders, ok)
	}
	if logs, ok := c.Topic("log-web"); !ok || logs.NumPartitions != 3 || logs.UnflushThreshold != 1000 {
		t.Errorf("a wildcard lends more than admission: %+v, %v", logs, ok)
	}
	if _, ok := c.Topic("other"); ok {
		t.Error("a topic that no section names is accepted")
	}
	if got := c.LossWindow(); !strings.Contains(got, "up to 1000 messages a partition or 10s") || !strings.Contains(got, "orders") {
		t.Errorf("loss window: %s", got)
	}
}

func TestLoad_WithoutFile(t *testing.T) {
	c, err := Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Topic("anything"); !ok || c.HostName != "127.0.0.1" || c.LossWindow() != "acks mean: flushed" {
		t.Errorf("%+v", c)
	}
}

func TestLoad_Precedence(t *testing.T) {
	file := write(t, "[system]\nserverPort=1\nbrokerId=1\nnumPartitions=1\n[topic=t]\n")
	c, err := Load(file, []string{"METAQ_BROKER_ID=2", "METAQ_NUM_PARTITIONS=2", "METAQ_BROKER=x:1", "HOME=/"},
		map[string]string{"numPartitions": "3", "topic.u.numPartitions": "5"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 1 || c.BrokerID != 2 || c.NumPartitions != 3 {
		t.Errorf("port %d, broker %d, partitions %d; want 1 2 3", c.Port, c.BrokerID, c.NumPartitions)
	}
	if topic, _ := c.Topic("t"); topic.NumPartitions != 3 {
		t.Errorf("a topic that says nothing has %d partitions, want those of the flag", topic.NumPartitions)
	}
	if topic, _ := c.Topic("u"); topic.NumPartitions != 5 {
		t.Errorf("topic of a flag: %+v", topic)
	}
	var out bytes.Buffer
	if err := c.Explain(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"serverPort", "METAQ_BROKER_ID", "flag", "file", "default"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

func TestLoad_Errors(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"[system]\nserverport2=1\n", "server.ini:2: unknown key serverport2; did you mean serverPort?"},
		{"[system]\nserverPort=x\n", `server.ini:2: serverPort: "x" is not a number from 0 to 65535`},
		{"[system]\n\nstat=maybe\n", "server.ini:3: stat"},
		{"[system]\ndeleteWhen=0 0 6 ? * 9\n", "deleteWhen"},
		{"[system]\ndeletePolicy=burn,1\n", "deletePolicy"},
		{"[sytem]\nx=1\n", "unknown section [sytem]"},
		{"[topic=../x]\n", "topic"},
		{"[topic=t]\nnumPartition=1\n", "did you mean numPartitions?"},
		{"[topic=t]\ngroup.g=com.Filter\n", "filter in the consumer"},
		{"[system]\nmaxTransferSize=5T\n", "maxTransferSize"},
		{"serverPort=1\n", "write [system]"},
	} {
		_, err := Load(write(t, c.text), nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v; want %q", c.text, err, c.says)
		}
	}
	if _, err := Load("", []string{"METAQ_SERVER_PROT=1"}, nil); err == nil {
		t.Error("a mistyped variable is accepted")
	}
	if _, err := Load("", nil, map[string]string{"serverProt": "1"}); err == nil || !strings.Contains(err.Error(), "serverPort") {
		t.Errorf("a mistyped flag: %v", err)
	}
}

func TestLoad_GBK(t *testing.T) {
	text, err := simplifiedchinese.GBK.NewEncoder().String("; 服务器\n[system]\nserverPort=9\n")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(write(t, text), nil, nil)
	if err != nil || c.Port != 9 {
		t.Fatalf("%+v, %v", c, err)
	}
	if string(c.Raw()) != text {
		t.Error("the raw bytes were changed")
	}
}

func TestDiff(t *testing.T) {
	a, _ := Load(write(t, "[system]\nserverPort=1\nnumPartitions=1\n[topic=t]\n"), nil, nil)
	b, _ := Load(write(t, "[system]\nserverPort=2\nnumPartitions=2\n[topic=u]\n"), nil, nil)
	reload, restart := a.Diff(b)
	if len(restart) != 1 || restart[0] != (Change{"serverPort", "1", "2"}) || len(reload) != 3 || reload[0].Key != "numPartitions" {
		t.Errorf("reload %v, restart %v", reload, restart)
	}
}

func TestShippedFile(t *testing.T) {
	c, err := Load("../../conf/server.ini", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !bytes.Contains(c.Raw(), []byte(k.name+"=")) {
			t.Errorf("conf/server.ini does not explain %s", k.name)
		}
	}
}

func FuzzINI(f *testing.F) {
	f.Add(sample)
	f.Add("[topic=*]\n[system]\nx")
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		c.file = "server.ini"
		if err := c.loadFile([]byte(text)); err == nil {
			c.loadTopics()
		}
	})
}
