package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/metaq/metaq/protocol"
)

var (
	// ErrClosed is returned by everything that is used after Close.
	ErrClosed = errors.New("metaq: closed")
	// ErrTooLarge is wrapped when a message can never fit into the producer's buffer.
	ErrTooLarge = errors.New("metaq: the message is larger than the buffer of the producer")
)

// StatusError is an answer of the broker other than 200.
type StatusError struct {
	Status protocol.Status
	Text   string // the broker's sentence
}

func (e *StatusError) Error() string { return fmt.Sprintf("metaq: %d %s", e.Status, e.Text) }

// MovedError says that an offset is not the beginning of a message; Offset is where to go on (the broker's 301).
type MovedError struct{ Offset int64 }

func (e *MovedError) Error() string { return fmt.Sprintf("metaq: go on at offset %d", e.Offset) }

// offsetStoreError is of an OffsetStore that the program has brought.
type offsetStoreError struct{ err error }

func (e *offsetStoreError) Error() string { return "metaq: the store of offsets: " + e.err.Error() }
func (e *offsetStoreError) Unwrap() error { return e.err }

// Retriable says whether doing the same again may help. It is the one place that decides this.
func Retriable(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		switch status.Status {
		case protocol.StatusUnavailable, protocol.StatusTimeout:
			return true // the broker says that it cannot now: full, busy, draining
		}
		// 400 and 401 stay wrong. 403 is a closed partition: somebody has to open it. 404 is an answer, not a failure. 500 is a refusal for
		// good, or a log that takes no more writes until the broker is restarted by somebody.
		return false
	}
	var offsets *offsetStoreError
	switch {
	case err == nil, errors.Is(err, ErrClosed), errors.Is(err, ErrTooLarge):
		return false
	case errors.As(err, &offsets):
		return true // only the store knows what is wrong, and without it a consumer can do nothing but wait
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false // the caller has had enough
	case errors.Is(err, protocol.ErrResponse):
		return false // whoever answers there is no broker
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
		return true // the connection broke; a new one may be had, after a restart of the broker for example
	}
	var op net.Error
	return errors.As(err, &op)
}

// statusOf is the status with which a broker answered, 0 if it did not.
func statusOf(err error) protocol.Status {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Status
	}
	return 0
}

// refusedHere says that the same message may be taken elsewhere: this partition is closed (403), or something is wrong with this broker (500).
func refusedHere(err error) bool {
	s := statusOf(err)
	return s == protocol.StatusForbidden || s == protocol.StatusError
}
