package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// sessions remembers in a file of the data directory which sessions with ZooKeeper this broker has had, also in earlier processes. One process at a time has the
// directory, so whatever such a session has left in ZooKeeper is left over. Without it another broker that was given the same id and address by
// mistake could not be told from a process of our own that was killed.
type sessions struct {
	name string
	log  zerolog.Logger

	mu   sync.Mutex
	list []int64 // the newest first
}

const (
	sessionsFile = "zookeeper-sessions"
	// keptSessions bounds the file. Older ones have ended long ago.
	keptSessions = 16
)

func openSessions(dir string, log zerolog.Logger) *sessions {
	s := &sessions{name: filepath.Join(dir, sessionsFile), log: log}
	text, err := os.ReadFile(s.name)
	if err != nil && !os.IsNotExist(err) {
		s.log.Warn().Err(err).Msg("what an earlier process has left in ZooKeeper is not known, and goes with its session")
	}
	for line := range strings.Lines(string(text)) {
		if id, err := strconv.ParseUint(strings.TrimSpace(line), 0, 64); err == nil {
			s.list = append(s.list, int64(id))
		}
	}
	return s
}

// Begun notes a session.
func (s *sessions) Begun(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append([]int64{id}, s.list...)
	s.list = s.list[:min(len(s.list), keptSessions)]
	var text strings.Builder
	for _, id := range s.list {
		fmt.Fprintf(&text, "%#x\n", uint64(id))
	}
	next := s.name + ".new"
	err := os.WriteFile(next, []byte(text.String()), 0o644)
	if err == nil {
		err = os.Rename(next, s.name)
	}
	if err != nil {
		s.log.Warn().Err(err).Msg("the session with ZooKeeper is not noted; after a crash the broker is registered again only when that session is over")
	}
}

// Had tells whether a session was noted.
func (s *sessions) Had(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.list, id)
}
