//go:build failpoints

package fault

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// ExitCode is how a process ends at a failpoint.
const ExitCode = 99

var (
	armed, left = parsePoint(os.Getenv("BROKER_FAILPOINT"))
	reached     atomic.Int64
)

// parsePoint reads NAME or NAME@COUNT.
func parsePoint(s string) (name string, count int64) {
	name, digits, counted := strings.Cut(s, "@")
	if !counted {
		return name, 1
	}
	count, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || count < 1 {
		panic(fmt.Sprintf("BROKER_FAILPOINT %q: behind the @ stands a number from 1 on", s))
	}
	return name, count
}

// Point ends the process if this is the place, and the time, that BROKER_FAILPOINT names. Nothing is flushed or closed.
func Point(name string) {
	if name == armed && reached.Add(1) == left {
		os.Exit(ExitCode)
	}
}
