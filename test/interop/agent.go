package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const (
	// patience bounds every wait of a test.
	patience = 60 * time.Second
	// logShown is how much of what the other side said a failed test prints, in bytes.
	logShown = 8 << 10
)

// args are what a command of the Agent needs, see java/.../Commands.java.
type args map[string]any

// message is one as a client hands it out.
type message struct {
	Topic     string
	ID        int64
	Partition string
	Attribute string
	Data      []byte
}

func (m message) text() string { return string(m.Data) }

// reply is what a command is answered with: some of these, by its verb.
type reply struct {
	Number int
	Error  string // what the client has thrown

	Success    bool
	Partition  string
	Offset, ID int64
	Text       string // of a SendResult

	Messages   []message
	Next       int64
	Partitions []string
	Offsets    map[string]int64
	Brokers    map[string]map[string]string
}

// delivery is a message that a handler was given.
type delivery struct {
	Consumer string
	Failed   bool
	Message  message
}

// An agent is a process with a client in it, in Java or Python.
type agent struct {
	home   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	exited chan struct{}

	mu         sync.Mutex
	sent       int
	waiting    map[int]chan reply
	deliveries []delivery
	changed    chan struct{} // closed when there are more deliveries
	strange    []string      // lines that are neither
}

// opened are the packages that the client reaches into, which a JDK since 17 keeps shut.
var opened = []string{"java.base/java.lang", "java.base/java.nio", "java.base/sun.nio.ch", "java.base/java.util"}

// startJava runs an agent in Java. home is what it takes for the user's home, where the client keeps files. It ends with the test.
func startJava(t testing.TB, home string) *agent {
	t.Helper()
	line := []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.home=" + home, "-Dmeta.recover.path=" + filepath.Join(home, "recover"),
		"-Dmeta.localmessage.path=" + filepath.Join(home, "unsent"), "-Dderby.stream.error.file=" + filepath.Join(home, "derby.log")}
	for _, p := range opened {
		line = append(line, "--add-opens", p+"=ALL-UNNAMED")
	}
	return startAgent(t, home, exec.Command("java", append(line, "-cp", classPath(t), "com.github.metaq.interop.Agent")...))
}

// startAgent runs the command of an agent.
func startAgent(t testing.TB, home string, cmd *exec.Cmd) *agent {
	t.Helper()
	a := &agent{home: home, cmd: cmd, waiting: map[int]chan reply{}, changed: make(chan struct{}), exited: make(chan struct{})}
	log, err := os.OpenFile(a.logName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	a.cmd.Stderr = log
	in, err := a.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.in = in
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v (scripts/test-setup.sh installs it)", a.cmd.Path, err)
	}
	go a.read(out)
	t.Cleanup(func() { a.kill() })
	a.tellIfFailed(t)
	return a
}

func (a *agent) logName() string { return filepath.Join(a.home, "log") }

// tellIfFailed prints what the other side said, should the test fail.
func (a *agent) tellIfFailed(t testing.TB) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		text, _ := os.ReadFile(a.logName())
		if len(text) > logShown {
			text = text[len(text)-logShown:]
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		t.Logf("end of what the client said:\n%s\nlines that nobody understands: %q", text, a.strange)
	})
}

// read takes what the process writes until it ends.
func (a *agent) read(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		a.take(line)
	}
	_ = a.cmd.Wait() // it was killed, or says in its log why it ended
	close(a.exited)
}

// take takes one line.
func (a *agent) take(line []byte) {
	var said struct {
		reply
		delivery
	}
	err := json.Unmarshal(line, &said)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch waits := a.waiting[said.Number]; {
	case err != nil:
		a.strange = append(a.strange, fmt.Sprintf("%.200q: %v", line, err))
	case waits != nil:
		delete(a.waiting, said.Number)
		waits <- said.reply
	default:
		a.deliveries = append(a.deliveries, said.delivery)
		close(a.changed)
		a.changed = make(chan struct{})
	}
}

// kill ends the process as kill -9 does.
func (a *agent) kill() {
	_ = a.cmd.Process.Kill() // it may have ended
	<-a.exited
}

// try runs a command. What the client throws is in the reply.
func (a *agent) try(t testing.TB, verb string, with args) reply {
	t.Helper()
	answer := make(chan reply, 1)
	a.mu.Lock()
	a.sent++
	fields := args{"number": a.sent, "verb": verb}
	a.waiting[a.sent] = answer
	for k, v := range with {
		fields[k] = v
	}
	line, err := json.Marshal(fields)
	if err == nil {
		_, err = a.in.Write(append(line, '\n'))
	}
	a.mu.Unlock()
	if err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	select {
	case r := <-answer:
		return r
	case <-a.exited:
		t.Fatalf("%s: the client's process has ended", verb)
	case <-time.After(patience):
		t.Fatalf("%s %v: no answer of the client within %s", verb, with, patience)
	}
	panic("not reached")
}

// do runs a command that has to succeed.
func (a *agent) do(t testing.TB, verb string, with args) reply {
	t.Helper()
	r := a.try(t, verb, with)
	if r.Error != "" {
		t.Fatalf("%s %.300s: the client says %s", verb, fmt.Sprint(with), r.Error)
	}
	return r
}

// given is what the handler of a consumer was given so far, and a channel that is closed when any of the agent's handlers is given more.
func (a *agent) given(consumer string) (list []delivery, more <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.deliveries {
		if d.Consumer == consumer {
			list = append(list, d)
		}
	}
	return list, a.changed
}

// await waits until what a consumer was given is right.
func (a *agent) await(t testing.TB, consumer, what string, right func([]delivery) bool) []delivery {
	t.Helper()
	for bound := time.After(patience); ; {
		list, more := a.given(consumer)
		if right(list) {
			return list
		}
		select {
		case <-more:
		case <-bound:
			t.Fatalf("not within %s: %s; %s was given %d messages: %s", patience, what, consumer, len(list), texts(list))
		}
	}
}

// texts are the messages of a list of deliveries, for people.
func texts(list []delivery) []string {
	var all []string
	for _, d := range list {
		all = append(all, fmt.Sprintf("%.40s", d.Message.text()))
	}
	return all
}
