package server

import "golang.org/x/sys/unix"

// closeWrite sends the end of the stream on a socket.
func closeWrite(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }

// fileLimit is how many descriptors the process may have. The Go runtime has raised the soft limit to the hard one at the start.
func fileLimit() int64 {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 1024
	}
	return int64(min(lim.Cur, 1<<30))
}
