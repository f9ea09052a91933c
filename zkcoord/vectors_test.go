package zkcoord

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaq/metaq/protocol"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/vectors.json anew; commit the difference only if you understand it")

// Vectors are what this package names, reads, writes and deals out, for clients in other languages: their tests replay the file.
type vectors struct {
	Layout     []pathVector       `json:"layout"`
	Replicas   []parseVector      `json:"replicas"`
	Partitions []parseVector      `json:"partitions"`
	Addresses  []parseVector      `json:"addresses"` // of brokers
	Offsets    []offsetVector     `json:"offsets"`
	TopicNodes []topicVector      `json:"topicNodes"`
	Topics     []topicsVector     `json:"topics"` // of a member
	Clusters   []clusterVector    `json:"clusters"`
	Shares     []assignmentVector `json:"shares"`
}

type pathVector struct {
	Node string   `json:"node"`
	Root string   `json:"root"`
	Args []string `json:"args"`
	Path string   `json:"path"`
}

// A parseVector is a text, and what writing it again gives; Means is empty if it cannot be read.
type parseVector struct {
	Text  string `json:"text"`
	Means string `json:"means"`
}

type offsetVector struct {
	Text    string `json:"text"`
	Good    bool   `json:"good"`
	Message int64  `json:"message"`
	Offset  int64  `json:"offset"`
	Written string `json:"written"`
}

type topicVector struct {
	Text       string `json:"text"`
	Good       bool   `json:"good"`
	Broker     string `json:"broker"`
	Partitions int    `json:"partitions"`
	Written    string `json:"written"`
}

type topicsVector struct {
	Text    string           `json:"text"`
	Topics  []protocol.Topic `json:"topics"`
	Written string           `json:"written"`
}

type clusterVector struct {
	Text    string   `json:"text"`
	Good    bool     `json:"good"`
	Servers []string `json:"servers"`
	Chroot  string   `json:"chroot"`
	Root    Layout   `json:"root"`
}

type assignmentVector struct {
	Partitions []string            `json:"partitions"`
	Members    []string            `json:"members"`
	Ranges     map[string][]string `json:"ranges"`
	Hash       map[string][]string `json:"hash"`
}

const vectorFile = "testdata/vectors.json"

func TestVectors_AreWhatOtherLanguagesReplay(t *testing.T) {
	got, err := json.Marshal(makeVectors())
	if err != nil {
		t.Fatal(err)
	}
	got = append(bytes.ReplaceAll(got, []byte("},{"), []byte("},\n{")), '\n') // a line each
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(vectorFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the package does; see -rewrite", vectorFile)
	}
}

func makeVectors() vectors {
	return vectors{
		Layout: layoutVectors(), Shares: shareVectors(), Offsets: offsetVectors(), TopicNodes: topicVectors(), Topics: topicsVectors(), Clusters: clusterVectors(),
		Replicas: parsed(func(s string) (string, error) {
			r, err := ParseReplica(s)
			return r.String(), err
		}, "0-m", "12-m", "0-s0", "3-s11", "", "0", "0-", "0-x", "-1-m", "0-s", "0-s-1", "0-mm", "a-m"),
		Partitions: parsed(func(s string) (string, error) {
			p, err := ParsePartition(s)
			return p.String(), err
		}, "0-0", "12-34", "0-2147483647", "", "0", "0-", "0--1", "a-0", "0-2147483648", "0-4294967296"),
		Addresses: parsed(func(s string) (string, error) { return ParseAddress([]byte(s)) },
			"meta://10.0.0.1:8123", "meta://[fe80::1]:8123", "meta://host:1?x=y", "", "10.0.0.1:8123", "http://a:1", "meta://", "meta://host"),
	}
}

func layoutVectors() (list []pathVector) {
	const topic, group = protocol.Topic("acc-order"), protocol.Group("groupA")
	partition, slave := Partition{1, 3}, Replica{12, 3}
	for _, l := range []Layout{DefaultRoot, "", "/a/b"} {
		row := func(node, path string, args ...string) {
			list = append(list, pathVector{Node: node, Root: string(l), Args: append([]string{}, args...), Path: path})
		}
		row("brokers", l.Brokers())
		row("replica", l.Replica(Master(0)), Master(0).String())
		row("replica", l.Replica(slave), slave.String())
		row("publishers", l.Topic(UsePublish, topic), string(topic))
		row("subscribers", l.Topic(UseSubscribe, topic), string(topic))
		row("publisher", l.TopicOf(UsePublish, topic, Master(0)), string(topic), Master(0).String())
		row("subscriber", l.TopicOf(UseSubscribe, topic, slave), string(topic), slave.String())
		row("members", l.Members(group), string(group))
		row("member", l.Member(group, MemberID(group, "two")), string(group), MemberID(group, "two"))
		row("owners", l.Owners(group, topic), string(group), string(topic))
		row("owner", l.Owner(group, topic, partition), string(group), string(topic), partition.String())
		row("offset", l.Offset(group, topic, partition), string(group), string(topic), partition.String())
	}
	return list
}

