//go:build linux

// Package ship is the agent of `metaq ship`: it follows log files and sends each line as a message, at least once.
//
// An Agent has a follower for each Input, which is one goroutine that owns everything about the files of that input. It looks for files
// (scan.go), knows a file by device, inode, time of birth and the bytes it begins with (identity.go), keeps the files that were written one
// after the other under one name together as a stream (file.go), and reads them in blocks (read.go) that are cut into lines (cut.go). A block is
// handed to the producer whole. When all of its lines are acknowledged, and those of all blocks before it, the position of the file moves on,
// and the next checkpoint (checkpoint.go) has it. What is behind the position is sent again after a restart.
//
// Nothing here waits for a broker but the goroutine that hands blocks over: files are found and kept open while nothing can be sent, so that they may be
// renamed and removed meanwhile. What is read and not acknowledged is bounded (budget.go); when that is used up, reading stops.
//
// Files are looked at in turns of some tens of milliseconds instead of waiting for notifications of the kernel. Those overflow, end with limits of their own on how
// many may be watched, and do not come from network file systems, so a look would be needed all the same; and it costs less than a microsecond a file.
package ship
