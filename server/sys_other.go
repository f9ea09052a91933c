//go:build !linux

package server

// closeWrite does nothing: the broker is for Linux, elsewhere it only has to compile.
func closeWrite(int) {}

func fileLimit() int64 { return 1024 }
