package interop

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaq/metaq/zkcoord"
)

// A consumer goes on where its group was, in another process, after a clean stop and after a kill.
func resume(t *testing.T, s *stage, topic string) {
	p := s.open(t, s.agent, "plain", "resume", nil).producer(t, topic)
	committed := func() bool { return maps.Equal(s.offsets(t, "resumers", topic), p.ends) }

	first := s.start(t, t.TempDir())
	c := s.open(t, first, "plain", "first", nil)
	c.consume(t, "resumer", "resumers", topic, nil)
	one := p.sendMany(t, "one", 20)
	first.await(t, "resumer", "the first messages are received", func(list []delivery) bool { return holds(list, one) })
	first.do(t, "close", args{"name": "resumer"})
	if !committed() {
		t.Errorf("offsets after a clean stop: %v, want %v", s.offsets(t, "resumers", topic), p.ends)
	}
	if members := s.children(t, zkcoord.DefaultRoot.Members("resumers")); len(members) > 0 || len(s.owners(t, "resumers", topic)) > 0 {
		t.Errorf("after a clean stop there are members %q and owners %v", members, s.owners(t, "resumers", topic))
	}

	two := p.sendMany(t, "two", 20)
	second := s.start(t, t.TempDir())
	s.open(t, second, "plain", "second", nil).consume(t, "resumer", "resumers", topic, nil)
	checkExactly(t, second.await(t, "resumer", "the second messages are received", func(list []delivery) bool { return holds(list, two) }), two)
	eventually(t, "the offsets are committed", committed)
	second.kill()

	three := p.sendMany(t, "three", 20)
	eventually(t, "the killed consumer's partitions are free", func() bool { return len(s.owners(t, "resumers", topic)) == 0 })
	s.open(t, first, "plain", "third", nil).consume(t, "third resumer", "resumers", topic, nil)
	checkExactly(t, first.await(t, "third resumer", "the third messages are received", func(list []delivery) bool { return holds(list, three) }), three)
}

// A consumer that begins at the end is given nothing older.
func newest(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.second, "plain", "newest", nil)
	p := c.producer(t, topic)
	p.sendMany(t, "old", 8)
	c.consume(t, "newest", "newcomers", topic, args{"newest": true})
	eventually(t, "something new is received", func() bool {
		p.sendMany(t, "new", len(allPartitions))
		list, _ := c.given("newest")
		return len(list) > 0
	})
	list, _ := c.given("newest")
	for _, d := range list {
		if strings.HasPrefix(d.Message.text(), "old") {
			t.Errorf("%q was there before", d.Message.text())
		}
	}
}

// assigned is what a strategy of ours gives to consumers, as owners tells it.
func assigned(group string, consumers []string, strategy func([]zkcoord.Partition, []string) map[string][]zkcoord.Partition) map[string]string {
	var partitions []zkcoord.Partition
	for _, name := range allPartitions {
		p, err := zkcoord.ParsePartition(name)
		if err != nil {
			panic(err) // they are constant
		}
		partitions = append(partitions, p)
	}
	var members []string
	for _, c := range consumers {
		members = append(members, group+"_"+c)
	}
	owners := map[string]string{}
	for member, list := range strategy(partitions, members) {
		for _, p := range list {
			owners[p.String()] = strings.TrimPrefix(member, group+"_")
		}
	}
	return owners
}

// Consumers of a group share the partitions as our own would, while one joins, one is killed and one leaves, and no message is left out.
func group(t *testing.T, s *stage, topic string) {
	const name = "sharers"
	killed := s.start(t, t.TempDir())
	one, two, three := s.open(t, s.agent, "plain", "sharing one", nil), s.open(t, killed, "plain", "sharing two", nil), s.open(t, s.second, "plain", "sharing three", nil)
	p := s.open(t, s.agent, "plain", "sharing", nil).producer(t, topic)
	shared := func(consumers ...string) {
		t.Helper()
		want := assigned(name, consumers, zkcoord.AssignRanges)
		eventually(t, fmt.Sprintf("owners are %v", want), func() bool { return maps.Equal(s.owners(t, name, topic), want) })
	}
	received := func(sent []message) {
		t.Helper()
		eventually(t, "everything is received", func() bool {
			a, _ := one.given("a")
			b, _ := two.given("b")
			c, _ := three.given("c")
			return holds(slices.Concat(a, b, c), sent)
		})
	}

	one.consume(t, "a", name, topic, nil)
	shared("a")
	two.consume(t, "b", name, topic, nil)
	shared("a", "b")
	received(p.sendMany(t, "two members", 40))
	a, _ := one.given("a")
	b, _ := two.given("b")
	checkExactly(t, slices.Concat(a, b), p.sent)
	for _, d := range b {
		if d.Message.Partition[0] != '1' {
			t.Errorf("b was given %q of %s, which is a's", d.Message.text(), d.Message.Partition)
		}
	}

	three.consume(t, "c", name, topic, nil)
	p.sendMany(t, "one joins", 40)
	shared("a", "b", "c")
	received(p.sendMany(t, "three members", 40))

	killed.kill()
	p.sendMany(t, "one is killed", 40)
	shared("a", "c")
	received(p.sendMany(t, "without it", 40))

	one.do(t, "close", args{"name": "a"})
	shared("c")
	p.sendMany(t, "one has left", 40)
	received(p.sent)
}

