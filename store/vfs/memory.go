package vfs

import "github.com/edsrzf/mmap-go"

// Anonymous returns zeroed memory outside of the Go heap, and what gives it back. The collector neither scans it nor counts it, so what
// comes and goes with the load does not make the heap wait for twice its size. Pages cost nothing before they are written.
func Anonymous(size int) (b []byte, free func()) {
	// COPY is private, as opposed to what other processes could share.
	m, err := mmap.MapRegion(nil, size, mmap.COPY, mmap.ANON, 0)
	if err != nil { // a limit on the address space or on mappings: the heap has none
		return make([]byte, size), func() {}
	}
	return m, func() {
		// The region came from MapRegion as it is, which is all that unmapping can fail for.
		_ = m.Unmap()
	}
}
