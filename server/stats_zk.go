package server

import "fmt"

// statsZK tells of the registration in ZooKeeper.
func (s *Server) statsZK(t *statsText) {
	k := s.cluster.Load()
	t.line("enabled", k != nil)
	if k == nil {
		return
	}
	cfg := s.config().ZooKeeper
	status, _ := k.session.Status()
	err := k.broker.Standing()
	t.line("connect", cfg.Connect)
	t.line("root", cfg.Root)
	t.line("address", s.brokerName())
	t.line("session", status.State)
	t.line("session_id", fmt.Sprintf("%#x", uint64(status.ID)))
	t.int("session_timeout_ms", k.session.Timeout().Milliseconds())
	t.int("sessions_total", k.begun.Load())
	t.int("sessions_lost_total", k.lost.Load())
	t.line("registered", err == nil)
	t.int("topics", k.topics.Load())
	if err != nil {
		t.line("problem", err)
	}
}
