package interop

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/metaq/metaq/zkcoord"
)

// What the Java client was put to, put to the Python client, and what it adds. Those of one cluster do not disturb each other.
var inPython = []scenario{
	{"send-and-receive", sendAndReceive},
	{"large", large},
	{"callbacks", callbacks},
	{"resume", resume},
	{"newest", newest},
	{"group", group},
	{"hash", hashed},
	{"broadcast", broadcastInPython},
	{"offsets-file", offsetsInFile},
	{"stopped", stoppedProcess},
}

// mixtures are groups with members in Java, Go and Python. first stays and leaves, the other one is killed.
var mixtures = []struct {
	topic         string
	first, killed func(t testing.TB, home string) *agent
}{
	{"mixed-java-first", startJava, pythonStarts(blocking)},
	{"mixed-blocking-first", pythonStarts(blocking), startJava},
	{"mixed-asyncio-first", pythonStarts(asyncio), pythonStarts(blocking)},
}

func TestPythonClient(t *testing.T) {
	faces := []string{blocking, asyncio}
	var topics []string
	for _, face := range faces {
		for _, sc := range inPython {
			topics = append(topics, sc.name+"-"+face)
		}
	}
	for _, m := range mixtures {
		topics = append(topics, m.topic)
	}
	c := startCluster(t, append(topics, "broker-away", "silent", "empty"))
	for _, face := range faces { // one after the other, because the names of groups are the same
		t.Run(face, func(t *testing.T) {
			start := pythonStarts(face)
			s := &stage{cluster: c, agent: start(t, t.TempDir()), second: start(t, t.TempDir()), start: start}
			for _, sc := range inPython {
				t.Run(sc.name, func(t *testing.T) {
					t.Parallel()
					sc.play(t, s, sc.name+"-"+face)
				})
			}
		})
	}
	t.Run("mixed", func(t *testing.T) {
		for _, m := range mixtures {
			t.Run(m.topic, func(t *testing.T) {
				t.Parallel()
				s := &stage{cluster: c, agent: m.first(t, t.TempDir()), second: pythonStarts(asyncio)(t, t.TempDir()), start: m.killed}
				mixed(t, s, m.topic)
			})
		}
	})
	// One by one, because they take a broker or ZooKeeper away.
	s := &stage{cluster: c, agent: pythonStarts(blocking)(t, t.TempDir()), second: pythonStarts(asyncio)(t, t.TempDir())}
	t.Run("broker-away", func(t *testing.T) { brokerAway(t, s, "broker-away") })
	t.Run("silent", func(t *testing.T) { silentZooKeeper(t, s, "silent") })
	t.Run("empty", func(t *testing.T) { emptyZooKeeper(t, s, "empty") })
}

// A consumer's process is stopped in the middle of many messages that it has got already, for longer than its session lasts, and goes on when its partitions are somebody
// else's: it looks at the clock before it hands over the next one.
func stoppedProcess(t *testing.T, s *stage, topic string) {
	const messages = 400
	group, stopped := "stoppers-"+topic, s.start(t, t.TempDir())
	p := s.open(t, s.agent, "plain", topic, nil).producer(t, topic)
	one := s.open(t, stopped, "plain", "one", nil)
	p.sendMany(t, "message", messages)
	one.consume(t, "a", group, topic, args{"pause": 20})
	one.await(t, "a", "it has begun", func(list []delivery) bool { return len(list) >= 40 })
	if err := stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	other := s.open(t, s.second, "plain", topic+" other", nil)
	other.consume(t, topic+"-b", group, topic, nil)
	other.await(t, topic+"-b", "the other one is given everything that the first was not", func(others []delivery) bool {
		first, _ := one.given("a")
		return holds(slices.Concat(first, others), p.sent)
	})
	before, _ := one.given("a")
	if len(before) == messages {
		t.Fatal("it was given everything before it was stopped")
	}
	if err := stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	want := assigned(group, []string{"a", topic + "-b"}, zkcoord.AssignRanges)
	eventually(t, fmt.Sprintf("they share: %v", want), func() bool { return maps.Equal(s.owners(t, group, topic), want) })
	again := p.sendMany(t, "later", 40)
	eventually(t, "what came later is received", func() bool {
		a, _ := one.given("a")
		b, _ := other.given(topic + "-b")
		return holds(slices.Concat(a, b), again)
	})
	after, _ := one.given("a")
	for _, d := range after[len(before):] {
		if !slices.ContainsFunc(again, func(m message) bool { return m.ID == d.Message.ID }) {
			t.Fatalf("it was given %q, which was the other one's by then", d.Message.text())
		}
	}
}

