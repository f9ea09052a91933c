package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// The exit codes, as the root help and docs/cli.md list them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitTimeout     = 124
	exitInterrupted = 130
)

// A usageError is a mistake in the command line, told before anything was done.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// A notFoundError says that what was asked for is not there: no such topic, or nothing in it.
type notFoundError struct{ text string }

func (e notFoundError) Error() string { return e.text }

func notFoundf(format string, args ...any) error {
	return notFoundError{fmt.Sprintf(format, args...)}
}

// exitCode maps what a command ended with to the process's exit code. started is false when the command itself never ran:
// then only the command line can be at fault. interrupted is true when the user pressed Ctrl-C.
func exitCode(err error, started, interrupted bool) int {
	var (
		usage   usageError
		missing notFoundError
	)
	switch {
	case err == nil:
		return exitOK
	case !started, errors.As(err, &usage):
		return exitUsage
	case interrupted:
		return exitInterrupted
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isBrokerTimeout(err):
		return exitTimeout
	case errors.As(err, &missing), isBrokerNotFound(err):
		return exitNotFound
	default:
		return exitFailure
	}
}
