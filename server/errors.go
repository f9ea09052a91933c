package server

import (
	"errors"
	"fmt"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

// When starting.
var (
	// ErrStarted is returned by a second Start.
	ErrStarted = errors.New("the server was started before")
	// ErrEngine is sent to Done when the event loops have ended by themselves.
	ErrEngine = errors.New("the event loops have ended")

	errNotPolled = errors.New("the socket could not be added to an event loop")
)

// refusal is an error with the code that it has on the wire.
type refusal struct {
	status protocol.Status
	text   string
}

func (r *refusal) Error() string { return r.text }

func refusef(status protocol.Status, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// onWire is the only place where an error becomes a status and a text. What the text of an inner error says may name files, so it goes
// to the log, not to the peer.
func (s *Server) onWire(err error) (protocol.Status, string) {
	var r *refusal
	var full *store.FullError
	var corrupt *store.CorruptError
	var busy *store.BusyError
	switch {
	case errors.As(err, &busy):
		return busyOnWire(busy)
	case errors.As(err, &r):
		return r.status, r.text
	case errors.As(err, &full) && full.Reserve > 0:
		return protocol.StatusUnavailable, fmt.Sprintf("the disk is %d%% full, and the log is using its reserve; gets go on, and puts work again when there is room for it, %d bytes", full.Used, full.Reserve)
	case errors.As(err, &full):
		return protocol.StatusUnavailable, fmt.Sprintf("the disk is %d%% full, and puts are refused from %d%% on (diskRefusePercent); gets go on, and puts work again when there is room", full.Used, full.Limit)
	case errors.Is(err, store.ErrFull):
		return protocol.StatusUnavailable, "the disk is full: there is no room for the next segment of the log (logSegmentSize); gets go on, and puts work again when there is room"
	case errors.Is(err, store.ErrNoSegment):
		return protocol.StatusUnavailable, "the next segment of the log cannot be made, and the broker's log says why; gets go on, and puts work again when it can"
	case errors.Is(err, store.ErrUncertain):
		return protocol.StatusUnavailable, "a write to the disk has failed; a restart of the broker tells whether this is stored; until then the log takes no more writes and gets go on"
	case errors.Is(err, store.ErrPoisoned):
		return protocol.StatusUnavailable, "the log takes no more writes since a write to the disk has failed; gets go on; the broker has to be restarted"
	case errors.Is(err, store.ErrReadOnly):
		return protocol.StatusUnavailable, "the broker serves a damaged log read-only"
	case errors.Is(err, store.ErrClosed):
		return protocol.StatusUnavailable, "the broker is stopping"
	case errors.Is(err, store.ErrTooLarge):
		return protocol.StatusBadRequest, "the message is larger than a segment of the log (logSegmentSize)"
	case errors.Is(err, store.ErrGroups):
		return protocol.StatusError, fmt.Sprintf("the broker keeps the offsets of as many groups as it may (maxGroups %d); commit as a group that is there, or have the limit raised", s.config().Offsets.Groups)
	case errors.Is(err, store.ErrOffsets):
		return protocol.StatusError, fmt.Sprintf("the broker keeps as many offsets of groups as it may (maxGroupOffsets %d); offsets that are there can be committed anew; have the limit raised", s.config().Offsets.Offsets)
	case errors.As(err, &corrupt):
		s.damageLog.Error().Err(err).Msg("damage in the log")
		return protocol.StatusError, "the stored message is damaged; the broker's log names the place"
	}
	s.errorLog.Error().Err(err).Msg("command failed")
	return protocol.StatusError, "internal error; the broker's log has the cause"
}

// answerError answers a command that failed.
func (c *conn) answerError(opaque int32, err error) {
	status, text := c.server.onWire(err)
	c.answer(status, opaque, text)
}

// notExists is the answer for a partition that was never written.
func notExists(topic []byte, partition int32) string {
	return fmt.Sprintf("The topic `%s` in partition `%d` is not exists", topic, partition)
}

// putFailed is the frame that the original puts around the cause of a failed put.
func (s *Server) putFailed(topic []byte, partition int32, cause string) string {
	return fmt.Sprintf("Put message to [broker '%s'] [partition '%s-%d'] failed.Detail:%s", s.brokerName(), topic, partition, cause)
}
