package server

import (
	"fmt"
	"strings"

	"github.com/metaq/metaq/server/config"
)

// Reload takes a new configuration. What can be changed while running is; the report says what was, and what needs a restart.
func (s *Server) Reload(cfg *config.Config) (report string, err error) {
	changed, restart := s.config().Diff(cfg)
	next := cfg.KeepRestartOnly(s.config())
	s.cfg.Store(next)
	s.limits.Store(newLimits(next))
	s.store.SetRules(next.Rules)
	s.catalog.load(next)
	var b strings.Builder
	if len(changed) == 0 {
		b.WriteString("nothing changed that can be changed while running")
	} else {
		fmt.Fprintf(&b, "changed: %s", list(changed))
	}
	if len(restart) > 0 {
		fmt.Fprintf(&b, "; needs a restart: %s", list(restart))
	}
	return b.String(), nil
}

func list(changes []config.Change) string {
	words := make([]string, len(changes))
	for i, c := range changes {
		words[i] = fmt.Sprint(c)
	}
	return strings.Join(words, ", ")
}
