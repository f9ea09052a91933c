package zkcoord

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/zookeeper"
)

// The tree of an installation with two masters, a slave and three groups, as it was seen with the original's brokers and clients.
func TestWalkTree_SaysWhatEachNodeOfTheOriginalMeans(t *testing.T) {
	z := zookeeper.Start(t)
	s, ctx := connect(t, z), within(t)
	rows := []struct {
		kind                       Kind
		path, data, value, meaning string
	}{
		{Persistent, "/meta", "", "", "Everything of this installation."},
		{Persistent, "/meta/brokers", "", "", "What brokers write."},
		{Persistent, "/meta/brokers/ids", "", "", "The brokers that there have been."},
		{Persistent, "/meta/brokers/ids/0", "meta://127.0.0.1:21870", "127.0.0.1:21870", "Address of the broker's master for clients before 1.4; it stays after a crash."},
		{Ephemeral, "/meta/brokers/ids/0/master", "meta://127.0.0.1:21870", "127.0.0.1:21870", "Address of the broker's master, while it runs."},
		{Ephemeral, "/meta/brokers/ids/0/master_config_checksum", "220767882", "220767882", "CRC-32 of the master's configuration file."},
		{Ephemeral, "/meta/brokers/ids/0/slave0", "meta://127.0.0.1:21871", "127.0.0.1:21871", "Address of an asynchronous slave, while it runs."},
		{Persistent, "/meta/brokers/ids/1", "meta://127.0.0.1:21872", "127.0.0.1:21872", "Address of the broker's master for clients before 1.4; it stays after a crash."},
		{Ephemeral, "/meta/brokers/ids/1/master", "meta://127.0.0.1:21872", "127.0.0.1:21872", "Address of the broker's master, while it runs."},
		{Ephemeral, "/meta/brokers/ids/1/master_config_checksum", "1971279735", "1971279735", "CRC-32 of the master's configuration file."},
		{Persistent, "/meta/brokers/topics", "", "", "Topics for clients before 1.4.3."},
		{Persistent, "/meta/brokers/topics/acc-basic", "", "", "A topic that brokers have, or had."},
		{Ephemeral, "/meta/brokers/topics/acc-basic/0-m", "1", "1", "Number of partitions that a master (B-m) or slave (B-sS) has, for clients before 1.4.3."},
		{Ephemeral, "/meta/brokers/topics/acc-basic/0-s0", "1", "1", "Number of partitions that a master (B-m) or slave (B-sS) has, for clients before 1.4.3."},
		{Persistent, "/meta/brokers/topics/acc-order", "", "", "A topic that brokers have, or had."},
		{Ephemeral, "/meta/brokers/topics/acc-order/0-m", "4", "4", "Number of partitions that a master (B-m) or slave (B-sS) has, for clients before 1.4.3."},
		{Ephemeral, "/meta/brokers/topics/acc-order/0-s0", "4", "4", "Number of partitions that a master (B-m) or slave (B-sS) has, for clients before 1.4.3."},
		{Persistent, "/meta/brokers/topics/acc-samsa", "", "", "A topic that brokers have, or had."},
		{Ephemeral, "/meta/brokers/topics/acc-samsa/1-m", "2", "2", "Number of partitions that a master (B-m) or slave (B-sS) has, for clients before 1.4.3."},
		{Persistent, "/meta/brokers/topics-pub", "", "", "Topics for producers."},
		{Persistent, "/meta/brokers/topics-pub/acc-basic", "", "", "A topic that brokers take messages for, or a producer waits for."},
		{Ephemeral, "/meta/brokers/topics-pub/acc-basic/0-m", `{"broker":"0-m","numParts":1}`, "0-m: 1 partition", "A broker that takes messages for the topic; producers use masters (B-m) alone."},
		{Ephemeral, "/meta/brokers/topics-pub/acc-basic/0-s0", `{"broker":"0-s0","numParts":1}`, "0-s0: 1 partition", "A broker that takes messages for the topic; producers use masters (B-m) alone."},
		{Persistent, "/meta/brokers/topics-pub/acc-order", "", "", "A topic that brokers take messages for, or a producer waits for."},
		{Ephemeral, "/meta/brokers/topics-pub/acc-order/0-m", `{"broker":"0-m","numParts":4}`, "0-m: 4 partitions", "A broker that takes messages for the topic; producers use masters (B-m) alone."},
		{Ephemeral, "/meta/brokers/topics-pub/acc-order/0-s0", `{"broker":"0-s0","numParts":4}`, "0-s0: 4 partitions", "A broker that takes messages for the topic; producers use masters (B-m) alone."},
		{Persistent, "/meta/brokers/topics-pub/acc-samsa", "", "", "A topic that brokers take messages for, or a producer waits for."},
		{Ephemeral, "/meta/brokers/topics-pub/acc-samsa/1-m", `{"broker":"1-m","numParts":2}`, "1-m: 2 partitions", "A broker that takes messages for the topic; producers use masters (B-m) alone."},
		{Persistent, "/meta/brokers/topics-pub/not-there", "", "", "A topic that brokers take messages for, or a producer waits for."},
		{Persistent, "/meta/brokers/topics-sub", "", "", "Topics for consumers."},
		{Persistent, "/meta/brokers/topics-sub/acc-basic", "", "", "A topic that brokers serve, or a consumer waits for."},
		{Ephemeral, "/meta/brokers/topics-sub/acc-basic/0-m", `{"broker":"0-m","numParts":1}`, "0-m: 1 partition", "A broker that consumers read the topic from, a master (B-m) or a slave (B-sS)."},
		{Ephemeral, "/meta/brokers/topics-sub/acc-basic/0-s0", `{"broker":"0-s0","numParts":1}`, "0-s0: 1 partition", "A broker that consumers read the topic from, a master (B-m) or a slave (B-sS)."},
		{Persistent, "/meta/brokers/topics-sub/acc-order", "", "", "A topic that brokers serve, or a consumer waits for."},
		{Ephemeral, "/meta/brokers/topics-sub/acc-order/0-m", `{"broker":"0-m","numParts":4}`, "0-m: 4 partitions", "A broker that consumers read the topic from, a master (B-m) or a slave (B-sS)."},
		{Ephemeral, "/meta/brokers/topics-sub/acc-order/0-s0", `{"broker":"0-s0","numParts":4}`, "0-s0: 4 partitions", "A broker that consumers read the topic from, a master (B-m) or a slave (B-sS)."},
		{Persistent, "/meta/brokers/topics-sub/acc-samsa", "", "", "A topic that brokers serve, or a consumer waits for."},
		{Ephemeral, "/meta/brokers/topics-sub/acc-samsa/1-m", `{"broker":"1-m","numParts":2}`, "1-m: 2 partitions", "A broker that consumers read the topic from, a master (B-m) or a slave (B-sS)."},
		{Persistent, "/meta/consumers", "", "", "The groups that there have been."},
		{Persistent, "/meta/consumers/acc-slave-group", "", "", "A group of consumers."},
		{Persistent, "/meta/consumers/acc-slave-group/ids", "", "", "The members of the group that are there now."},
		{Ephemeral, "/meta/consumers/acc-slave-group/ids/acc-slave-group_192.0.2.2-14388-1795229150592-1", "acc-order,acc-off,acc-reb,acc-tx,acc-restart,acc-slave,acc-tx2,acc-basic,acc-browse,acc-fail", "acc-basic,acc-browse,acc-fail,acc-off,acc-order,acc-reb,acc-restart,acc-slave,acc-tx,acc-tx2", "A member, with the topics that it wants."},
		{Persistent, "/meta/consumers/groupA", "", "", "A group of consumers."},
		{Persistent, "/meta/consumers/groupA/ids", "", "", "The members of the group that are there now."},
		{Ephemeral, "/meta/consumers/groupA/ids/groupA_one", "acc-order,acc-basic", "acc-basic,acc-order", "A member, with the topics that it wants."},
		{Ephemeral, "/meta/consumers/groupA/ids/groupA_two", "acc-order,acc-samsa", "acc-order,acc-samsa", "A member, with the topics that it wants."},
		{Persistent, "/meta/consumers/groupA/offsets", "", "", "Where the group goes on."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-basic", "", "", "A topic that the group has read."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-basic/0-0", "-5468921163977588736-176", "offset 176, message -5468921163977588736", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-order", "", "", "A topic that the group has read."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-order/0-0", "-5468921164271190016-44", "offset 44, message -5468921164271190016", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-order/0-1", "-5468921164342493184-44", "offset 44, message -5468921164342493184", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-order/0-2", "-5468921164304744448-44", "offset 44, message -5468921164304744448", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-order/0-3", "-5468921164296355840-44", "offset 44, message -5468921164296355840", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-samsa", "", "", "A topic that the group has read."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-samsa/1-0", "-5468921163189055488-88", "offset 88, message -5468921163189055488", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupA/offsets/acc-samsa/1-1", "-5468921163205832704-88", "offset 88, message -5468921163205832704", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupA/owners", "", "", "Which member has which partition now."},
		{Persistent, "/meta/consumers/groupA/owners/acc-basic", "", "", "A topic of which members have partitions, or had."},
		{Ephemeral, "/meta/consumers/groupA/owners/acc-basic/0-0", "groupA_one", "groupA_one", "The member that has the partition."},
		{Persistent, "/meta/consumers/groupA/owners/acc-order", "", "", "A topic of which members have partitions, or had."},
		{Ephemeral, "/meta/consumers/groupA/owners/acc-order/0-0", "groupA_one", "groupA_one", "The member that has the partition."},
		{Ephemeral, "/meta/consumers/groupA/owners/acc-order/0-1", "groupA_one", "groupA_one", "The member that has the partition."},
		{Ephemeral, "/meta/consumers/groupA/owners/acc-order/0-2", "groupA_two", "groupA_two", "The member that has the partition."},
		{Ephemeral, "/meta/consumers/groupA/owners/acc-order/0-3", "groupA_two", "groupA_two", "The member that has the partition."},
		{Persistent, "/meta/consumers/groupA/owners/acc-samsa", "", "", "A topic of which members have partitions, or had."},
		{Ephemeral, "/meta/consumers/groupA/owners/acc-samsa/1-0", "groupA_two", "groupA_two", "The member that has the partition."},
		{Ephemeral, "/meta/consumers/groupA/owners/acc-samsa/1-1", "groupA_two", "groupA_two", "The member that has the partition."},
		{Persistent, "/meta/consumers/groupB", "", "", "A group of consumers."},
		{Persistent, "/meta/consumers/groupB/ids", "", "", "The members of the group that are there now."},
		{Ephemeral, "/meta/consumers/groupB/ids/groupB_192.0.2.2-16410-1795229231745-1", "acc-order", "acc-order", "A member, with the topics that it wants."},
		{Persistent, "/meta/consumers/groupB/offsets", "", "", "Where the group goes on."},
		{Persistent, "/meta/consumers/groupB/offsets/acc-order", "", "", "A topic that the group has read."},
		{Persistent, "/meta/consumers/groupB/offsets/acc-order/0-0", "-5468921164271190016-44", "offset 44, message -5468921164271190016", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupB/offsets/acc-order/0-1", "-5468921164342493184-44", "offset 44, message -5468921164342493184", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupB/offsets/acc-order/0-2", "-5468921164304744448-44", "offset 44, message -5468921164304744448", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupB/offsets/acc-order/0-3", "-5468921164296355840-44", "offset 44, message -5468921164296355840", "Where the group goes on in the partition, behind the message it has read last."},
		{Persistent, "/meta/consumers/groupB/owners", "", "", "Which member has which partition now."},
		{Persistent, "/meta/consumers/groupB/owners/acc-order", "", "", "A topic of which members have partitions, or had."},
		{Ephemeral, "/meta/consumers/groupB/owners/acc-order/0-0", "groupB_192.0.2.2-16410-1795229231745-1", "groupB_192.0.2.2-16410-1795229231745-1", "The member that has the partition."},
		{Ephemeral, "/meta/consumers/groupB/owners/acc-order/0-1", "groupB_192.0.2.2-16410-1795229231745-1", "groupB_192.0.2.2-16410-1795229231745-1", "The member that has the partition."},
		{Ephemeral, "/meta/consumers/groupB/owners/acc-order/0-2", "groupB_192.0.2.2-16410-1795229231745-1", "groupB_192.0.2.2-16410-1795229231745-1", "The member that has the partition."},
		{Ephemeral, "/meta/consumers/groupB/owners/acc-order/0-3", "groupB_192.0.2.2-16410-1795229231745-1", "groupB_192.0.2.2-16410-1795229231745-1", "The member that has the partition."},
	}
	for _, r := range rows {
		must(t, s.Create(ctx, r.path, []byte(r.data), r.kind))
	}
	got := map[string]TreeNode{}
	var order []string
	must(t, WalkTree(ctx, s, DefaultRoot, "", func(n TreeNode) error {
		got[n.Path] = n
		order = append(order, n.Path)
		return nil
	}))
	for _, r := range rows {
		n := got[r.path]
		if n.Kind() != r.kind || string(n.Data) != r.data || n.Value != r.value || n.Odd || n.Meaning != r.meaning {
			t.Errorf("%s: kind %d, data %q, value %q, odd %t, %q\nwant %+v", r.path, n.Kind(), n.Data, n.Value, n.Odd, n.Meaning, r)
		}
	}
	if len(order) != len(rows) {
		t.Errorf("%d nodes, want %d", len(order), len(rows))
	}
	// Numbers are in their order, and parents before what is below them.
	if a, b := slices.Index(order, "/meta/brokers/ids/0"), slices.Index(order, "/meta/brokers/ids/0/master"); a < 0 || a > b {
		t.Errorf("the order is %v", order)
	}
	testViews(t, ctx, s)
}

// testViews looks at the groups of that tree.
func testViews(t *testing.T, ctx context.Context, s *Session) {
	list, err := ListGroups(ctx, s, DefaultRoot)
	must(t, err)
	if want := []protocol.Group{"acc-slave-group", "groupA", "groupB"}; !slices.Equal(list, want) {
		t.Errorf("groups %v, want %v", list, want)
	}
	v, err := ViewGroup(ctx, s, DefaultRoot, "groupA")
	must(t, err)
	if !v.Live() || len(v.Members) != 2 || v.Members[0].ID != "groupA_one" || !slices.Equal(v.Members[0].Topics, []protocol.Topic{"acc-basic", "acc-order"}) {
		t.Errorf("members %+v", v.Members)
	}
	if want := []protocol.Topic{"acc-basic", "acc-order", "acc-samsa"}; !slices.Equal(v.Topics(), want) {
		t.Errorf("topics %v, want %v", v.Topics(), want)
	}
	order := func(broker int, n int32) TopicPartition { return TopicPartition{"acc-order", Partition{broker, n}} }
	if v.Owner(order(0, 1)) != "groupA_one" || v.Owner(order(0, 3)) != "groupA_two" || v.Owner(order(1, 0)) != "" {
		t.Errorf("owners %+v", v.Owners)
	}
	o, ok := v.Offset(order(0, 2))
	if !ok || o.Offset != (Offset{-5468921164304744448, 44}) || o.Odd != "" || time.Since(o.Changed).Abs() > time.Hour {
		t.Errorf("offset %+v, %t", o, ok)
	}
	if len(v.Offsets) != 7 {
		t.Errorf("%d offsets, want 7", len(v.Offsets))
	}
	if v, err = ViewGroup(ctx, s, DefaultRoot, "acc-slave-group"); err != nil || len(v.Owners)+len(v.Offsets) != 0 || !v.Live() {
		t.Errorf("a group that only has a member: %+v, %v", v, err)
	}
	if _, err := ViewGroup(ctx, s, DefaultRoot, "nobody"); !errors.Is(err, ErrNoNode) {
		t.Errorf("a group that there is not: %v", err)
	}
	masters, err := NewDirectory(s, DefaultRoot).Masters(ctx)
	if want := []BrokerInfo{{ID: 0, Addr: "127.0.0.1:21870", Checksum: 220767882}, {ID: 1, Addr: "127.0.0.1:21872", Checksum: 1971279735}}; err != nil || !slices.Equal(masters, want) {
		t.Errorf("masters %v, %v, want %v", masters, err, want)
	}
}

// What should not be there is shown all the same, and cannot disturb a terminal.
func TestWalkTree_ShowsWhatItDoesNotUnderstand(t *testing.T) {
	z := zookeeper.Start(t)
	s, ctx := connect(t, z), within(t)
	long := strings.Repeat("x", 5000)
	for path, data := range map[string]string{
		"/meta/brokers/ids/zero/master": "meta://127.0.0.1:1", "/meta/brokers/ids/1/master": "127.0.0.1:1\x1b[2J", "/meta/brokers/ids/2/slave-1": "",
		"/meta/brokers/topics-pub/t/0-m": "{}", "/meta/consumers/g/offsets/t/0-10": long, "/meta/consumers/g/offsets/t/0-2": "44",
		"/meta/consumers/g/ids/g_a": "t\n", "/meta/consumers/g": "so", "/other": "a",
	} {
		if err := s.Create(ctx, path, nil, Persistent); !errors.Is(err, ErrNodeExists) {
			must(t, err) // it is there if one below it came first
		}
		_, err := s.Set(ctx, path, []byte(data), AnyVersion)
		must(t, err)
	}
	type shown struct {
		value        string
		odd, unknown bool
	}
	want := map[string]shown{
		"/meta/brokers/ids/zero": {"", false, true}, "/meta/brokers/ids/zero/master": {`"meta://127.0.0.1:1"`, false, true},
		"/meta/brokers/ids/1/master": {`"127.0.0.1:1\x1b[2J"`, true, false}, "/meta/brokers/ids/2/slave-1": {"", false, true},
		"/meta/brokers/topics-pub/t/0-m": {`"{}"`, true, false}, "/meta/consumers/g/offsets/t/0-2": {"offset 44", false, false},
		"/meta/consumers/g/offsets/t/0-10": {`"` + strings.Repeat("x", 100) + `"... (5000 bytes)`, true, false},
		"/meta/consumers/g/ids/g_a":        {`"t\n"`, true, false}, "/meta/consumers/g": {`"so"`, true, false}, "/other": {`"a"`, false, true},
	}
	var order []string
	must(t, WalkTree(ctx, s, DefaultRoot, "/", func(n TreeNode) error {
		order = append(order, n.Path)
		if w, ok := want[n.Path]; ok {
			if got := (shown{n.Value, n.Odd, n.Meaning == ""}); got != w {
				t.Errorf("%s: %+v, want %+v", n.Path, got, w)
			}
			delete(want, n.Path)
		}
		return nil
	}))
	if len(want) > 0 {
		t.Errorf("not shown: %v", want)
	}
	if a, b := slices.Index(order, "/meta/consumers/g/offsets/t/0-2"), slices.Index(order, "/meta/consumers/g/offsets/t/0-10"); a > b {
		t.Errorf("partition 10 comes before partition 2: %v", order)
	}
	if err := WalkTree(ctx, s, DefaultRoot, "/nowhere", func(TreeNode) error { return nil }); !errors.Is(err, ErrNoNode) {
		t.Errorf("a path that is not there: %v", err)
	}
	v, err := ViewGroup(ctx, s, DefaultRoot, "g")
	must(t, err)
	if len(v.Offsets) != 2 || v.Offsets[0].Offset != (Offset{UnknownMessage, 44}) || v.Offsets[1].Odd == "" {
		t.Errorf("offsets %+v", v.Offsets)
	}
}

// With a chroot, and with the tree at the root of that, nothing else is seen.
func TestWalkTree_InAChroot(t *testing.T) {
	z := zookeeper.Start(t)
	outside, ctx := connect(t, z), within(t)
	must(t, outside.Create(ctx, "/app/brokers/ids/7/master", []byte("meta://[::1]:8123"), Persistent))
	s, err := Connect(Config{Connect: z.Addr + "/app", SessionTimeout: sessionTime})
	must(t, err)
	defer s.Close()
	var got []string
	must(t, WalkTree(ctx, s, "", "", func(n TreeNode) error {
		if n.Meaning == "" {
			t.Errorf("%s is unknown", n.Path)
		}
		got = append(got, strings.TrimSpace(n.Path+" "+n.Value))
		return nil
	}))
	want := []string{"/", "/brokers", "/brokers/ids", "/brokers/ids/7", "/brokers/ids/7/master [::1]:8123"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
