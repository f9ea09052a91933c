//go:build linux

package spout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/test/process"
	"github.com/metaq/metaq/test/zookeeper"
	"github.com/metaq/metaq/tools/spout"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// send stores messages in t, and returns the offsets behind them.
func send(t *testing.T, addr string, messages ...client.Message) (ends []int64) {
	t.Helper()
	p, err := client.NewProducer(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(testContext(t))
	for _, m := range messages {
		m.Topic = "t"
		r, err := p.SendMessage(testContext(t), m)
		if err != nil {
			t.Fatal(err)
		}
		size := protocol.RecordHeader + len(m.Body)
		if m.Attribute != "" {
			size += 4 + len(m.Attribute)
		}
		ends = append(ends, r.Offset+int64(size))
	}
	return ends
}

func numbered(n int) (list []client.Message) {
	for i := range n {
		list = append(list, client.Message{Body: fmt.Append(nil, i)})
	}
	return list
}

// offset is what the broker keeps for the group in partition 0 of t; -1: nothing.
func offset(t *testing.T, addr string) int64 {
	t.Helper()
	conn := dial(t, addr)
	defer conn.Close()
	offset, err := conn.Committed(testContext(t), "t", "g", 0)
	if status := (*client.StatusError)(nil); errors.As(err, &status) && status.Status == protocol.StatusNotFound {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	return offset
}

func dial(t *testing.T, addr string) *client.Conn {
	t.Helper()
	conn, err := client.Dial(testContext(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// stored are the messages of a topic.
func stored(t *testing.T, addr, topic string) (list []client.Received) {
	t.Helper()
	b, err := client.OpenBrowser(testContext(t), addr, topic)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for m, err := range b.Messages(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// Tuples come in order and are acknowledged in another. What is committed is what is acknowledged without a gap, also when Storm goes away.
func TestSpout_CommitsTheLowestUnacknowledged(t *testing.T) {
	b := metaqtest.Start(t)
	ends := send(t, b.Addr, numbered(5)...)
	f := startSpout(t, options(b.Addr), nil)
	f.do("activate", "")
	tuples := f.tuples(5)
	for i, s := range tuples {
		if s.text(t, 0) != fmt.Sprint(i) || !strings.HasPrefix(s.ID, "t:0-0:") {
			t.Errorf("tuple %d is %s %s", i, s.ID, s.Tuple)
		}
	}
	f.do("ack", tuples[1].ID)
	f.do("ack", tuples[0].ID)
	f.do("ack", tuples[3].ID)
	f.do("ack", "t:0-0:4711#1") // of nobody
	f.until("two are committed", func() bool { return offset(t, b.Addr) == ends[1] })
	f.do("ack", tuples[2].ID)
	f.end()
	if got := offset(t, b.Addr); got != ends[3] {
		t.Errorf("when Storm is gone %d is committed, want %d", got, ends[3])
	}
	again := startSpout(t, options(b.Addr), nil)
	if s := again.tuples(1)[0]; s.text(t, 0) != "4" {
		t.Errorf("the next spout begins with %s, want the one that was not acknowledged", s.Tuple)
	}
}

// A message that fails comes again after a pause, and after its tries is in the dead-letter topic, with where it came from, before the offset moves.
func TestSpout_DeadLetter(t *testing.T) {
	b := metaqtest.Start(t)
	conn := dial(t, b.Addr)
	defer conn.Close()
	send(t, b.Addr, client.Message{Body: []byte("poison"), Attribute: "red"}, client.Message{Body: []byte("good")})
	p, err := client.NewProducer(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(testContext(t))
	if _, err := p.Send(testContext(t), "t.dead", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := conn.ClosePartitions(testContext(t), "t.dead", 0, 0); err != nil {
		t.Fatal(err)
	}
	f := startSpout(t, options(b.Addr), nil)
	var seen []string
	for len(seen) < 4 { // one of good, and three of poison
		for _, s := range f.tuples(1) {
			seen = append(seen, s.text(t, 0)+s.ID[strings.IndexByte(s.ID, '#'):])
			if s.text(t, 0) == "good" {
				f.do("ack", s.ID)
			} else {
				f.do("fail", s.ID)
			}
		}
	}
	if got := strings.Join(seen, " "); got != "poison#1 good#1 poison#2 poison#3" {
		t.Errorf("tuples %s", got)
	}
	f.until("the spout says that the dead-letter topic does not take it", func() bool {
		return strings.Contains(strings.Join(f.logs, "\n"), "cannot be sent to the dead-letter topic")
	})
	if got := offset(t, b.Addr); got > 0 {
		t.Errorf("%d is committed, and nobody has the message", got)
	}
	if err := conn.OpenPartitions(testContext(t), "t.dead", 0, 0); err != nil {
		t.Fatal(err)
	}
	f.until("the group has gone on", func() bool { return offset(t, b.Addr) > 0 })
	dead := stored(t, b.Addr, "t.dead")
	if len(dead) != 2 || string(dead[1].Body) != "poison" {
		t.Fatalf("the dead-letter topic has %v", dead)
	}
	var letter map[string]any
	if err := json.Unmarshal([]byte(dead[1].Attribute), &letter); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"topic": "t", "partition": "0-0", "offset": 0.0, "attribute": "red", "group": "g", "tries": 3.0, "error": "it failed in the topology"} {
		if letter[key] != want {
			t.Errorf("the letter has %s = %v, want %v", key, letter[key], want)
		}
	}
}

// A message as large as the broker takes them goes to the dead-letter topic without what would make it larger.
func TestSpout_DeadLetterOfTheLargestMessage(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("maxMessageSize", "4096"))
	size := 4096
	for ; ; size-- { // what the limit counts is the broker's business
		conn := dial(t, b.Addr)
		_, err := conn.Put(testContext(t), client.Message{Topic: "t", Partition: client.At(0), Body: bytes.Repeat([]byte{0xff}, size)})
		conn.Close()
		if err == nil {
			break
		}
	}
	f := startSpout(t, options(b.Addr), nil)
	f.until("the group has gone on", func() bool { return offset(t, b.Addr) > 0 })
	if dead := stored(t, b.Addr, "t.dead"); len(dead) != 1 || len(dead[0].Body) != size || dead[0].Attribute != "" {
		t.Errorf("the dead-letter topic has %d messages", len(dead))
	}
}

// When Storm never answers for a tuple it comes again; after its tries it is in the dead-letter topic.
func TestSpout_StormNeverAnswers(t *testing.T) {
	b := metaqtest.Start(t)
	ends := send(t, b.Addr, numbered(2)...)
	f := startSpout(t, options(b.Addr), map[string]any{"topology.message.timeout.secs": 0.1})
	began := time.Now()
	f.tuples(2)
	again := f.tuples(2)
	if d := time.Since(began); d < 200*time.Millisecond {
		t.Errorf("again after %s, want twice the time-out of the topology", d)
	}
	f.do("ack", again[0].ID)
	f.tuples(1)
	f.until("both are done", func() bool { return offset(t, b.Addr) == ends[1] })
	if dead := stored(t, b.Addr, "t.dead"); len(dead) != 1 || !strings.Contains(dead[0].Attribute, "no answer") {
		t.Errorf("the dead-letter topic has %v", dead)
	}
}

// A topology without time-outs may take as long as it likes.
func TestSpout_TopologyWithoutTimeouts(t *testing.T) {
	b := metaqtest.Start(t)
	send(t, b.Addr, numbered(1)...)
	f := startSpout(t, options(b.Addr), map[string]any{"topology.message.timeout.secs": 0.05, "topology.enable.message.timeouts": false})
	f.tuples(1)
	over := time.Now().Add(500 * time.Millisecond)
	f.until("ten time-outs are over", func() bool { return time.Now().After(over) })
}

// Storm has as many tuples as it wants at most, and no more of a partition than the options say.
func TestSpout_Bounds(t *testing.T) {
	b := metaqtest.Start(t)
	send(t, b.Addr, numbered(60)...)
	for _, c := range []struct {
		name    string
		pending any
		flight  int
		want    int
	}{{"topology.max.spout.pending", 7, 100, 7}, {"in flight", nil, 9, 9}} {
		o := options(b.Addr)
		o.InFlight = c.flight
		f := startSpout(t, o, map[string]any{"topology.max.spout.pending": c.pending})
		list := f.tuples(c.want)
		soon := time.Now().Add(100 * time.Millisecond)
		f.until("it is quiet for a while", func() bool { return time.Now().After(soon) })
		if len(list) != c.want {
			t.Errorf("%s: %d tuples, want %d", c.name, len(list), c.want)
		}
		f.do("ack", list[3].ID)
		if more := f.tuples(1); len(more) != 1 {
			t.Errorf("%s: %d tuples after one was acknowledged", c.name, len(more))
		}
		f.end()
	}
}

// Of large messages there are fewer in hand than may be.
func TestSpout_BytesAreBounded(t *testing.T) {
	const size, messages, most = 1 << 20, 80, 64
	b := metaqtest.Start(t, metaqtest.Set("logSegmentSize", "32M"))
	body := bytes.Repeat([]byte("x"), size)
	for range messages {
		send(t, b.Addr, client.Message{Body: body})
	}
	f := startSpout(t, options(b.Addr), nil)
	list := f.tuples(most)
	soon := time.Now().Add(200 * time.Millisecond)
	f.until("it is quiet for a while", func() bool { return time.Now().After(soon) })
	if len(list) > most {
		t.Fatalf("%d messages of %d bytes are in hand, want %d", len(list), size, most)
	}
	f.do("ack", list[0].ID)
	f.tuples(1)
}

// Commands are answered in time while the broker stands still, is dead, and while there is none at all.
func TestSpout_HeartbeatsWithoutBroker(t *testing.T) {
	b := process.Start(t, process.Options{})
	ends := send(t, b.Addr, numbered(3)...)
	f := startSpout(t, options(b.Addr), nil)
	next := func(times int) {
		for range times {
			for _, s := range f.do("next", "") {
				f.do("ack", s.ID)
			}
		}
	}
	tuples := f.tuples(3)
	b.Signal(t, syscall.SIGSTOP)
	f.do("ack", tuples[0].ID)
	f.do("ack", tuples[1].ID)
	f.do("fail", tuples[2].ID)
	f.do("deactivate", "")
	f.do("activate", "")
	next(20)
	b.Signal(t, syscall.SIGCONT)
	b.Kill(t)
	next(20)
	b.Restart(t)
	for bound := time.Now().Add(patience); offset(t, b.Addr) != ends[2]; next(1) {
		if time.Now().After(bound) {
			t.Fatalf("not everything is committed in %s; the spout says %q", patience, f.logs)
		}
	}
}

// A topology that is deactivated gives up what it has, and goes on there.
func TestSpout_Deactivate(t *testing.T) {
	b := metaqtest.Start(t)
	ends := send(t, b.Addr, numbered(4)...)
	f := startSpout(t, options(b.Addr), map[string]any{"topology.max.spout.pending": 2})
	tuples := f.tuples(2)
	f.do("deactivate", "")
	began := time.Now()
	f.do("ack", tuples[0].ID) // Storm goes on with what it has
	f.do("ack", tuples[1].ID)
	f.do("activate", "")
	list := f.tuples(2)
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("it goes on after %s, and waits for nothing", d)
	}
	for i, s := range list {
		if s.text(t, 0) != fmt.Sprint(i+2) {
			t.Errorf("tuple %s, want message %d", s.Tuple, i+2)
		}
		f.do("ack", s.ID)
	}
	f.until("everything is committed", func() bool { return offset(t, b.Addr) == ends[3] })
}

func TestSpout_Schemes(t *testing.T) {
	b := metaqtest.Start(t)
	deep := strings.Repeat("[", 300) + strings.Repeat("]", 300)
	send(t, b.Addr, client.Message{Body: []byte(`{"a": {"b": [1, 12345678901234567890]}, "end": "x\nend\n"}`), Attribute: "tag"}, client.Message{Body: []byte(deep)},
		client.Message{Body: []byte("[1]")}, client.Message{Body: []byte("[" + strings.Repeat("1", 5000) + "]"), Attribute: "digits"}, client.Message{Body: []byte("{")}, client.Message{Body: []byte{0xff}}, client.Message{Body: []byte("{}")})
	for _, c := range []struct {
		group, scheme string
		fields        []string
		want          []string
	}{
		{"json", "json", []string{"message"}, []string{`[{"a":{"b":[1,12345678901234567890]},"end":"x\nend\n"}]`, `[[1]]`, `[{}]`}},
		{"picked", "json", []string{".a", "attribute", ".none"}, []string{`[{"b":[1,12345678901234567890]},"tag",null]`, `[null,"",null]`}},
		{"text", "string", []string{"partition", "message", "topic"}, []string{`["0-0","{\"a\": {\"b\": [1, 12345678901234567890]}, \"end\": \"x\\nend\\n\"}","t"]`, `["0-0","` + deep + `","t"]`, `["0-0","[1]","t"]`, "", `["0-0","{","t"]`, `["0-0","{}","t"]`}},
		{"bytes", "raw", []string{"message"}, []string{`["eyJhIjogeyJiIjogWzEsIDEyMzQ1Njc4OTAxMjM0NTY3ODkwXX0sICJlbmQiOiAieFxuZW5kXG4ifQ=="]`, "", `["WzFd"]`, "", `["ew=="]`, `["/w=="]`, `["e30="]`}},
	} {
		o := options(b.Addr)
		o.Group, o.Tuples, o.Dead = c.group, spout.Tuples{Scheme: c.scheme, Fields: c.fields}, c.group+".dead"
		f := startSpout(t, o, nil)
		list := f.tuples(len(c.want))
		for i, s := range list {
			got, err := json.Marshal(s.Tuple)
			if err != nil {
				t.Fatal(err)
			}
			if i >= len(c.want) || c.want[i] != "" && string(got) != c.want[i] {
				t.Errorf("%s: tuple %d is %.200s", c.group, i, got)
			}
			f.do("ack", s.ID)
		}
		if dead := 7 - len(c.want); dead > 0 {
			f.until("the rest is in the dead-letter topic", func() bool { return strings.Count(strings.Join(f.logs, "\n"), "went to the dead-letter topic") == dead })
			if n := len(stored(t, b.Addr, o.Dead)); n != dead {
				t.Errorf("%s: %d dead letters, want %d", c.group, n, dead)
			}
		}
		f.end()
	}
}

// The counts go to a metric of the topology.
func TestSpout_Metric(t *testing.T) {
	b := metaqtest.Start(t)
	o := options(b.Addr)
	o.Metric = "metaq"
	f := startSpout(t, o, nil)
	f.write(map[string]string{"command": "next"})
	if s := f.next(heartbeat); s.Command != "metrics" || s.Name != "metaq" {
		t.Errorf("the spout says %+v, want a metric", s)
	}
	if s := f.next(heartbeat); s.Command != "sync" {
		t.Errorf("the spout says %+v, want a sync", s)
	}
}

// Storm never answers for what it has of a partition, and that partition still goes to another spout of the group, which emits the tuples. What is answered for in
// time counts.
func TestSpout_Rebalance(t *testing.T) {
	z := zookeeper.Start(t)
	b := metaqtest.Start(t, metaqtest.Set("brokerId", "0"), metaqtest.Set("zk.zkConnect", z.Addr), metaqtest.Set("numPartitions", "2"), metaqtest.Set("topic.t.numPartitions", "2"))
	for i := range 20 {
		conn := dial(t, b.Addr)
		if _, err := conn.Put(testContext(t), client.Message{Topic: "t", Partition: client.At(int32(i % 2)), Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	o := options("zk://" + z.Addr)
	one := startSpout(t, o, nil)
	has := map[string]said{}
	for _, s := range one.tuples(20) {
		has[s.text(t, 0)] = s
	}
	two := startSpout(t, o, nil)
	got, acked := map[string]bool{}, false
	for bound := time.Now().Add(patience); len(got) < 10; {
		for _, s := range two.do("next", "") {
			got[s.text(t, 0)] = true
			two.do("ack", s.ID)
		}
		if !acked {
			// Whichever partition goes: the first of each is done before it does.
			one.do("ack", has["0"].ID)
			one.do("ack", has["1"].ID)
			acked = true
		}
		one.do("ack", "of nobody")
		if time.Now().After(bound) {
			break
		}
		if len(got) == 9 && !got["0"] && !got["1"] {
			break
		}
	}
	if len(got) != 9 || got["0"] || got["1"] {
		t.Errorf("the second spout was given %v; want one partition but for its first message", got)
	}
}

// reads is an input that says when it is read from, and on which nothing comes.
type reads struct {
	begins func()
	gone   <-chan struct{}
}

func (r reads) Read([]byte) (int, error) {
	r.begins()
	<-r.gone
	return 0, io.EOF
}

// Who types the command in, to see what it does, can interrupt it.
func TestSpout_EndsWithoutStorm(t *testing.T) {
	b := metaqtest.Start(t)
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() { ended <- spout.Run(ctx, reads{cancel, t.Context().Done()}, io.Discard, options(b.Addr)) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it waits for a first message of Storm although it is to end")
	}
}

func TestSpout_StormThatIsNone(t *testing.T) {
	b := metaqtest.Start(t)
	for _, c := range []struct{ in, want string }{
		{"", "ShellSpout"},
		{"hello\nend\n", "not understood"},
		{`{"pidDir": "/not/there"}` + "\nend\n", "pidDir"},
		{`{"context": {"taskid": 2, "task->component": {"1": "bolt", "2": "s", "3": "s"}}}` + "\nend\n", "parallelism"},
		{`{"conf": {}}` + "\nend\n" + "hello\nend\n", "not understood"},
		{`{"conf": {}}` + "\nend\n" + `{"command": "next"`, "unexpected EOF"},
	} {
		err := spout.Run(testContext(t), strings.NewReader(c.in), io.Discard, options(b.Addr))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error with %q", c.in, err, c.want)
		}
	}
}