// The other strategy of the client, consistent hashing, gives what ours gives.
func hashed(t *testing.T, s *stage, topic string) {
	const name = "hashers"
	one, two := s.open(t, s.agent, "plain", "hashing one", nil), s.open(t, s.second, "plain", "hashing two", nil)
	one.consume(t, "hashing-a", name, topic, args{"hash": true})
	two.consume(t, "hashing-b", name, topic, args{"hash": true})
	want := assigned(name, []string{"hashing-a", "hashing-b"}, zkcoord.AssignByHash)
	eventually(t, fmt.Sprintf("owners are %v", want), func() bool { return maps.Equal(s.owners(t, name, topic), want) })
}

// Each machine of a broadcast group is given each message, and keeps its own offsets in a file.
func broadcast(t *testing.T, s *stage, topic string) {
	p := s.open(t, s.agent, "plain", "broadcasting", nil).producer(t, topic)
	machines := []*client{s.open(t, s.agent, "broadcast", "broadcast", nil), s.open(t, s.second, "broadcast", "broadcast", nil)}
	for _, c := range machines {
		c.consume(t, "listener", "listeners", topic, args{"offsets": "broadcast"})
	}
	first := p.sendMany(t, "to all", 20)
	for i, c := range machines {
		checkExactly(t, c.await(t, "listener", "everything is received", func(list []delivery) bool { return holds(list, first) }), first)
		group := fmt.Sprintf("listeners-10-0-0-%d", i+1)
		if owners := s.owners(t, group, topic); len(owners) != len(allPartitions) {
			t.Errorf("%s: owners %v", group, owners)
		}
		if offsets := s.offsets(t, group, topic); len(offsets) > 0 {
			t.Errorf("%s: offsets in ZooKeeper %v", group, offsets)
		}
		eventually(t, "the offsets are in the machine's file", func() bool {
			return maps.Equal(offsetsOfFile(t, filepath.Join(c.home, ".meta_offsets"), group), p.ends)
		})
	}
	machines[1].do(t, "close", args{"name": "listener"})
	later := p.sendMany(t, "to all again", 20)
	machines[0].await(t, "listener", "what was sent later is received", func(list []delivery) bool { return holds(list, later) })
	machines[1].consume(t, "listener again", "listeners", topic, args{"offsets": "broadcast"})
	checkExactly(t, machines[1].await(t, "listener again", "what was sent later is received", func(list []delivery) bool { return holds(list, later) }), later)
}

// offsetsOfFile are those of a group in a file of the client, which may not be there yet.
func offsetsOfFile(t *testing.T, name, group string) map[string]int64 {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var groups map[string][]struct {
		Partition struct{ BrokerID, Partition int }
		Offset    int64
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &groups); err != nil {
			t.Fatalf("%s: %v in %s", name, err, text)
		}
	}
	offsets := map[string]int64{}
	for _, o := range groups[group] {
		offsets[fmt.Sprintf("%d-%d", o.Partition.BrokerID, o.Partition.Partition)] = o.Offset
	}
	return offsets
}

// A handler that fails gets its message a few times, then that lies in a file while the others go on, and comes again, also in the next process.
func recoverFailed(t *testing.T, s *stage, topic string) {
	const poison = "poison"
	p := s.open(t, s.agent, "plain", "recovering", nil).producer(t, topic)
	home := t.TempDir()
	failing := s.start(t, home)
	c := s.open(t, failing, "plain", "before the restart", args{"recoverEvery": 300})
	c.consume(t, "failing", "failers", topic, args{"retries": 2, "failOn": poison})
	p.sendMany(t, "before", 8)
	p.send(t, []byte(poison), "")
	p.sendMany(t, "behind", 8)
	sound := slices.DeleteFunc(slices.Clone(p.sent), func(m message) bool { return m.text() == poison })
	failing.await(t, "failing", "all others are received", func(list []delivery) bool { return holds(list, sound) })
	eventually(t, "the group has gone on", func() bool { return maps.Equal(s.offsets(t, "failers", topic), p.ends) })
	before := failures(failing, "failing")
	if before < 3 {
		t.Errorf("the message was tried %d times before the group went on", before)
	}
	failing.await(t, "failing", "the message comes again from the file", func([]delivery) bool { return failures(failing, "failing") > before })
	failing.do(t, "close", args{"name": "failing"})
	failing.do(t, "close", args{"name": c.name})
	failing.kill()

	mended := s.start(t, home)
	s.open(t, mended, "plain", "after the restart", args{"recoverEvery": 300}).consume(t, "mended", "failers", topic, nil)
	list := mended.await(t, "mended", "the message comes once more", func(list []delivery) bool { return len(list) > 0 })
	checkExactly(t, list, slices.DeleteFunc(slices.Clone(p.sent), func(m message) bool { return m.text() != poison }))
}

