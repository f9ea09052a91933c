package zkcoord

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
)

// The tree of a cluster as the original writes it: each node that a broker or a client of ours makes, with its data. This is the contract with
// programs written for Metamorphosis 1.4.6.
func TestLayout_IsThatOfMetamorphosis(t *testing.T) {
	const l = DefaultRoot
	const topic, group = protocol.Topic("acc-order"), protocol.Group("groupA")
	master, slave := Master(0), Replica{Broker: 0, Slave: 0}
	for _, c := range []struct {
		got, want string
		data      []byte
		wantData  string
	}{
		{got: l.Brokers(), want: "/meta/brokers/ids"},
		{got: l.Broker(0), want: "/meta/brokers/ids/0", data: []byte(FormatAddress("127.0.0.1:21870")), wantData: "meta://127.0.0.1:21870"},
		{got: l.Replica(master), want: "/meta/brokers/ids/0/master", data: []byte(FormatAddress("[::1]:8123")), wantData: "meta://[::1]:8123"},
		{got: l.Replica(slave), want: "/meta/brokers/ids/0/slave0"},
		{got: l.Replica(Replica{12, 3}), want: "/meta/brokers/ids/12/slave3"},
		{got: l.ConfigChecksum(0), want: "/meta/brokers/ids/0/master_config_checksum"},
		{got: l.Topics(UseAny), want: "/meta/brokers/topics"},
		{got: l.Topics(UsePublish), want: "/meta/brokers/topics-pub"},
		{got: l.Topics(UseSubscribe), want: "/meta/brokers/topics-sub"},
		{got: l.Topic(UsePublish, "not-there"), want: "/meta/brokers/topics-pub/not-there"},
		{got: l.TopicOf(UseAny, topic, master), want: "/meta/brokers/topics/acc-order/0-m"},
		{got: l.TopicOf(UseAny, topic, slave), want: "/meta/brokers/topics/acc-order/0-s0"},
		{got: l.TopicOf(UsePublish, topic, master), want: "/meta/brokers/topics-pub/acc-order/0-m", data: TopicNode{master.String(), 4}.Encode(), wantData: `{"broker":"0-m","numParts":4}`},
		{got: l.TopicOf(UseSubscribe, topic, slave), want: "/meta/brokers/topics-sub/acc-order/0-s0", data: TopicNode{slave.String(), 4}.Encode(), wantData: `{"broker":"0-s0","numParts":4}`},
		{got: l.Groups(), want: "/meta/consumers"},
		{got: l.Members(group), want: "/meta/consumers/groupA/ids"},
		{got: l.Member(group, MemberID(group, "two")), want: "/meta/consumers/groupA/ids/groupA_two",
			data: JoinTopics([]protocol.Topic{"acc-samsa", "acc-order"}), wantData: "acc-order,acc-samsa"},
		{got: l.Owners(group, topic), want: "/meta/consumers/groupA/owners/acc-order"},
		{got: l.Owner(group, topic, Partition{0, 3}), want: "/meta/consumers/groupA/owners/acc-order/0-3"},
		{got: l.OffsetTopics(group), want: "/meta/consumers/groupA/offsets"},
		{got: l.Offsets(group, topic), want: "/meta/consumers/groupA/offsets/acc-order"},
		{got: l.Offset(group, topic, Partition{1, 0}), want: "/meta/consumers/groupA/offsets/acc-order/1-0",
			data: Offset{-5468921164271190016, 44}.Encode(), wantData: "-5468921164271190016-44"},
		{got: Layout("").Brokers(), want: "/brokers/ids"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
		if string(c.data) != c.wantData {
			t.Errorf("%s: data %q, want %q", c.got, c.data, c.wantData)
		}
	}
}

func TestParse_ReadsWhatIsWritten(t *testing.T) {
	for _, r := range []Replica{Master(0), Master(12), {0, 0}, {3, 11}} {
		if got, err := ParseReplica(r.String()); got != r || err != nil {
			t.Errorf("%s: %v, %v", r, got, err)
		}
	}
	for _, p := range []Partition{{0, 0}, {12, 34}} {
		if got, err := ParsePartition(p.String()); got != p || err != nil {
			t.Errorf("%s: %v, %v", p, got, err)
		}
	}
	for data, want := range map[string]Offset{
		"-5468921164271190016-44": {-5468921164271190016, 44}, "-1-0": {UnknownMessage, 0}, "17-18": {17, 18}, "4711": {UnknownMessage, 4711},
	} {
		if got, err := ParseOffset([]byte(data)); got != want || err != nil {
			t.Errorf("offset %q: %v, %v", data, got, err)
		}
	}
	for data, want := range map[string]string{"meta://10.0.0.1:8123": "10.0.0.1:8123", "meta://[fe80::1]:8123": "[fe80::1]:8123", "meta://host:1?x=y": "host:1"} {
		if got, err := ParseAddress([]byte(data)); got != want || err != nil {
			t.Errorf("address %q: %v, %v", data, got, err)
		}
	}
	if got, err := ParseTopicNode([]byte(`{"numParts": 4, "broker":"0-m", "more": 1}`)); got != (TopicNode{"0-m", 4}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got := SplitTopics([]byte(" b,a,,b")); !slices.Equal(got, []protocol.Topic{"b", "a"}) {
		t.Errorf("topics %q", got)
	}
}

func TestParse_RefusesWhatMeansNothing(t *testing.T) {
	for _, s := range []string{"", "0", "0-", "0-x", "-1-m", "0-s", "0-s-1", "0-mm", "a-m"} {
		if r, err := ParseReplica(s); err == nil {
			t.Errorf("replica %q is %v", s, r)
		}
	}
	for _, s := range []string{"", "0", "0-", "0--1", "a-0", "0-4294967296"} {
		if p, err := ParsePartition(s); err == nil {
			t.Errorf("partition %q is %v", s, p)
		}
	}
	for _, s := range []string{"", "-", "x", "1-x", "x-1", "99999999999999999999-1"} {
		if o, err := ParseOffset([]byte(s)); err == nil {
			t.Errorf("offset %q is %v", s, o)
		}
	}
	for _, s := range []string{"", "10.0.0.1:8123", "http://a:1", "meta://", "meta://host"} {
		if a, err := ParseAddress([]byte(s)); err == nil {
			t.Errorf("address %q is %v", s, a)
		}
	}
	for _, s := range []string{"", "4", "{}", `{"numParts":0}`, `{"numParts":"4"}`, `{"numParts":65537}`, `{"numParts":4294967297}`} {
		if n, err := ParseTopicNode([]byte(s)); err == nil {
			t.Errorf("topic %q is %v", s, n)
		}
	}
}

func TestParseConnect(t *testing.T) {
	for s, want := range map[string]struct {
		servers []string
		chroot  string
	}{
		"a":                    {[]string{"a:2181"}, ""},
		"a:1,b:2":              {[]string{"a:1", "b:2"}, ""},
		" a:1, b/":             {[]string{"a:1", "b:2181"}, ""},
		"a:1,b:2/one/two":      {[]string{"a:1", "b:2"}, "/one/two"},
		"[::1]:7,[fe80::1]/x/": {[]string{"[::1]:7", "[fe80::1]:2181"}, "/x"},
	} {
		if servers, chroot, err := ParseConnect(s); !slices.Equal(servers, want.servers) || chroot != want.chroot || err != nil {
			t.Errorf("%q: %q %q %v", s, servers, chroot, err)
		}
	}
	for _, s := range []string{"", ",", "/x", "a:0", "a:x", "a:65536", ":1", "::1", "a//b", "a/../b", "a/x\x00"} {
		if servers, chroot, err := ParseConnect(s); err == nil {
			t.Errorf("%q: %q %q", s, servers, chroot)
		}
	}
	for s, want := range map[string]Layout{"/meta": "/meta", "": "", "/": "", "/a/b/": "/a/b"} {
		if got, err := ParseRoot(s); got != want || err != nil {
			t.Errorf("root %q: %q, %v", s, got, err)
		}
	}
	if _, err := ParseRoot("meta"); err == nil {
		t.Error("a root without a slash is taken")
	}
}

func partitions(names ...string) []Partition {
	var list []Partition
	for _, n := range names {
		p, err := ParsePartition(n)
		if err != nil {
			panic(err)
		}
		list = append(list, p)
	}
	return list
}

func TestParseClusterAddress(t *testing.T) {
	for in, want := range map[string]ClusterAddress{
		"127.0.0.1:2181":                         {Connect: "127.0.0.1:2181", Root: "/meta"},
		"zk://a:1,b:2":                           {Connect: "a:1,b:2", Root: "/meta"},
		"zk://a:1,[::1]:2/app/one?root=/other":   {Connect: "a:1,[::1]:2/app/one", Root: "/other"},
		"a?root=/":                               {Connect: "a"},
		"zk://a/x?root=/y/":                      {Connect: "a/x", Root: "/y"},
		"zk://a?sessionTimeout=30s":              {Connect: "a", Root: "/meta", SessionTimeout: 30 * time.Second},
		"a?connectTimeout=1m2.5s&root=/b%26c":    {Connect: "a", Root: "/b&c", ConnectTimeout: 62500 * time.Millisecond},
		"a?sessionTimeout=4s&connectTimeout=1ms": {Connect: "a", Root: "/meta", SessionTimeout: 4 * time.Second, ConnectTimeout: time.Millisecond},
	} {
		got, err := ParseClusterAddress(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
		if again, err := ParseClusterAddress(got.String()); err != nil || again != got {
			t.Errorf("%s: %+v, %v, want %+v", got, again, err, got)
		}
	}
	for in, says := range map[string]string{
		"": "there is no server", "zk://": "there is no server", "zk://a:x": "no host:port", "a:1//b": "a path has no part",
		"a:1?rot=/meta": "root, sessionTimeout and connectTimeout may follow", "a:1?%": "invalid URL escape", "a:1?root=meta": "a path begins with a slash",
		"a:1?sessionTimeout=5": "want a time such as 30s", "a:1?sessionTimeout=0s": "between 1ms and", "a:1?connectTimeout=-1s": "between 1ms and",
		"a:1?sessionTimeout=600h": "between 1ms and",
	} {
		if got, err := ParseClusterAddress(in); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v, want %q in the error", in, got, err, says)
		}
	}
}

// What the original's consumers were seen to take.
func TestAssignRanges_AsTheOriginal(t *testing.T) {
	for _, c := range []struct {
		partitions []Partition
		members    []string
		want       map[string][]Partition
	}{
		{partitions("0-0", "0-1", "0-2", "0-3", "0-4", "0-5"), []string{"b", "a"},
			map[string][]Partition{"a": partitions("0-0", "0-1", "0-2"), "b": partitions("0-3", "0-4", "0-5")}},
		{partitions("0-3", "0-2", "0-1", "0-0"), []string{"groupA_two", "groupA_one"},
			map[string][]Partition{"groupA_one": partitions("0-0", "0-1"), "groupA_two": partitions("0-2", "0-3")}},
		{partitions("0-0", "0-1", "0-2", "0-10"), []string{"a", "b", "c"}, // as text: 0-10 before 0-2
			map[string][]Partition{"a": partitions("0-0", "0-1"), "b": partitions("0-10"), "c": partitions("0-2")}},
		{partitions("1-0"), []string{"a", "b"}, map[string][]Partition{"a": partitions("1-0")}},
		{nil, []string{"a"}, map[string][]Partition{}},
	} {
		if got := AssignRanges(c.partitions, c.members); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v to %q: %v, want %v", c.partitions, c.members, got, c.want)
		}
	}
}

// With the ring each partition has one owner, whatever the order of the arguments, and few move when a member goes.
func TestAssignByHash_FewMove(t *testing.T) {
	var all []Partition
	for i := range 200 {
		all = append(all, Partition{i % 3, int32(i)})
	}
	owners := func(members []string) map[Partition]string {
		m := map[Partition]string{}
		for member, list := range AssignByHash(all, members) {
			for _, p := range list {
				if m[p] != "" {
					t.Fatalf("%s belongs to %s and %s", p, m[p], member)
				}
				m[p] = member
			}
		}
		if len(m) != len(all) {
			t.Fatalf("%d of %d partitions have an owner", len(m), len(all))
		}
		return m
	}
	five := owners([]string{"g_a", "g_b", "g_c", "g_d", "g_e"})
	slices.Reverse(all)
	if !reflect.DeepEqual(five, owners([]string{"g_e", "g_d", "g_c", "g_b", "g_a"})) {
		t.Error("the order of the arguments matters")
	}
	for p, member := range owners([]string{"g_a", "g_b", "g_c", "g_d"}) {
		if five[p] != "g_e" && five[p] != member {
			t.Errorf("%s moves from %s to %s although g_e has gone", p, five[p], member)
		}
	}
	if AssignByHash(all, nil) != nil {
		t.Error("nobody has partitions")
	}
}

func TestDataAreBytesWithoutTerminator(t *testing.T) {
	for _, b := range [][]byte{Offset{1, 2}.Encode(), TopicNode{"0-m", 1}.Encode(), JoinTopics([]protocol.Topic{"a"})} {
		if bytes.ContainsAny(b, "\x00\n ") {
			t.Errorf("%q", b)
		}
	}
}
