package server

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/metaq/metaq/server/config"
)

// reloads is what monitoring wants to know of Reload.
type reloads struct {
	refused   atomic.Bool  // the last one failed
	succeeded atomic.Int64 // when a configuration was last taken, the one of the start included; nanoseconds since 1970
}

func (r *reloads) note(err error) {
	r.refused.Store(err != nil)
	if err == nil {
		r.succeeded.Store(time.Now().UnixNano())
	}
}

// Reload reads a new configuration and takes it. The report says what has changed, and what needs a restart and is as it was. If the
// configuration cannot be read the broker goes on with what it has.
func (s *Server) Reload(load func() (*config.Config, error)) (report string, err error) {
	newer, err := load()
	s.reloads.note(err)
	if err != nil {
		return "", err
	}
	old := s.config()
	changed, restart := old.Diff(newer)
	next := old.Taken(newer)
	s.cfg.Store(next)
	s.limits.Store(newLimits(next))
	s.store.SetDiskTimeout(next.Limits.DiskTimeout())
	s.store.SetRules(next.Rules)
	s.store.SetDiskLimits(next.Disk)
	s.store.SetOffsetLimits(next.Offsets)
	s.catalog.load(next)
	if k := s.cluster.Load(); k != nil {
		k.broker.SetChecksum(next.Checksum())
	}

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
