// Package slowdisk holds the tests of a disk that is slow or hangs, against the real binary: strace delays each fdatasync of it. Row 27 in
// docs/reliability.md.
package slowdisk