func parsed(read func(string) (string, error), texts ...string) (list []parseVector) {
	for _, text := range texts {
		v := parseVector{Text: text}
		if means, err := read(text); err == nil {
			v.Means = means
		}
		list = append(list, v)
	}
	return list
}

func offsetVectors() (list []offsetVector) {
	for _, text := range []string{
		"-5468921164271190016-44", "-1-0", "17-18", "4711", "-9223372036854775808-9223372036854775807",
		"", "-", "x", "1-x", "x-1", "99999999999999999999-1", "1-99999999999999999999", "1-2\n", " 1-2",
	} {
		o, err := ParseOffset([]byte(text))
		v := offsetVector{Text: text, Good: err == nil}
		if v.Good {
			v.Message, v.Offset, v.Written = o.MessageID, o.Offset, string(o.Encode())
		}
		list = append(list, v)
	}
	return list
}

func topicVectors() (list []topicVector) {
	for _, text := range []string{`{"broker":"0-m","numParts":4}`, `{"numParts": 4, "broker":"0-s0", "more": 1}`, "", "4", "{}", `{"numParts":0}`, `{"numParts":"4"}`, "[]",
		fmt.Sprintf(`{"broker":"0-m","numParts":%d}`, MaxPartitions), fmt.Sprintf(`{"broker":"0-m","numParts":%d}`, MaxPartitions+1), `{"broker":"0-m","numParts":2000000000}`} {
		n, err := ParseTopicNode([]byte(text))
		v := topicVector{Text: text, Good: err == nil}
		if v.Good {
			v.Broker, v.Partitions, v.Written = n.Broker, n.Partitions, string(n.Encode())
		}
		list = append(list, v)
	}
	return list
}

func topicsVectors() (list []topicsVector) {
	for _, text := range []string{"acc-samsa,acc-order", " b,a,,", "one", ""} {
		topics := SplitTopics([]byte(text))
		list = append(list, topicsVector{text, append([]protocol.Topic{}, topics...), string(JoinTopics(topics))})
	}
	return list
}

func clusterVectors() (list []clusterVector) {
	for _, text := range []string{
		"zk://a:1,b:2", "zk://a", "zk:// a:1, b/", "zk://a:1,[::1]:2/app/one?root=/other", "zk://a?root=/", "zk://a/x?root=/y/", "zk://[fe80::1]", "zk://a?root=%2Fx",
		"zk://", "zk://,", "zk:///x", "zk://a:x", "zk://a:0", "zk://a:65536", "zk://:1", "zk://::1", "zk://a:1//b", "zk://a/../b", "zk://a:1?rot=/meta", "zk://a:1?root=meta",
	} {
		v := clusterVector{Text: text}
		if a, err := ParseClusterAddress(text); err == nil {
			v.Good, v.Root = true, a.Root
			v.Servers, v.Chroot, _ = ParseConnect(a.Connect) // ParseClusterAddress has read it
		}
		list = append(list, v)
	}
	return list
}

func shareVectors() (list []assignmentVector) {
	names := func(shares map[string][]Partition) map[string][]string {
		out := map[string][]string{}
		for member, share := range shares {
			for _, p := range share {
				out[member] = append(out[member], p.String())
			}
		}
		return out
	}
	members := []string{"groupA_one", "groupA_two", "groupA_10.0.0.1-4711-1795229231745-1", "groupA_b", "groupA_a"}
	for _, brokers := range []int{1, 3} {
		for _, each := range []int{1, 4, 16} {
			var all []Partition
			var texts []string
			for b := range brokers {
				for n := range each {
					all = append(all, Partition{b, int32(n)})
					texts = append(texts, fmt.Sprintf("%d-%d", b, n))
				}
			}
			for n := range len(members) + 1 {
				list = append(list, assignmentVector{texts, members[:n], names(AssignRanges(all, members[:n])), names(AssignByHash(all, members[:n]))})
			}
		}
	}
	return list
}
