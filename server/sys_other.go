//go:build !linux

package server

// closeWrite does nothing: the broker is for Linux, elsewhere it only has to compile.
func closeWrite(int) {}

func fileLimit() int64 { return 1024 }

// MemoryLimit is a careful guess.
func MemoryLimit() (bytes int64, limited bool) { return 1 << 30, false }
