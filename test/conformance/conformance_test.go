package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// The names under which vectors ask for a setting of the broker.
const (
	needsClosed   = "closed"
	needsUpdating = "updateConsumerOffsets"
	needsSlave    = "gregor"
)

func loadVectors(t *testing.T, name string) []Vector {
	t.Helper()
	vectors, err := Load(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// usesTransactions says whether a vector sends the verb of transactions, whatever its group.
func usesTransactions(v Vector) bool {
	return v.Group == groupTransaction || slices.ContainsFunc(v.Steps, func(s Step) bool {
		return s.Send != nil && strings.HasPrefix(*s.Send, "transaction ")
	})
}

// startBroker runs a broker with the configuration of the vectors, and with what else a test sets in it.
func startBroker(t *testing.T, replace ...string) *process.Broker {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "server.ini"))
	if err != nil {
		t.Fatal(err)
	}
	// Ports and the data directory are set by flags, which the file must not contradict with something unreadable.
	replace = append(replace, "@PORT@", "8123", "@HTTPPORT@", "8120", "@DATA@", filepath.Join(t.TempDir(), "data"), "@ZK@", "")
	config := strings.NewReplacer(replace...).Replace(string(text))
	return process.Start(t, process.Options{Config: config})
}

func newTestChecker(addr string) *Checker {
	c := NewChecker(addr)
	// Our broker closes at once or not at all; a few vectors wait for all of this time.
	c.Closing = 1500 * time.Millisecond
	return c
}

func TestVectors(t *testing.T) {
	vectors := loadVectors(t, "vectors.json")
	differences := make(map[string]Vector)
	for _, d := range loadVectors(t, "differences.json") {
		differences[d.Name] = d
	}
	broker := startBroker(t)
	broker.Tool(t, "partitions", "close", "cv-closed", "1")
	updating := startBroker(t, "updateConsumerOffsets=false", "updateConsumerOffsets=true")

	var played, different, later int
	for _, v := range vectors {
		if usesTransactions(v) || v.Needs == needsSlave {
			later++
			continue
		}
		addr := broker.Addr
		switch v.Needs {
		case "", needsClosed:
		case needsUpdating:
			addr = updating.Addr
		default:
			t.Errorf("%s needs %q, which no broker here has", v.Name, v.Needs)
			continue
		}
		if d, ok := differences[v.Name]; ok {
			different++
			delete(differences, v.Name)
			v = d
		}
		played++
		t.Run(v.Group+"/"+v.Name, func(t *testing.T) {
			if err := newTestChecker(addr).Play(v); err != nil {
				t.Error(err)
			}
		})
	}
	for name := range differences {
		t.Errorf("differences.json names %s, which is no vector that is played", name)
	}
	if played+later != len(vectors) || played < 90 {
		t.Errorf("%d vectors played and %d left out, of %d", played, later, len(vectors))
	}
	t.Logf("%d vectors played, %d of them with an answer of our own; %d are refused until transactions and slaves exist", played, different, later)
}

var refusal = regexp.MustCompile(`^result (400|500|503) \d+ (-?\d+)\r\n.*[a-z]`)

// What this broker does not do yet is refused, in words, with the connection in step: a client must not believe that a
// transaction has begun, nor wait.
func TestTransactionsAndSlaveCommandsAreRefused(t *testing.T) {
	broker := startBroker(t)
	var refused []string
	for _, v := range loadVectors(t, "vectors.json") {
		if !usesTransactions(v) && v.Needs != needsSlave {
			continue
		}
		refused = append(refused, v.Name)
		t.Run(v.Name, func(t *testing.T) {
			n := newNotation()
			c, err := dial(broker.Addr, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			for _, s := range v.Steps {
				if s.Send == nil || strings.HasPrefix(*s.Send, "get ") {
					// A get only shows what the refused steps would have stored.
					continue
				}
				data, err := n.build(*s.Send)
				if err != nil {
					t.Fatal(err)
				}
				for _, command := range commands(data) {
					c.send(command, 0, time.Minute)
					r := c.response(10 * time.Second)
					if !refusal.Match(r) {
						t.Fatalf("sent %s: got %s, want an error", show(command), show(r))
					}
					if word, answered := opaqueOf(command), refusal.FindSubmatch(r)[2]; word != nil && !bytes.Equal(word, answered) {
						t.Errorf("sent %s: opaque %s in the answer", show(command), answered)
					}
				}
			}
			if v.NoPing {
				return
			}
			p := &player{Checker: newTestChecker(broker.Addr), conns: map[string]*conn{"a": c}}
			if err := p.ping(); err != nil {
				t.Error(err)
			}
		})
	}
	if len(refused) != 32 {
		t.Errorf("%d vectors: %v", len(refused), refused)
	}
	t.Logf("refused: %s", strings.Join(refused, " "))
}

// commands separates what a step sends: only transactions are sent several at once, and they have no body.
func commands(data []byte) [][]byte {
	if !bytes.HasPrefix(data, []byte("transaction ")) {
		return [][]byte{data}
	}
	var list [][]byte
	for line := range bytes.Lines(data) {
		list = append(list, line)
	}
	return list
}

// opaqueOf is the last word of a command, if that is a number.
func opaqueOf(command []byte) []byte {
	head, _, _ := bytes.Cut(command, []byte("\r\n"))
	words := bytes.Fields(head)
	last := words[len(words)-1]
	if !regexp.MustCompile(`^-?\d+$`).Match(last) {
		return nil
	}
	return last
}

// Whoever moves from the original to ours has to find each difference in the documentation.
func TestDifferencesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range loadVectors(t, "differences.json") {
		if d.Reason == "" {
			t.Errorf("%s: a difference without a reason", d.Name)
		}
		if !bytes.Contains(text, fmt.Appendf(nil, "`%s`", d.Name)) {
			t.Errorf("docs/compatibility.md does not mention `%s`", d.Name)
		}
	}
}