// Broadcast consumers read everything, each for itself, and go on where their own file says.
func broadcastInPython(t *testing.T, s *stage, topic string) {
	const group = "listeners"
	c := s.open(t, s.agent, "plain", "broadcasting", nil)
	p := c.producer(t, topic)
	files := []string{filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")}
	listen := func(name, file string, want []message) {
		t.Helper()
		c.consume(t, name, group, topic, args{"offsets": "broadcast", "folder": file})
		checkExactly(t, c.await(t, name, "everything is received", func(list []delivery) bool { return holds(list, want) }), want)
		eventually(t, "the offsets are in the file", func() bool { return maps.Equal(offsetsOfFile(t, file, group), p.ends) })
	}
	early := p.sendMany(t, "early", 40)
	listen("listener one", files[0], early)
	listen("listener two", files[1], early)
	if members, offsets := s.children(t, zkcoord.DefaultRoot.Members(group)), s.offsets(t, group, topic); len(members)+len(offsets) > 0 {
		t.Errorf("in ZooKeeper are members %q and offsets %v", members, offsets)
	}
	c.do(t, "close", args{"name": "listener two"})
	later := p.sendMany(t, "later", 40)
	c.await(t, "listener one", "what was sent later is received", func(list []delivery) bool { return holds(list, later) })
	listen("listener two again", files[1], later)
}

// A pair are two members of a group in Python, one of each face, which share the partitions of a topic.
type pair struct {
	*stage
	group, topic string
	one, two     *client
	producer     *producer
}

func (s *stage) pair(t *testing.T, topic string) *pair {
	t.Helper()
	p := &pair{s, "pair-" + topic, topic, s.open(t, s.agent, "plain", topic+" one", nil), s.open(t, s.second, "plain", topic+" two", nil), nil}
	p.producer = p.two.producer(t, topic)
	p.one.consume(t, topic+"-a", p.group, topic, nil)
	p.two.consume(t, topic+"-b", p.group, topic, nil)
	p.shared(t)
	return p
}

// shared waits until each has its half.
func (p *pair) shared(t *testing.T) {
	t.Helper()
	want := assigned(p.group, []string{p.topic + "-a", p.topic + "-b"}, zkcoord.AssignRanges)
	eventually(t, fmt.Sprintf("owners are %v", want), func() bool { return maps.Equal(p.owners(t, p.group, p.topic), want) })
}

func (p *pair) given() []delivery {
	a, _ := p.one.given(p.topic + "-a")
	b, _ := p.two.given(p.topic + "-b")
	return slices.Concat(a, b)
}

// received waits until everything that was sent was given to one of them, and checks that each message was given once.
func (p *pair) received(t *testing.T) {
	t.Helper()
	eventually(t, "everything is received", func() bool { return holds(p.given(), p.producer.sent) })
	checkExactly(t, p.given(), p.producer.sent)
	eventually(t, "the offsets are behind the last messages", func() bool { return maps.Equal(p.offsets(t, p.group, p.topic), p.producer.ends) })
}

// ZooKeeper says nothing for a while. Producers go on; members of a group hand over nothing before their session can be over, and go on later.
func silentZooKeeper(t *testing.T, s *stage, topic string) {
	p := s.pair(t, topic)
	p.producer.sendMany(t, "before", 20)
	p.received(t)
	s.zookeeper.Pause(t)
	before, inARow := len(p.given()), 0
	eventually(t, "nothing is handed over any more", func() bool {
		p.producer.sendMany(t, "silent", 4)
		if now := len(p.given()); now == before {
			inARow++
		} else {
			before, inARow = now, 0
		}
		return inARow >= 10
	})
	s.zookeeper.Resume(t)
	p.shared(t)
	p.producer.sendMany(t, "after", 20)
	eventually(t, "everything is received", func() bool { return holds(p.given(), p.producer.sent) })
	eventually(t, "the offsets are behind the last messages", func() bool { return maps.Equal(p.offsets(t, p.group, p.topic), p.producer.ends) })
}

// ZooKeeper is set up empty while a group runs: it goes on where it was, and its offsets are there again.
func emptyZooKeeper(t *testing.T, s *stage, topic string) {
	p := s.pair(t, topic)
	p.producer.sendMany(t, "before", 40)
	p.received(t)
	s.zookeeper.Kill(t)
	s.zookeeper.Empty(t)
	s.zookeeper.Restart(t)
	p.shared(t)
	p.producer.sendMany(t, "after", 40)
	p.received(t)
}
