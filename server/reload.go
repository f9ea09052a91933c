package server

import (
	"fmt"
	"strings"

	"github.com/metaq/metaq/server/config"
)

// Reload takes a new configuration. The report says what has changed, and what needs a restart and is as it was.
func (s *Server) Reload(cfg *config.Config) (report string, err error) {
	old := s.config()
	changed, restart := old.Diff(cfg)
	next := *cfg
	next.BrokerID, next.HostName, next.Port, next.HTTPPort = old.BrokerID, old.HostName, old.Port, old.HTTPPort
	next.DataPath, next.LogSegmentSize, next.MaxSegmentSize = old.DataPath, old.LogSegmentSize, old.MaxSegmentSize
	next.PrewriteSegments = old.PrewriteSegments
	next.Limits.MaxLine, next.Limits.MaxMessage = old.Limits.MaxLine, old.Limits.MaxMessage
	s.cfg.Store(&next)
	s.limits.Store(newLimits(&next))
	s.store.SetRules(next.Rules)
	s.catalog.load(&next)

	report = "nothing has changed"
	if len(changed) > 0 {
		report = "changed: " + list(changed)
	}
	if len(restart) > 0 {
		report += "; needs a restart: " + list(restart)
	}
	return report, nil
}

func list(changes []config.Change) string {
	words := make([]string, len(changes))
	for i, c := range changes {
		words[i] = fmt.Sprintf("%s from %q to %q", c.Key, c.Old, c.New)
	}
	return strings.Join(words, ", ")
}
