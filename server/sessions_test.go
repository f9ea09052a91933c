package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// The next process knows the sessions of the earlier ones, as many as are kept, and a file that is damaged costs no more than what is damaged.
func TestSessions_AreThoseOfEarlierProcessesToo(t *testing.T) {
	dir := t.TempDir()
	const first = -0x10002c72ece0002 // an id is any 64 bits
	s := openSessions(dir, zerolog.Nop())
	if s.Had(first) {
		t.Error("a session before the first one")
	}
	for i := range int64(keptSessions) {
		s.Begun(first + i)
	}
	next := openSessions(dir, zerolog.Nop())
	for i := range int64(keptSessions) {
		if !next.Had(first + i) {
			t.Errorf("session %d is not known", i)
		}
	}
	next.Begun(7)
	name := filepath.Join(dir, sessionsFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n != keptSessions {
		t.Errorf("%d sessions are kept, want %d", n, keptSessions)
	}
	if err := os.WriteFile(name, []byte("no number\n"+string(text)), 0o644); err != nil {
		t.Fatal(err)
	}
	if last := openSessions(dir, zerolog.Nop()); !last.Had(7) || last.Had(first) || !last.Had(first+1) {
		t.Error("after a damaged line the newest ones are not known, or the oldest one is yet")
	}
}
