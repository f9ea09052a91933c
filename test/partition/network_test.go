package partition

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A network is name spaces that are joined by a bridge, which has one of its own. The test itself is a node, in the name space where it runs.
type network struct {
	prefix string          // of the names of everything that is made
	subnet string          // the first three numbers of addresses
	serves map[node]string // where nodes take connections
}

// node is a member of a network.
type node int

// The nodes. Their addresses end with their number and 1.
const (
	tester node = iota
	keeper      // ZooKeeper
	broker
	firstConsumer
	secondConsumer
	nodes
)

func (n node) String() string {
	return [...]string{"test", "ZooKeeper", "broker", "consumer 1", "consumer 2"}[n]
}

const lostMAC = "02:00:00:00:00:ff" // nobody has it

func (n node) mac() string { return fmt.Sprintf("02:00:00:00:00:%02x", int(n)+1) }

// newNetwork makes the name spaces. They end with the test.
func newNetwork(t *testing.T) *network {
	t.Helper()
	pid := os.Getpid()
	// Other runs on this machine have other numbers of processes.
	w := &network{prefix: fmt.Sprintf("mq%d", pid), subnet: fmt.Sprintf("10.%d.%d", 64+pid/256%128, pid%256), serves: map[node]string{}}
	hub := w.prefix + "hub"
	w.ip(t, "netns add "+hub)
	t.Cleanup(func() { w.ip(t, "netns del "+hub) })
	w.ip(t, "-n "+hub+" link add bridge type bridge")
	w.ip(t, "-n "+hub+" link set bridge up")
	for n := range nodes {
		in := ""
		if n != tester {
			name := w.space(n)
			w.ip(t, "netns add "+name)
			t.Cleanup(func() { w.ip(t, "netns del "+name) })
			in = "-n " + name + " "
			w.ip(t, in+"link set lo up")
		}
		// The pair ends with the hub.
		near, far := fmt.Sprintf("%s-%d", w.prefix, n), fmt.Sprintf("port%d", n)
		w.ip(t, fmt.Sprintf("link add %s type veth peer name %s netns %s", near, far, hub))
		if n == tester {
			// It goes with the name space of the other end too, but a while later, and the next run of this process has the same names.
			t.Cleanup(func() { w.ip(t, "link del "+near) })
		} else {
			w.ip(t, "link set "+near+" netns "+w.space(n))
		}
		w.ip(t, in+"link set "+near+" address "+n.mac()+" up")
		w.ip(t, in+"addr add "+w.host(n)+"/24 dev "+near)
		w.ip(t, "-n "+hub+" link set "+far+" master bridge up")
	}
	for from := range nodes {
		for to := range nodes {
			if from != to {
				w.point(t, from, to, to.mac())
			}
		}
	}
	return w
}

func (w *network) space(n node) string   { return fmt.Sprintf("%s-%d", w.prefix, n) }
func (w *network) host(n node) string    { return fmt.Sprintf("%s.%d", w.subnet, n+1) }
func (w *network) under(n node) []string { return []string{"ip", "netns", "exec", w.space(n)} }

// point tells a node which hardware has the address of another one. With one that nobody has, everything in this direction is lost, without a word to anybody.
func (w *network) point(t *testing.T, from, to node, mac string) {
	t.Helper()
	in := ""
	if from != tester {
		in = "-n " + w.space(from) + " "
	}
	w.ip(t, fmt.Sprintf("%sneigh replace %s dev %s-%d lladdr %s nud permanent", in, w.host(to), w.prefix, from, mac))
}

// ip runs a command of iproute2.
func (w *network) ip(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", line, err, out)
	}
}

// A cut is what is lost between two nodes.
type cut struct {
	a, b        node
	there, back bool // from a to b, from b to a
}

func (c cut) String() string {
	switch {
	case c.there && c.back:
		return fmt.Sprintf("%s and %s", c.a, c.b)
	case c.there:
		return fmt.Sprintf("%s to %s", c.a, c.b)
	}
	return fmt.Sprintf("%s to %s", c.b, c.a)
}

// begin cuts, and makes sure of it: nobody can connect any more.
func (w *network) begin(t *testing.T, c cut) {
	t.Helper()
	if !w.reaches(c) {
		t.Fatalf("%s: they do not reach each other before the fault", c)
	}
	if c.there {
		w.point(t, c.a, c.b, lostMAC)
	}
	if c.back {
		w.point(t, c.b, c.a, lostMAC)
	}
	if w.reaches(c) {
		t.Fatalf("%s: they reach each other during the fault", c)
	}
}

// end heals a cut.
func (w *network) end(t *testing.T, c cut) {
	t.Helper()
	w.point(t, c.a, c.b, c.b.mac())
	w.point(t, c.b, c.a, c.a.mac())
}

// reaches says whether the first node can connect to the second.
func (w *network) reaches(c cut) bool {
	return exec.Command("ip", append([]string{"netns", "exec", w.space(c.a), os.Args[0]}, probeArgument, w.serves[c.b])...).Run() == nil
}
