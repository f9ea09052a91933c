package interop

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/metaq/metaq/test/process"
)

func TestMain(m *testing.M) {
	// Scenarios wait far more than they compute. The command line comes later, and wins.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(process.Main(m))
}

// A scenario has a topic of its own, with its name.
type scenario struct {
	name string
	play func(t *testing.T, s *stage, topic string)
}

// sideBySide do not disturb each other.
var sideBySide = []scenario{
	{"send-and-receive", sendAndReceive},
	{"large", large},
	{"callbacks", callbacks},
	{"one-way", oneWay},
	{"ordered", ordered},
	{"resume", resume},
	{"newest", newest},
	{"group", group},
	{"mixed", mixed},
	{"hash", hashed},
	{"broadcast", broadcast},
	{"recover", recoverFailed},
	{"fetch", fetch},
	{"offsets-file", offsetsInFile},
	{"offsets-database", offsetsInDatabase},
	{"stats", stats},
	{"unpublished", unpublished},
}

// oneByOne take a broker away.
var oneByOne = []scenario{
	{"broker-away", brokerAway},
	{"ordered-away", orderedAway},
}

func TestJavaClient(t *testing.T) {
	var topics []string
	for _, sc := range append(sideBySide[:len(sideBySide):len(sideBySide)], oneByOne...) {
		topics = append(topics, sc.name)
	}
	s := &stage{cluster: startCluster(t, topics), agent: startJava(t, t.TempDir()), second: startJava(t, t.TempDir()), start: startJava}
	s.agent.do(t, "host", args{"address": "10.0.0.1"})
	s.second.do(t, "host", args{"address": "10.0.0.2"})
	t.Run("side by side", func(t *testing.T) {
		for _, sc := range sideBySide {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				sc.play(t, s, sc.name)
			})
		}
	})
	for _, sc := range oneByOne {
		t.Run(sc.name, func(t *testing.T) { sc.play(t, s, sc.name) })
	}
}
