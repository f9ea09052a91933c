package zkcoord

import (
	"time"

	"golang.org/x/sys/unix"
)

// newClock makes a clock that begins at 0 and goes on while the machine sleeps, which Go's does not: ZooKeeper's goes on too, and ends sessions meanwhile.
func newClock() func() time.Duration {
	began := sinceBoot()
	return func() time.Duration { return sinceBoot() - began }
}

func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux that Go runs on has it
	}
	return time.Duration(t.Nano())
}