func failures(a *agent, consumer string) (n int) {
	list, _ := a.given(consumer)
	for _, d := range list {
		if d.Failed {
			n++
		}
	}
	return n
}

// What a program fetches itself, from a partition and an offset, and what the topic browser shows.
func fetch(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.second, "plain", "fetch", nil)
	p := c.producer(t, topic)
	p.sendMany(t, "message", 40)
	if names := c.do(t, "partitions", args{"factory": c.name, "topic": topic}).Partitions; !slices.Equal(names, allPartitions) {
		t.Errorf("partitions %q", names)
	}
	for _, partition := range allPartitions {
		var want, got []string
		for _, m := range p.sent {
			if m.Partition == partition {
				want = append(want, m.text())
			}
		}
		var offset int64
		for {
			r := c.do(t, "fetch", args{"factory": c.name, "topic": topic, "partition": partition, "offset": offset, "maxSize": 100})
			if r.Next == offset {
				break
			}
			for _, m := range r.Messages {
				got = append(got, m.text())
			}
			offset = r.Next
		}
		if !slices.Equal(got, want) || offset != p.ends[partition] {
			t.Errorf("%s: fetched %q up to %d, want %q up to %d", partition, got, offset, want, p.ends[partition])
		}
	}
	var browsed []delivery
	for _, m := range c.do(t, "browse", args{"factory": c.name, "topic": topic}).Messages {
		i := slices.IndexFunc(p.sent, func(sent message) bool { return sent.ID == m.ID })
		if i >= 0 && m.Partition == "" {
			m.Partition = p.sent[i].Partition // the browser does not tell it
		}
		browsed = append(browsed, delivery{Consumer: "the browser", Message: m})
	}
	checkExactly(t, browsed, p.sent)
}

// resumesFrom checks that a consumer goes on where another one has left its offsets, outside of ZooKeeper.
func resumesFrom(t *testing.T, s *stage, c *client, topic, group string, with args, kept func(ends map[string]int64) bool) {
	t.Helper()
	p := c.producer(t, topic)
	one := p.sendMany(t, "one", 12)
	c.consume(t, group+" one", group, topic, with)
	checkExactly(t, c.await(t, group+" one", "the first messages are received", func(list []delivery) bool { return holds(list, one) }), one)
	eventually(t, "the offsets are kept", func() bool { return kept(p.ends) })
	c.do(t, "close", args{"name": group + " one"})
	two := p.sendMany(t, "two", 12)
	c.consume(t, group+" two", group, topic, with)
	checkExactly(t, c.await(t, group+" two", "the second messages are received", func(list []delivery) bool { return holds(list, two) }), two)
	eventually(t, "the offsets are kept", func() bool { return kept(p.ends) })
	if offsets := s.offsets(t, group, topic); len(offsets) > 0 {
		t.Errorf("offsets in ZooKeeper: %v", offsets)
	}
}

func offsetsInFile(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.agent, "plain", "filing", nil)
	file := filepath.Join(t.TempDir(), "offsets")
	resumesFrom(t, s, c, topic, "filers", args{"offsets": "file", "folder": file}, func(ends map[string]int64) bool {
		return maps.Equal(offsetsOfFile(t, file, "filers"), ends)
	})
}

func offsetsInDatabase(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.agent, "plain", "storing", nil)
	folder := filepath.Join(t.TempDir(), "derby")
	c.do(t, "create-offsets", args{"folder": folder, "topic": topic, "group": "storers", "partitions": allPartitions})
	resumesFrom(t, s, c, topic, "storers", args{"offsets": "database", "folder": folder}, func(ends map[string]int64) bool {
		return maps.Equal(c.do(t, "offsets", args{"folder": folder, "topic": topic, "group": "storers"}).Offsets, ends)
	})
}

// The client asks each broker that it is connected to.
func stats(t *testing.T, s *stage, topic string) {
	c := s.open(t, s.second, "plain", "stats", nil)
	p := c.producer(t, topic)
	p.sendMany(t, "message", 8)
	brokers := c.do(t, "stats", args{"factory": c.name}).Brokers
	of := c.do(t, "stats", args{"factory": c.name, "item": topic}).Brokers
	for _, b := range s.brokers {
		if got := brokers[b.Addr]["broker_id"]; got != fmt.Sprint(b.id) {
			t.Errorf("broker %d at %s calls itself %q in %v", b.id, b.Addr, got, brokers)
		}
		if got := of[b.Addr]["message_count"]; got != "4" {
			t.Errorf("broker %d has %q messages of %s in %v", b.id, got, topic, of)
		}
	}
}
