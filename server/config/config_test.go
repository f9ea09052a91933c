package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/metaq/metaq/store"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "anything", true}, {"log-*", "log-", true}, {"log-*", "log-a.b", true}, {"log-*", "blog-a", false}, {"*-log", "a-log", true},
		{"*-log", "a-log2", false}, {"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "acd", false}, {"a*b*c", "a-b-b-c", true},
		{"a*b*c", "acb", false}, {"aa*aa", "aaa", false}, {"a**c", "abc", true}, {"a.c", "abc", false}, {"abc", "abc", true},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.name, got)
		}
	}
}

func TestTopic_SectionBeatsWildcard(t *testing.T) {
	c := load(t, "[topic=*]\nnumPartitions=9\n[topic=a]\nnumPartitions=2\n[topic=a]\nstat=false\n")
	if a, ok := c.Topic("a"); !ok || a.NumPartitions != 2 || a.Stat {
		t.Errorf("two sections of a topic: %+v, %v", a, ok)
	}
	if b, ok := c.Topic("b"); !ok || b.NumPartitions != 1 {
		t.Errorf("topic of the wildcard: %+v, %v", b, ok)
	}
}

func TestRules(t *testing.T) {
	c := load(t, "[system]\nmaxSegmentSize=1M\ndeletePolicy=delete,2\n[topic=t]\nunflushThreshold=5\nunflushInterval=70\n")
	want := store.Rules{FlushMessages: 5, FlushInterval: 70e6, SegmentSize: 1 << 20, Retention: c.DeletePolicy, DeleteWhen: c.DeleteWhen}
	if got := c.Rules("t"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestChecksum(t *testing.T) {
	if got := load(t, "[system]\n").Checksum(); got != 0x6ff264ab {
		t.Errorf("%#x", got)
	}
}

func TestLossWindow(t *testing.T) {
	for text, want := range map[string]string{
		"[system]\n":                                   "acks mean: flushed",
		"[system]\nunflushThreshold=1\n":               "acks mean: flushed",
		"[system]\nunflushThreshold=1000\n[topic=a]\n": "acks may be lost on power failure: up to 1000 messages a partition or 10s",
		"[topic=a]\nunflushThreshold=9\nunflushInterval=500\n[topic=b-*]\nunflushThreshold=9\n": "acks mean: flushed; " +
			"for a: acks may be lost on power failure: up to 9 messages a partition or 500ms",
		"[system]\nunflushThreshold=5\n[topic=a]\nunflushThreshold=0\n[topic=b]\nunflushThreshold=1\n": "acks may be lost on power failure: " +
			"up to 5 messages a partition or 10s; for a, b: acks mean: flushed",
	} {
		if got := load(t, text).LossWindow(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	var many strings.Builder
	for i := range 7 {
		fmt.Fprintf(&many, "[topic=t%d]\nunflushThreshold=2\n", i)
	}
	if got := load(t, many.String()).LossWindow(); !strings.Contains(got, "; for t0, t1, t2, t3, t4 and 2 more: ") {
		t.Error(got)
	}
}

func TestDiff(t *testing.T) {
	a := load(t, "[system]\nserverPort=1\nnumPartitions=1\ndataLogPath=/a\n[topic=gone]\n[topic=t]\n[topic=w-*]\nstat=true\n")
	b := load(t, "[system]\nserverPort=2\nnumPartitions=2\ndataLogPath=/b\n[topic=came]\n[topic=t]\nstat=false\n[topic=w-*]\nstat=false\n")
	reload, restart := a.Diff(b)
	wantReload := []Change{{"numPartitions", "1", "2"}, {"topic.came", "", "configured"}, {"topic.gone", "configured", ""},
		{"topic.t.numPartitions", "1", "2"}, {"topic.t.stat", "true", "false"}}
	if got := fmt.Sprint(reload); got != fmt.Sprint(wantReload) {
		t.Errorf("reload %s, want %v", got, wantReload)
	}
	if got := fmt.Sprint(restart); got != "[{serverPort 1 2}]" {
		t.Errorf("restart %s", got)
	}
	if reload, restart := a.Diff(a); len(reload)+len(restart) != 0 {
		t.Errorf("no change: %v, %v", reload, restart)
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"numPartitions", "stat", "serverPort"}
	for name, want := range map[string]string{"numpartition": "; did you mean numPartitions?", "sat": "; did you mean stat?", "hello": "", "": ""} {
		if got := suggest(name, names); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Every key that is said to need a restart keeps the value of the running broker, whichever it is; every other one is taken.
func TestTaken(t *testing.T) {
	all := "[system]\nbrokerId=7\nhostName=h\nserverPort=1\ndashboardHttpPort=2\ndataPath=/d\nmaxSegmentSize=2M\nlogSegmentSize=2M\nmaxMessageSize=2K\n" +
		"maxLineLength=512\nrewriteRate=8M\nnumPartitions=3\nmaxConnections=9\nidleTimeout=9s\n" +
		"[zookeeper]\nzk.zkConnect=z\nzk.zkRoot=/r\nzk.zkEnable=false\nzk.zkSessionTimeoutMs=1\nzk.zkConnectionTimeoutMs=2\nzk.zkSyncTimeMs=3\n[topic=t]\n"
	running, newer := load(t, "[topic=old]\n"), load(t, all)
	taken := running.Taken(newer)
	for _, k := range keys {
		switch {
		case k.class == noEffect:
		case k.class == restart && k.get(taken) != k.get(running):
			t.Errorf("%s needs a restart and is %s now, want %s", k.name, k.get(taken), k.get(running))
		case k.class == restart && k.get(newer) == k.get(running):
			t.Errorf("%s has the same value in both: the test shows nothing", k.name)
		case k.class == reloadable && k.get(taken) != k.get(newer):
			t.Errorf("%s is %s after a reload, want %s", k.name, k.get(taken), k.get(newer))
		}
	}
	if _, ok := taken.Topic("t"); !ok {
		t.Error("the new topic is not taken")
	}
	if newer.BrokerID != 7 {
		t.Error("the newer configuration was changed")
	}
}
