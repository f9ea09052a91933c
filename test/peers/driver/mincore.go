package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mincore tells for each page of a mapping whether it is in memory.
func mincore(mapping, resident []byte) error {
	_, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapping[0])), uintptr(len(mapping)), uintptr(unsafe.Pointer(&resident[0])))
	if e != 0 {
		return e
	}
	return nil
}
