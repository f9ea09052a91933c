//go:build linux

package client_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
)

// spilled reads a file of a spill directory, an error as "!" and what it says.
func spilled(name string) (got []string) {
	for m, err := range client.ReadSpill(name) {
		if err != nil {
			got = append(got, "!"+err.Error())
			continue
		}
		got = append(got, fmt.Sprintf("%s %s %s", m.Topic, m.Attribute, m.Body))
	}
	return got
}

// spillThree makes a directory in which three messages wait, and tells the file.
func spillThree(t *testing.T, down string) (dir, name string) {
	t.Helper()
	dir = t.TempDir()
	p := producer(t, down, ordered(dir))
	for _, body := range []string{"one", "two", "three"} {
		r, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Attribute: "red", Body: []byte(body)})
		if err != nil || !r.Spilled {
			t.Fatal(r, err)
		}
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "t.0-0.00000001.spill")
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	return strings.Replace(metaqtest.Start(t).Addr, "127.0.0.1", "127.0.0.2", 1)
}

func rot(t *testing.T, name, what string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(b), what)
	if i < 0 {
		t.Fatalf("%s does not hold %q", name, what)
	}
	b[i] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadSpill_ReadsWhatIsWhole(t *testing.T) {
	_, name := spillThree(t, nobody(t))
	if got := fmt.Sprint(spilled(name)); got != "[t red one t red two t red three]" {
		t.Errorf("got %s", got)
	}
	rot(t, name, "two")
	got := spilled(name)
	if len(got) != 3 || got[0] != "t red one" || !strings.Contains(got[1], name+": damaged at byte 46") || got[2] != "t red three" {
		t.Errorf("the second is damaged: %q", got)
	}
	if got := spilled(filepath.Join(filepath.Dir(name), "other")); len(got) != 1 || !strings.Contains(got[0], "is no name of one") {
		t.Errorf("another file: %q", got)
	}
}
