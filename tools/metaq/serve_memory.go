//go:build linux

package main

import (
	"os"
	"runtime/debug"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/server"
)

// limitMemory tells the garbage collector to stay within the control group. A quarter is left to what is not on its heap: buffers of the kernel and
// pages of the log that are not on the disk yet. GOMEMLIMIT in the environment has the last word.
func limitMemory(log zerolog.Logger) {
	limit, limited := server.MemoryLimit()
	if !limited || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(limit / 4 * 3)
	log.Info().Int64("group_bytes", limit).Int64("heap_bytes", limit/4*3).Msg("memory is limited by the control group")
}
