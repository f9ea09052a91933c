// Package faults lets somebody else change the files of a broker while it runs: cut the log, its indexes, its checkpoint. The broker must say
// what it cannot serve, serve the rest, and stay alive.
package faults
